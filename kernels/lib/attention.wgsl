// What the attention kernels whose lanes own rows share. Each lane owns ROWS rows of one side (queries, or keys) and walks over
// the other side in tiles of TILE = FETCHES * LANES rows.
// With SHUFFLE the LANES lanes of a subgroup load a different row of the tile each and pass it round by `shuffle`: where
// every lane's load costs by itself (software adapters) that is several times cheaper than LANES loads of one address.
// The variant gives const WORKGROUP, ROWS, LANES, FETCHES, TILE, OUTPUTS, SHUFFLE, BIAS (0: none, 1: one number a key, 2: one a
// query and key), fn shuffle, the functions of lib/attention_sums_private.wgsl or _workgroup.wgsl, and what
// lib/attention_rows.wgsl asks for.
// Variables made inside a loop have an initializer: without one they keep the previous turn's values (Dawn 0.6.2).
#include "lib/attention_rows.wgsl"

alias Owned = array<u32, ROWS>;  // rows of a buffer, or of a head
alias Scores = array<array<f32, TILE>, ROWS>;
alias Chunk = array<vec4f, ROWS>;

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
