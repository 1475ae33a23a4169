/** Gaussian transitions in double precision. Rows of coefficients are (x, v, std, scale, offset). */
import type { Host } from '../host.js';

/** The transition's mean a x + b v; x and v are [N, ...]. */
export function gaussianMean(x: Host, v: Host, coefficients: Host): Host {
  const size = x.data.length / x.shape[0]!;
  const data = x.data.map((value, i) => {
    const row = 5 * Math.floor(i / size);
    return coefficients.data[row]! * value + coefficients.data[row + 1]! * v.data[i]!;
  });
  return { shape: x.shape, data };
}

/** The log probability [N] of next, averaged over a sample's elements. */
export function gaussianLogProb(v: Host, x: Host, next: Host, coefficients: Host): Host {
  const samples = x.shape[0]!;
  const size = x.data.length / samples;
  const mean = gaussianMean(x, v, coefficients).data;
  const data = new Float64Array(samples);
  for (let n = 0; n < samples; n++) {
    let squares = 0;
    for (let i = n * size; i < (n + 1) * size; i++) squares += (next.data[i]! - mean[i]!) ** 2;
    data[n] = coefficients.data[5 * n + 4]! - (coefficients.data[5 * n + 3]! * squares) / size;
  }
  return { shape: [samples], data };
}
