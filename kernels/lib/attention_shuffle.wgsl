// Attention where a lane owns ROWS rows of one side (queries, or keys) and walks over the other side in tiles of
// TILE = FETCHES * LANES rows. The LANES lanes of a subgroup load a different row of the tile each and pass it round: where every
// lane's load costs by itself (software adapters) that is several times cheaper than LANES loads of one address.
// lib/attention_registers.wgsl is its twin, with the same functions, and says what the variant gives.
// Variables made inside a loop have an initializer: without one they keep the previous turn's values (Dawn 0.6.2).
#include "lib/attention.wgsl"

alias Owned = array<u32, ROWS>;  // rows of a buffer, or of a head
alias Scores = array<array<f32, TILE>, ROWS>;
alias Chunk = array<vec4f, ROWS>;
alias Fetched = array<vec4f, FETCHES>;  // what this lane loads of a tile: rows f * LANES + lane

// The sums behind each output, in workgroup memory, each lane in its own place, from zero. On a software adapter an index
// that is no constant costs a gather and a scatter in private memory; this saves an eighth of each kernel's time.
var<workgroup> sums: array<array<array<array<vec4f, WORKGROUP>, CHUNKS>, ROWS>, OUTPUTS>;
fn get_sum(side: u32, r: u32, c: u32, lane: u32) -> vec4f { return sums[side][r][c][lane]; }
fn set_sum(side: u32, r: u32, c: u32, lane: u32, sum: vec4f) { sums[side][r][c][lane] = sum; }

// Chunk c of the lane's part of a tile.
fn fetch(x: ptr<storage, Rows, read>, tile: Tile, c: u32) -> Fetched {
  var fetched = Fetched();
  for (var f = 0u; f < FETCHES; f++) { fetched[f] = load_chunk(x, tile_row(tile, f * LANES + tile.lane), c); }
  return fetched;
}

// Dot products of the lane's rows of x with the tile's rows of y.
fn dots(x: ptr<storage, Rows, read>, owned: Owned, y: ptr<storage, Rows, read>, tile: Tile) -> Scores {
  var s = Scores();
  for (var c = 0u; c < chunks(); c++) {
    var own = Chunk();
    for (var r = 0u; r < ROWS; r++) { own[r] = load_chunk(x, owned[r], c); }
    let fetched = fetch(y, tile, c);
    for (var j = 0u; j < LANES; j++) {
      for (var f = 0u; f < FETCHES; f++) {
        let other = subgroupShuffle(fetched[f], j);
        for (var r = 0u; r < ROWS; r++) { s[r][f * LANES + j] += dot(own[r], other); }
      }
    }
  }
  return s;
}

// Chunk c of the tile's rows of y, summed with the weights of each of the lane's rows.
fn weighted_sum(weights: Scores, y: ptr<storage, Rows, read>, tile: Tile, c: u32) -> Chunk {
  var sum = Chunk();
  let fetched = fetch(y, tile, c);
  for (var j = 0u; j < LANES; j++) {
    for (var f = 0u; f < FETCHES; f++) {
      let other = subgroupShuffle(fetched[f], j);
      for (var r = 0u; r < ROWS; r++) { sum[r] += weights[r][f * LANES + j] * other; }
    }
  }
  return sum;
}

// Scores of a tile of keys, scale query key^T + bias. `rows` are the lane's query rows in the head, `owned` the same in the buffer.
fn query_scores(head: u32, rows: Owned, owned: Owned, tile: Tile) -> Scores {
  var s = dots(&query, owned, &key, tile);
  for (var f = 0u; f < FETCHES; f++) {
    var by_key = 0.0;
    if (BIAS == 1u) { by_key = bias[bias_start(head) + min(tile.first + f * LANES + tile.lane, tile.last)]; }
    for (var j = 0u; j < LANES; j++) {
      let column = bias_start(head) + min(tile.first + f * LANES + j, tile.last);
      var added = 0.0;
      if (BIAS == 1u) { added = subgroupShuffle(by_key, j); }
      for (var r = 0u; r < ROWS; r++) {
        if (BIAS == 2u) { added = bias[column + rows[r] * params.bias_query]; }
        s[r][f * LANES + j] = s[r][f * LANES + j] * params.scale + added;
      }
    }
  }
  return s;
}

// The statistics of a tile's row f * LANES + j come from what lane j has fetched.
fn fetch_statistics(x: ptr<storage, array<Statistics>, read>, tile: Tile, f: u32) -> Statistics {
  return (*x)[tile_row(tile, f * LANES + tile.lane)];
}
fn statistics_of(fetched: Statistics, x: ptr<storage, array<Statistics>, read>, tile: Tile, f: u32, j: u32) -> Statistics {
  return Statistics(
    subgroupShuffle(fetched.maximum, j), subgroupShuffle(fetched.inverse_sum, j), subgroupShuffle(fetched.delta, j),
  );
}
