// What the attention kernels share. A row is one token's head_dim numbers, taken in chunks of 4; rows lie as [sample,
// head, token], [sample, token, head] or [token, sample, head]. Each lane owns ROWS rows of one side (queries, or keys) and
// walks over the other side in tiles of TILE = FETCHES * LANES rows.
// With SHUFFLE the LANES lanes of a subgroup load a different row of the tile each and pass it round by `shuffle`: where
// every lane's load costs by itself (software adapters) that is several times cheaper than LANES loads of one address.
// The variant gives: alias V (one load), const CHUNKS (the most there are; all of them with EXACT), WORKGROUP, ROWS,
// LANES, FETCHES, TILE, OUTPUTS, SHUFFLE, BIAS (0: none, 1: one number a key, 2: one a query and key), fn shuffle, and
// the functions of lib/attention_vec4.wgsl or _scalar.wgsl, and of lib/attention_sums_private.wgsl or _workgroup.wgsl.
// Variables made inside a loop have an initializer: without one they keep the previous turn's values (Dawn 0.6.2).
#include "lib/index.wgsl"

struct Params {
  head_dim: u32,
  heads: u32,
  queries: u32,
  keys: u32,
  blocks: u32,  // workgroups for one head of one sample
  workgroups: u32,
  causal: u32,  // 1: query i sees keys 0 to i
  token_step: u32,  // rows from one token of a head to the next
  tokens_in_sample: u32, tokens_in_head: u32,  // 1: all tokens of a sample, of a head, come before those of the next
  scale: f32,
  bias_batch: u32, bias_head: u32, bias_query: u32,  // the bias' strides, 0 along an axis where it repeats
}

alias Rows = array<V>;
alias Owned = array<u32, ROWS>;  // rows of a buffer, or of a head
alias Scores = array<array<f32, TILE>, ROWS>;
alias Chunk = array<vec4f, ROWS>;

struct Tile {
  start: u32,  // row in the buffer of this head's row 0
  first: u32,  // first row of the tile, in the head
  last: u32,   // last row of the head: a tile that ends later repeats it
  lane: u32,
}

// Row in a buffer of a head's row 0; `head` counts over samples and heads.
fn head_start(head: u32, tokens: u32) -> u32 {
  let in_sample = head % params.heads;
  return (head - in_sample) * select(1u, tokens, params.tokens_in_sample == 1u)
    + in_sample * select(1u, tokens, params.tokens_in_head == 1u);
}

fn tile_row(tile: Tile, j: u32) -> u32 { return tile.start + min(tile.first + j, tile.last) * params.token_step; }

// The part of a tile that this lane loads: rows f * LANES + lane, of which it is asked for chunk c.
fn fetch(x: ptr<storage, Rows, read>, tile: Tile, f: u32, c: u32) -> vec4f {
  if (SHUFFLE) { return load_chunk(x, tile_row(tile, f * LANES + tile.lane), c); }
  return vec4f(0.0);
}

// Chunk c of row f * LANES + j of a tile, the same for every lane.
fn fetched_row(x: ptr<storage, Rows, read>, tile: Tile, f: u32, j: u32, c: u32, fetched: vec4f) -> vec4f {
  if (SHUFFLE) { return shuffle(fetched, j); }
  return load_chunk(x, tile_row(tile, f * LANES + j), c);
}

// Dot products of the lane's rows of x with the tile's rows of y.
fn dots(x: ptr<storage, Rows, read>, owned: Owned, y: ptr<storage, Rows, read>, tile: Tile) -> Scores {
  var s = Scores();
  for (var c = 0u; c < chunks(); c++) {
    var own = Chunk();
    var fetched = array<vec4f, FETCHES>();
    for (var r = 0u; r < ROWS; r++) { own[r] = load_chunk(x, owned[r], c); }
    for (var f = 0u; f < FETCHES; f++) { fetched[f] = fetch(y, tile, f, c); }
    for (var j = 0u; j < LANES; j++) {
      for (var f = 0u; f < FETCHES; f++) {
        let other = fetched_row(y, tile, f, j, c, fetched[f]);
        for (var r = 0u; r < ROWS; r++) { s[r][f * LANES + j] += dot(own[r], other); }
      }
    }
  }
  return s;
}

// Chunk c of the tile's rows of y, summed with the weights of each of the lane's rows.
fn weighted_sum(weights: Scores, y: ptr<storage, Rows, read>, tile: Tile, c: u32) -> Chunk {
  var sum = Chunk();
  var fetched = array<vec4f, FETCHES>();
  for (var f = 0u; f < FETCHES; f++) { fetched[f] = fetch(y, tile, f, c); }
  for (var j = 0u; j < LANES; j++) {
    for (var f = 0u; f < FETCHES; f++) {
      let other = fetched_row(y, tile, f, j, c, fetched[f]);
      for (var r = 0u; r < ROWS; r++) { sum[r] += weights[r][f * LANES + j] * other; }
    }
  }
  return sum;
}

// exp(x) for x <= 0. Below -100 it is no more than 4e-44: large negative biases need no infinity.
fn weight(x: f32) -> f32 { return exp(clamp(x, -100.0, 0.0)); }

// Where this head's part of the bias starts; `head` counts over samples and heads.
fn bias_start(head: u32) -> u32 {
  return (head / params.heads) * params.bias_batch + (head % params.heads) * params.bias_head;
}
