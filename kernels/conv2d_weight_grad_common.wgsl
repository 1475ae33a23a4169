// What the two structures of conv2d's weight gradient share:
//   dweight[part, o, c, tap] = sum over n and output pixels p of dy[n, p, o] * x[n, p * stride - padding + tap, c]
// where the source pixel exists. dy is [N, out pixels, o4] of vec4, x [N, pixels, c4] of vec4 (conv2d_channels_last).
// Part i sums rows of output pixels i * rows_per_part and on, of all samples in order; the parts are added afterwards.
#include "lib/index.wgsl"

struct Params {
  channels: u32, out_channels: u32,
  height: u32, width: u32,
  out_height: u32, out_width: u32,
  kernel_height: u32, kernel_width: u32,
  stride: u32,
  padding_top: u32, padding_left: u32,
  rows: u32,  // rows of output pixels: samples * out_height
  rows_per_part: u32,
  channel_tiles: u32, out_channel_tiles: u32,
  workgroups: u32,  // with work; a grid of two dimensions may have more
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> dy: array<V>;
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

struct Tile {
  channels: u32, out_channels: u32,  // numbers of the tiles of channels
  tap: vec2u,
  part: u32,
  left: u32, right: u32,  // output pixels of a row whose source pixel exists: left to right - 1
}

fn tile_of(workgroup: u32) -> Tile {
  var tile: Tile;
  // Taps come before output channels: their values lie side by side in dweight, which may be larger than the caches.
  tile.channels = workgroup % params.channel_tiles;
  let taps = params.kernel_width * params.kernel_height;
  let tap = workgroup / params.channel_tiles % taps;
  tile.tap = vec2u(tap % params.kernel_width, tap / params.kernel_width);
  let rest = workgroup / params.channel_tiles / taps;
  tile.out_channels = rest % params.out_channel_tiles;
  tile.part = rest / params.out_channel_tiles;
  let stride = params.stride;
  tile.left = (max(params.padding_left, tile.tap.x) - tile.tap.x + stride - 1u) / stride;
  let end = params.width + params.padding_left;
  tile.right = min((max(end, tile.tap.x) - tile.tap.x + stride - 1u) / stride, params.out_width);
  return tile;
}

fn channels4() -> u32 { return (params.channels + 3u) / 4u; }
fn out_channels4() -> u32 { return (params.out_channels + 3u) / 4u; }

// The row of x that row `row` of the output meets at the tap; -1 when there is none.
fn source_row(tile: Tile, row: u32) -> i32 {
  let y = i32(row % params.out_height * params.stride + tile.tap.y) - i32(params.padding_top);
  if (y < 0 || y >= i32(params.height)) { return -1; }
  return i32(row / params.out_height * params.height) + y;
}

// Column of x that output column `column` (left to right - 1) meets at the tap.
fn source_column(tile: Tile, column: u32) -> u32 { return column * params.stride + tile.tap.x - params.padding_left; }

// Writes dweight[part, o, 4 c4 ..] of the tap.
fn store(tile: Tile, o: u32, c4: u32, sum: vec4f) {
  if (o >= params.out_channels) { return; }
  let taps = params.kernel_width * params.kernel_height;
  for (var j = 0u; j < 4u; j++) {
    let c = 4u * c4 + j;
    if (c >= params.channels) { return; }
    let row = (tile.part * params.out_channels + o) * params.channels + c;
    dweight[row * taps + tile.tap.y * params.kernel_width + tile.tap.x] = sum[j];
  }
}
