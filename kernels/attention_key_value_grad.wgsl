// dValue = p^T dy and dKey = scale ds^T query, with p and ds as in attention_query_grad.wgsl (Dao 2023, algorithm 2).
// One workgroup computes ROWS * WORKGROUP key rows of one head; sums run over the queries in order, without atomics.
#include "lib/attention.wgsl"

@group(0) @binding(0) var<storage, read> query: Rows;
@group(0) @binding(1) var<storage, read> key: Rows;
@group(0) @binding(2) var<storage, read> value: Rows;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> dy: Rows;
@group(0) @binding(5) var<storage, read> statistics: array<Statistics>;  // of the query rows
@group(0) @binding(6) var<storage, read_write> dKey: Rows;
@group(0) @binding(7) var<storage, read_write> dValue: Rows;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let block = workgroup_index(workgroup, grid);
  if (block >= params.workgroups) { return; }
  let head = block / params.blocks;
  let first_key = (block % params.blocks) * ROWS * WORKGROUP;

  var rows: Owned;
  var owned: Owned;
  var by_key: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    rows[r] = min(first_key + r * WORKGROUP + lane, params.keys - 1u);
    owned[r] = head_start(head, params.keys) + rows[r] * params.token_step;
    if (BIAS == 1u) { by_key[r] = bias[bias_start(head) + rows[r]]; }
  }

  // With a causal mask no query before the first key sees any of these.
  let start = select(0u, first_key / TILE * TILE, params.causal == 1u);
  for (var first_query = start; first_query < params.queries; first_query += TILE) {
    let tile = Tile(head_start(head, params.queries), first_query, params.queries - 1u, lane);
    var p = dots(&key, owned, &query, tile);
    var ds = dots(&value, owned, &dy, tile);
    for (var f = 0u; f < FETCHES; f++) {
      let fetched = fetch_statistics(&statistics, tile, f);
      for (var j = 0u; j < LANES; j++) {
        let i = f * LANES + j;
        let row = statistics_of(fetched, &statistics, tile, f, j);
        for (var r = 0u; r < ROWS; r++) {
          var added = by_key[r];
          if (BIAS == 2u) { added = bias[bias_start(head) + min(first_query + i, tile.last) * params.bias_query + rows[r]]; }
          let sees = first_query + i < params.queries && (params.causal == 0u || rows[r] <= first_query + i);
          let s = p[r][i] * params.scale + added;
          p[r][i] = select(0.0, weight(s - row.maximum) * row.inverse_sum, sees);
          ds[r][i] = p[r][i] * (ds[r][i] - row.delta);
        }
      }
    }
    for (var c = 0u; c < chunks(); c++) {
      let sum = weighted_sum(p, &dy, tile, c);
      for (var r = 0u; r < ROWS; r++) { set_sum(1u, r, c, lane, get_sum(1u, r, c, lane) + sum[r]); }
    }
    for (var c = 0u; c < chunks(); c++) {
      let sum = weighted_sum(ds, &query, tile, c);
      for (var r = 0u; r < ROWS; r++) { set_sum(0u, r, c, lane, get_sum(0u, r, c, lane) + sum[r]); }
    }
  }

  for (var r = 0u; r < ROWS; r++) {
    if (first_key + r * WORKGROUP + lane >= params.keys) { continue; }
    for (var c = 0u; c < chunks(); c++) {
      store_chunk(&dKey, owned[r], c, params.scale * get_sum(0u, r, c, lane));
      store_chunk(&dValue, owned[r], c, get_sum(1u, r, c, lane));
    }
  }
}
