// output and softmax as in attention.wgsl by subgroup matrices (lib/matrix_tiles.wgsl): factors, the weights among them, are f16.
// One workgroup computes QUERIES rows of one head, a subgroup 16 of them, over tiles of TILE keys in order. Scores go through
// workgroup memory to lanes, which put back their weights (Dao et al. 2022): exp(score - reference). Sums stay matrices, which no
// lane can scale by row, so the reference follows the row's maximum in leaps: only when that is SLACK above it are the sums
// taken out and scaled. Weights reach exp(SLACK) = 2981 meanwhile, which f16 holds as exactly as 1.
// The variant gives const BLOCKS (head_dim / 16, rounded up), TILE, HAS_BIAS, and what both files of lib/ ask for.
#include "lib/attention.wgsl"

const QUERIES = 64u;
const SLACK = 8.0;
const STRIDE = 16u * BLOCKS + PADDING;  // of query, key and value rows, filled up with zeros
const WEIGHT_STRIDE = TILE + PADDING;
const SCORE_STRIDE = TILE + PADDING / 2u;
const KEYS = 0u;  // where they begin among the factors; the queries take both places before
const VALUES = TILE * STRIDE;
const WEIGHTS = 2u * TILE * STRIDE;
const FACTORS = WEIGHTS + QUERIES * WEIGHT_STRIDE;
const SUMS = QUERIES * SCORE_STRIDE;
#include "lib/matrix_tiles.wgsl"

const ROW_LANES = max(2u, SUBGROUP / 16u);  // lanes that share a row's scores
const ROWS_AT_ONCE = SUBGROUP / ROW_LANES;
const OWNED = 16u / ROWS_AT_ONCE;
const COLUMNS = TILE / ROW_LANES;
const_assert TILE % 16u == 0u && QUERIES % (2u * TILE) == 0u;

@group(0) @binding(0) var<storage, read> query: Rows;
@group(0) @binding(1) var<storage, read> key: Rows;
@group(0) @binding(2) var<storage, read> value: Rows;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: Rows;
@group(0) @binding(5) var<storage, read_write> softmax: array<Softmax>;
@group(0) @binding(6) var<uniform> params: Params;

struct Row {
  highest: f32,
  reference: f32,
  total: f32,  // of the lane's weights
}
var<private> rows: array<Row, OWNED>;
var<workgroup> row_factor: array<f32, QUERIES>;  // what a row's sums are to be multiplied by
var<workgroup> leaps: array<bool, 4>;            // of a reference, among a subgroup's rows

// The lane's row r in the tile of queries.
fn row_of(r: u32) -> u32 { return 16u * subgroup + ROWS_AT_ONCE * r + subgroup_lane / ROW_LANES; }

// The largest of the values of the lanes that share a row, and their sum.
fn row_highest(x: f32) -> f32 {
  var highest = x;
  for (var step = 1u; step < ROW_LANES; step *= 2u) { highest = max(highest, subgroupShuffleXor(highest, step)); }
  return highest;
}
fn row_total(x: f32) -> f32 {
  var total = x;
  for (var step = 1u; step < ROW_LANES; step *= 2u) { total += subgroupShuffleXor(total, step); }
  return total;
}

// Puts the first `count` rows of a tile among the factors.
fn stage(x: ptr<storage, Rows, read>, tile: Tile, count: u32, at: u32) {
  for (var i = tile.lane; i < count * 4u * BLOCKS; i += LANES) {
    let row = i / (4u * BLOCKS);
    let chunk = i % (4u * BLOCKS);
    var numbers = vec4f();
    if (chunk < chunks()) { numbers = load_chunk(x, tile_row(tile, row), chunk); }
    put_factors(at + row * STRIDE + 4u * chunk, numbers);
  }
}

// Makes weights of the scores of a tile of keys, and says whether a reference with sums behind it has leapt.
fn weigh(head: u32, first_query: u32, first_key: u32) -> bool {
  var leapt = false;
  for (var r = 0u; r < OWNED; r++) {
    let row = row_of(r);
    let of_head = min(first_query + row, params.queries - 1u);
    let seen = visible_keys(of_head);
    var s = array<f32, COLUMNS>();
    var highest = rows[r].highest;
    for (var j = 0u; j < COLUMNS; j++) {
      let column = ROW_LANES * j + subgroup_lane % ROW_LANES;
      s[j] = sum_tile[row * SCORE_STRIDE + column] * params.scale;
      if (HAS_BIAS) {
        s[j] += bias[bias_start(head) + of_head * params.bias_query + min(first_key + column, params.keys - 1u)];
      }
      highest = select(highest, max(highest, s[j]), first_key + column < seen);
    }
    highest = row_highest(highest);
    var keep = 1.0;
    if (highest > rows[r].reference + SLACK) {
      keep = weight(rows[r].reference - highest);
      rows[r].reference = highest;
      leapt = first_key > 0u;
    }
    rows[r].highest = highest;
    rows[r].total *= keep;
    for (var j = 0u; j < COLUMNS; j++) {
      let column = ROW_LANES * j + subgroup_lane % ROW_LANES;
      let above = s[j] - rows[r].reference;
      let p = select(0.0, nan_else(above, exp(max(above, -100.0))), first_key + column < seen);
      rows[r].total += p;
      factor_tile[WEIGHTS + row * WEIGHT_STRIDE + column] = H(p);
    }
    if (subgroup_lane % ROW_LANES == 0u) { row_factor[row] = keep; }
  }
  return leapt;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) of_workgroup: u32, @builtin(subgroup_invocation_id) of_subgroup: u32,
) {
  let block = workgroup_index(workgroup, grid);
  if (block >= params.workgroups) { return; }
  let head = block / params.blocks;
  let first_query = (block % params.blocks) * QUERIES;
  let query_start = head_start(head, params.queries);
  let key_start = head_start(head, params.keys);
  subgroup = of_workgroup;
  subgroup_lane = of_subgroup;
  let own = 16u * subgroup;  // the subgroup's first row in the tile, and its part of scores and weights
  for (var r = 0u; r < OWNED; r++) { rows[r] = Row(LOWEST, LOWEST, 0.0); }

  var queries = array<Left, BLOCKS>();
  for (var first = 0u; first < QUERIES; first += 2u * TILE) {
    stage(&query, Tile(query_start, first_query + first, params.queries - 1u, lane), 2u * TILE, KEYS);
    workgroupBarrier();
    if (own / (2u * TILE) == first / (2u * TILE)) {
      for (var b = 0u; b < BLOCKS; b++) { queries[b] = load_left((own - first) * STRIDE + 16u * b, STRIDE, false); }
    }
    workgroupBarrier();
  }

  var sums = array<Sum, BLOCKS>();
  let end = visible_keys(min(first_query + QUERIES, params.queries) - 1u);
  for (var first_key = 0u; first_key < end; first_key += TILE) {
    let tile = Tile(key_start, first_key, params.keys - 1u, lane);
    stage(&key, tile, TILE, KEYS);
    workgroupBarrier();  // also of the turn before: now nobody reads its weights and values
    for (var j = 0u; j < TILE; j += 16u) {
      var scores = Sum();
      for (var b = 0u; b < BLOCKS; b++) {
        scores = multiply(queries[b], load_right(KEYS + j * STRIDE + 16u * b, STRIDE, true), scores);
      }
      store_sum(own * SCORE_STRIDE + j, SCORE_STRIDE, scores);
    }
    workgroupBarrier();
    stage(&value, tile, TILE, VALUES);
    let leapt = subgroupAny(weigh(head, first_query, first_key));
    if (subgroup_lane == 0u) { leaps[subgroup] = leapt; }
    let leapt_in = workgroupUniformLoad(&leaps);  // a barrier, too
    if (leapt_in[0] || leapt_in[1] || leapt_in[2] || leapt_in[3]) {
      for (var b = 0u; b < BLOCKS; b++) {
        store_sum(own * SCORE_STRIDE, SCORE_STRIDE, sums[b]);
        workgroupBarrier();
        for (var i = subgroup_lane; i < 256u; i += SUBGROUP) {
          sum_tile[(own + i / 16u) * SCORE_STRIDE + i % 16u] *= row_factor[own + i / 16u];
        }
        workgroupBarrier();
        sums[b] = load_sum(own * SCORE_STRIDE, SCORE_STRIDE);
        workgroupBarrier();
      }
    }
    for (var j = 0u; j < TILE; j += 16u) {
      let weights = load_left(WEIGHTS + own * WEIGHT_STRIDE + j, WEIGHT_STRIDE, false);
      for (var b = 0u; b < BLOCKS; b++) {
        sums[b] = multiply(weights, load_right(VALUES + j * STRIDE + 16u * b, STRIDE, false), sums[b]);
      }
    }
  }

  for (var r = 0u; r < OWNED; r++) {
    let total = checked_total(row_total(rows[r].total));
    if (subgroup_lane % ROW_LANES == 0u) {
      row_factor[row_of(r)] = 1.0 / total;
      if (first_query + row_of(r) < params.queries) {
        let of_highest = total * weight(rows[r].reference - rows[r].highest);
        softmax[query_start + (first_query + row_of(r)) * params.token_step] = Softmax(rows[r].highest, 1.0 / of_highest);
      }
    }
  }
  for (var b = 0u; b < BLOCKS; b++) {
    store_sum(own * SCORE_STRIDE, SCORE_STRIDE, sums[b]);
    workgroupBarrier();
    for (var i = subgroup_lane; i < 64u; i += SUBGROUP) {
      let row = own + i / 4u;
      let chunk = 4u * b + i % 4u;
      if (first_query + row < params.queries && chunk < chunks()) {
        let at = row * SCORE_STRIDE + 4u * (i % 4u);
        let numbers = vec4f(sum_tile[at], sum_tile[at + 1u], sum_tile[at + 2u], sum_tile[at + 3u]);
        store_chunk(&output, query_start + (first_query + row) * params.token_step, chunk, numbers * row_factor[row]);
      }
    }
    workgroupBarrier();
  }
}
