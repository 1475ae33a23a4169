// dQuery = scale ds key, with p = softmax(scale query key^T + bias) computed again and ds = p (dy value^T - delta)
// (Dao 2023, algorithm 2). One workgroup computes ROWS * WORKGROUP query rows of one head; sums run over the keys in
// order.
#include "lib/attention.wgsl"

@group(0) @binding(0) var<storage, read> query: Rows;
@group(0) @binding(1) var<storage, read> key: Rows;
@group(0) @binding(2) var<storage, read> value: Rows;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> dy: Rows;
@group(0) @binding(5) var<storage, read> statistics: array<Statistics>;
@group(0) @binding(6) var<storage, read_write> dQuery: Rows;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let block = workgroup_index(workgroup, grid);
  if (block >= params.workgroups) { return; }
  let head = block / params.blocks;
  let first_query = (block % params.blocks) * ROWS * WORKGROUP;

  var rows: Owned;
  var owned: Owned;
  for (var r = 0u; r < ROWS; r++) {
    rows[r] = min(first_query + r * WORKGROUP + lane, params.queries - 1u);
    owned[r] = head_start(head, params.queries) + rows[r] * params.token_step;
  }

  let end = visible_keys(first_query + ROWS * WORKGROUP - 1u);
  for (var first_key = 0u; first_key < end; first_key += TILE) {
    let tile = Tile(head_start(head, params.keys), first_key, params.keys - 1u, lane);
    let s = query_scores(head, rows, owned, tile);
    var ds = dots(&dy, owned, &value, tile);
    for (var r = 0u; r < ROWS; r++) {
      let seen = visible_keys(rows[r]);
      let row = statistics[owned[r]];
      for (var j = 0u; j < TILE; j++) {
        let p = select(0.0, weight(s[r][j] - row.maximum) * row.inverse_sum, first_key + j < seen);
        ds[r][j] = p * (ds[r][j] - row.delta);
      }
    }
    for (var c = 0u; c < chunks(); c++) {
      let sum = weighted_sum(ds, &key, tile, c);
      for (var r = 0u; r < ROWS; r++) { set_sum(0u, r, c, lane, get_sum(0u, r, c, lane) + sum[r]); }
    }
  }

  for (var r = 0u; r < ROWS; r++) {
    if (first_query + r * WORKGROUP + lane >= params.queries) { continue; }
    for (var c = 0u; c < chunks(); c++) { store_chunk(&dQuery, owned[r], c, params.scale * get_sum(0u, r, c, lane)); }
  }
}
