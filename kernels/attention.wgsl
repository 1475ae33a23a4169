// output = softmax(scale query key^T + bias) value, row by row with a running maximum (Milakov & Gimelshein 2018; Dao et
// al. 2022): no [queries, keys] matrix exists. Sums run over the keys in order.
// One workgroup computes ROWS * WORKGROUP query rows of one head. `softmax` keeps each row's maximum and 1 / sum for the
// gradients; as max + log(sum) the sum would be lost beside a maximum of 1e9.
// The variant gives the functions of a lane, lib/attention_registers.wgsl or _shuffle.wgsl, and what that asks for.
#include "lib/attention.wgsl"

@group(0) @binding(0) var<storage, read> query: Rows;
@group(0) @binding(1) var<storage, read> key: Rows;
@group(0) @binding(2) var<storage, read> value: Rows;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: Rows;
@group(0) @binding(5) var<storage, read_write> softmax: array<Softmax>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let block = workgroup_index(workgroup, grid);
  if (block >= params.workgroups) { return; }
  let head = block / params.blocks;
  let first_query = (block % params.blocks) * ROWS * WORKGROUP;

  var rows: Owned;
  var owned: Owned;
  var highest: array<f32, ROWS>;
  var total: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    rows[r] = min(first_query + r * WORKGROUP + lane, params.queries - 1u);
    owned[r] = head_start(head, params.queries) + rows[r] * params.token_step;
    highest[r] = LOWEST;
  }

  let end = visible_keys(first_query + ROWS * WORKGROUP - 1u);
  for (var first_key = 0u; first_key < end; first_key += TILE) {
    let tile = Tile(head_start(head, params.keys), first_key, params.keys - 1u, lane);
    var s = query_scores(head, rows, owned, tile);
    var keep = array<f32, ROWS>();
    for (var r = 0u; r < ROWS; r++) {
      let seen = visible_keys(rows[r]);
      var top = highest[r];
      for (var j = 0u; j < TILE; j++) { top = select(top, max(top, s[r][j]), first_key + j < seen); }
      keep[r] = weight(highest[r] - top);
      highest[r] = top;
      total[r] *= keep[r];
      for (var j = 0u; j < TILE; j++) {
        s[r][j] = select(0.0, weight(s[r][j] - top), first_key + j < seen);
        total[r] += s[r][j];
      }
    }
    for (var c = 0u; c < chunks(); c++) {
      let sum = weighted_sum(s, &value, tile, c);
      for (var r = 0u; r < ROWS; r++) { set_sum(0u, r, c, lane, get_sum(0u, r, c, lane) * keep[r] + sum[r]); }
    }
  }

  for (var r = 0u; r < ROWS; r++) {
    if (first_query + r * WORKGROUP + lane >= params.queries) { continue; }
    let sum = checked_total(total[r]);
    softmax[owned[r]] = Softmax(highest[r], 1.0 / sum);
    for (var c = 0u; c < chunks(); c++) { store_chunk(&output, owned[r], c, get_sum(0u, r, c, lane) / sum); }
  }
}
