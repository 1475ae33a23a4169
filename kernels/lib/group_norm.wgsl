// What the kernels of group norm share. x is [samples, channels, pixels]; a row is one channel of one sample.
// Statistics are kept per row, and every row joins those of its group: groups of few channels are cheap to join, and
// many rows fill a device better than few groups.
struct Params {
  rows: u32,            // samples * channels
  pixels: u32,          // of V
  channels: u32,
  group_channels: u32,
  eps: f32,
}

// statistics[row] = the row's mean and its sum of squared deviations. Returns mean and rstd of the row's group.
fn group_statistics(row: u32) -> vec2f {
  let first = row - row % params.group_channels;  // groups divide the channels, so rows need no sample here
  let size = f32(params.group_channels);
  var mean = 0.0;
  for (var i = 0u; i < params.group_channels; i++) { mean += statistics[first + i].x; }
  mean /= size;
  var within = 0.0;
  var between = 0.0;
  for (var i = 0u; i < params.group_channels; i++) {
    let own = statistics[first + i];
    within += own.y;
    between += (own.x - mean) * (own.x - mean);
  }
  let pixels = f32(params.pixels * WIDTH);
  return vec2f(mean, 1.0 / sqrt((within / pixels + between) / size + params.eps));
}
