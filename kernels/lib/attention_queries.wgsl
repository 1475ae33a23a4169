// For kernels whose lanes own query rows: scores of a tile of keys, scale query key^T + bias.
#include "lib/attention.wgsl"

// `rows` are the lane's query rows in the head, `owned` the same in the buffer.
fn query_scores(head: u32, rows: Owned, owned: Owned, tile: Tile) -> Scores {
  var s = dots(&query, owned, &key, tile);
  for (var f = 0u; f < FETCHES; f++) {
    var by_key = 0.0;
    if (BIAS == 1u && SHUFFLE) { by_key = bias[bias_start(head) + min(tile.first + f * LANES + tile.lane, tile.last)]; }
    for (var j = 0u; j < LANES; j++) {
      let column = bias_start(head) + min(tile.first + f * LANES + j, tile.last);
      var added = 0.0;
      if (BIAS == 1u && SHUFFLE) { added = shuffle(vec4f(by_key), j).x; }
      if (BIAS == 1u && !SHUFFLE) { added = bias[column]; }
      for (var r = 0u; r < ROWS; r++) {
        if (BIAS == 2u) { added = bias[column + rows[r] * params.bias_query]; }
        s[r][f * LANES + j] = s[r][f * LANES + j] * params.scale + added;
      }
    }
  }
  return s;
}
