// Attention where a lane owns ROWS rows of one side (queries, or keys) and walks over the other side in tiles of TILE rows, all
// of which it loads itself: on a GPU the lanes that read one address share the load. Its sums lie in registers.
// lib/attention_shuffle.wgsl is its twin, with the same functions.
// The variant gives const WORKGROUP, ROWS, TILE = FETCHES * LANES, OUTPUTS, BIAS (0: none, 1: one number a key, 2: one a query
// and key), and what lib/attention.wgsl asks for.
// Variables made inside a loop have an initializer: without one they keep the previous turn's values (Dawn 0.6.2).
#include "lib/attention.wgsl"

alias Owned = array<u32, ROWS>;  // rows of a buffer, or of a head
alias Scores = array<array<f32, TILE>, ROWS>;
alias Chunk = array<vec4f, ROWS>;

// The sums behind each output. They start at zero.
var<private> sums: array<array<array<vec4f, CHUNKS>, ROWS>, OUTPUTS>;
fn get_sum(side: u32, r: u32, c: u32, lane: u32) -> vec4f { return sums[side][r][c]; }
fn set_sum(side: u32, r: u32, c: u32, lane: u32, sum: vec4f) { sums[side][r][c] = sum; }

// Dot products of the lane's rows of x with the tile's rows of y.
fn dots(x: ptr<storage, Rows, read>, owned: Owned, y: ptr<storage, Rows, read>, tile: Tile) -> Scores {
  var s = Scores();
  for (var c = 0u; c < chunks(); c++) {
    var own = Chunk();
    for (var r = 0u; r < ROWS; r++) { own[r] = load_chunk(x, owned[r], c); }
    for (var j = 0u; j < TILE; j++) {
      let other = load_chunk(y, tile_row(tile, j), c);
      for (var r = 0u; r < ROWS; r++) { s[r][j] += dot(own[r], other); }
    }
  }
  return s;
}

// Chunk c of the tile's rows of y, summed with the weights of each of the lane's rows.
fn weighted_sum(weights: Scores, y: ptr<storage, Rows, read>, tile: Tile, c: u32) -> Chunk {
  var sum = Chunk();
  for (var j = 0u; j < TILE; j++) {
    let other = load_chunk(y, tile_row(tile, j), c);
    for (var r = 0u; r < ROWS; r++) { sum[r] += weights[r][j] * other; }
  }
  return sum;
}

// Scores of a tile of keys, scale query key^T + bias. `rows` are the lane's query rows in the head, `owned` the same in the buffer.
fn query_scores(head: u32, rows: Owned, owned: Owned, tile: Tile) -> Scores {
  var s = dots(&query, owned, &key, tile);
  for (var j = 0u; j < TILE; j++) {
    let column = bias_start(head) + min(tile.first + j, tile.last);
    var added = 0.0;
    if (BIAS == 1u) { added = bias[column]; }
    for (var r = 0u; r < ROWS; r++) {
      if (BIAS == 2u) { added = bias[column + rows[r] * params.bias_query]; }
      s[r][j] = s[r][j] * params.scale + added;
    }
  }
  return s;
}

// The statistics of a tile's row f * LANES + j: every lane loads them itself, so nothing is fetched before.
fn fetch_statistics(x: ptr<storage, array<Statistics>, read>, tile: Tile, f: u32) -> Statistics { return Statistics(); }
fn statistics_of(fetched: Statistics, x: ptr<storage, array<Statistics>, read>, tile: Tile, f: u32, j: u32) -> Statistics {
  return (*x)[tile_row(tile, f * LANES + j)];
}
