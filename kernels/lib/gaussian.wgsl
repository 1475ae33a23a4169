// What the kernels of Gaussian steps share: samples of `size` V, each with its row of coefficients, cut into chunks of
// 4,096 elements. A workgroup handles one chunk of one sample, so nothing depends on the other samples.
//   mean = a x + b v, next = mean + deviation noise, log p = offset - scale * mean over the elements of (next - mean)^2
const WORKGROUP = 64u;
const CHUNK = 4096u / WIDTH;  // of V

struct Params {
  samples: u32,
  size: u32,    // of V
  chunks: u32,  // of a sample
}

// A row of `coefficients`.
struct Coefficients {
  a: f32,
  b: f32,
  deviation: f32,
  scale: f32,
  offset: f32,
}
