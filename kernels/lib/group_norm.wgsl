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

struct Statistics {
  mean: f32,
  deviations: f32,  // sum of the squared deviations from the mean
}

struct Normal {
  mean: f32,
  rstd: f32,  // 1 / sqrt(variance + eps)
}

// Joins the statistics of all rows of a row's group.
fn normal_of(row: u32) -> Normal {
  let first = row - row % params.group_channels;  // groups divide the channels, so rows need no sample here
  let size = f32(params.group_channels);
  var mean = 0.0;
  for (var i = 0u; i < params.group_channels; i++) { mean += statistics[first + i].mean; }
  mean /= size;
  var within = 0.0;
  var between = 0.0;
  for (var i = 0u; i < params.group_channels; i++) {
    let own = statistics[first + i];
    within += own.deviations;
    between += (own.mean - mean) * (own.mean - mean);
  }
  let pixels = f32(params.pixels * WIDTH);
  return Normal(mean, 1.0 / sqrt((within / pixels + between) / size + params.eps));
}
