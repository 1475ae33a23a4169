// What the two structures of conv2d share: bindings, coordinates, weights, epilogue.
//   forward      result[n, o, p] = sum over taps and c of source[n, p * stride - padding + tap, c] * weight[tap, c, o]
//   TRANSPOSED   result[n, c, i] = sum over taps and o of source[n, (i + padding - tap) / stride, o] * weight[tap, o, c]
// where the quotient is exact: the input gradient, and a transposed convolution. Result pixels with the same remainder
// modulo the stride need the same taps, so they form one of stride^2 phases; a workgroup works in one phase of one sample.
// source is [N, pixels, depth4] of vec4 (conv2d_channels_last), weight [taps, depth4 * 4, columns4] (conv2d_weight),
// result and residual are [N, columns, height, width]. Sums run over taps, then depth, in f32.
#include "lib/index.wgsl"

struct Params {
  depth4: u32,  // channels that are summed over, in vec4
  columns: u32,  // channels of the result
  source_height: u32, source_width: u32,
  result_height: u32, result_width: u32,
  kernel_height: u32, kernel_width: u32,
  stride: u32,
  padding_top: u32, padding_left: u32,
  pixel_tiles: u32, column_tiles: u32,  // of a phase
  workgroups: u32,  // with work; a grid of two dimensions may have more
}

@group(0) @binding(0) var<storage, read> source: array<V>;
@group(0) @binding(1) var<storage, read> weight: array<vec4u>;  // vec4f, or two rows of 4 f16 (WEIGHT_F16)
@group(0) @binding(2) var<storage, read> bias: array<u32>;  // f32, or pairs of f16 (BIAS_F16)
@group(0) @binding(3) var<storage, read> residual: array<T>;
@group(0) @binding(4) var<storage, read_write> result: array<T>;
@group(0) @binding(5) var<uniform> params: Params;

struct Tile {
  pixels: u32,  // number of the tile of pixels
  columns: u32,  // number of the tile of channels
  sample: u32,
  phase: vec2u,  // (x, y) of the first result pixel; the next is `step` further
  step: u32,
  size: vec2u,  // pixels of the phase along x and y
  tap: vec2u,  // the first tap; the next is `step` further
  taps: vec2u,
}

fn tile_of(workgroup: u32) -> Tile {
  var tile: Tile;
  tile.step = select(1u, params.stride, TRANSPOSED);
  tile.pixels = workgroup % params.pixel_tiles;
  tile.columns = (workgroup / params.pixel_tiles) % params.column_tiles;
  let rest = workgroup / params.pixel_tiles / params.column_tiles;
  tile.phase = vec2u(rest, rest / tile.step) % tile.step;
  tile.sample = rest / (tile.step * tile.step);
  tile.size = (vec2u(params.result_width, params.result_height) + tile.step - 1u - tile.phase) / tile.step;
  if (TRANSPOSED) { tile.tap = (tile.phase + vec2u(params.padding_left, params.padding_top)) % tile.step; }
  tile.taps = (vec2u(params.kernel_width, params.kernel_height) + tile.step - 1u - tile.tap) / tile.step;
  return tile;
}

fn pixel_count(tile: Tile) -> u32 { return tile.size.x * tile.size.y; }

// The source pixel (x, y) that the tile's first tap shows to pixel q of the phase. The next tap is 1 further, or nearer.
fn source_start(tile: Tile, q: u32) -> vec2i {
  let width = max(tile.size.x, 1u);  // a phase may be empty
  let at = vec2u(q % width, q / width);
  let padding = vec2u(params.padding_left, params.padding_top);
  if (TRANSPOSED) { return vec2i(at + (tile.phase + padding - tile.tap) / tile.step); }
  return vec2i(at * params.stride) - vec2i(padding);
}

fn tap_offset(tap: vec2u) -> vec2i { return select(vec2i(tap), -vec2i(tap), TRANSPOSED); }

fn inside_source(at: vec2i) -> bool {
  return at.x >= 0 && at.y >= 0 && at.x < i32(params.source_width) && at.y < i32(params.source_height);
}

// Index in `source` of the first channels of a pixel; of pixel 0 when it is outside.
fn source_index(tile: Tile, at: vec2i) -> u32 {
  let pixel = select(0u, u32(at.y) * params.source_width + u32(at.x), inside_source(at));
  return (tile.sample * params.source_height * params.source_width + pixel) * params.depth4;
}

// First row of `weight` that belongs to a tap of the tile.
fn weight_row(tile: Tile, tap: vec2u) -> u32 {
  let at = tile.tap + tap * tile.step;
  return (at.y * params.kernel_width + at.x) * params.depth4 * 4u;
}

fn columns4() -> u32 { return (params.columns + 3u) / 4u; }

// 4 columns of one row of the weight.
fn weight_at(row: u32, column4: u32) -> vec4f {
  if (WEIGHT_F16) {
    let pair = weight[row / 2u * columns4() + column4];
    let half = select(pair.xy, pair.zw, row % 2u == 1u);
    return vec4f(unpack2x16float(half.x), unpack2x16float(half.y));
  }
  return bitcast<vec4f>(weight[row * columns4() + column4]);
}

// The bias of 4 columns, 0 without one.
fn load_bias(column4: u32) -> vec4f {
  var value = vec4f();
  if (HAS_BIAS) {
    for (var j = 0u; j < 4u; j++) {
      let column = min(4u * column4 + j, params.columns - 1u);
      if (BIAS_F16) { value[j] = unpack2x16float(bias[column / 2u])[column % 2u]; }
      else { value[j] = bitcast<f32>(bias[column]); }
    }
  }
  return value;
}

// Writes 4 columns of pixel q of the phase.
fn store(tile: Tile, q: u32, column4: u32, sum: vec4f) {
  if (q >= pixel_count(tile)) { return; }
  var pixel = q;
  if (TRANSPOSED) {
    let at = vec2u(q % tile.size.x, q / tile.size.x) * tile.step + tile.phase;
    pixel = at.y * params.result_width + at.x;
  }
  for (var j = 0u; j < 4u; j++) {
    let column = 4u * column4 + j;
    if (column >= params.columns) { return; }
    let i = (tile.sample * params.columns + column) * params.result_height * params.result_width + pixel;
    var value = sum[j];
    if (HAS_RESIDUAL) { value += f32(residual[i]); }
    result[i] = T(value);
  }
}
