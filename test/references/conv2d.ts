/** Convolution in double precision, by its definition. */
import { type Host, host } from '../host.js';

export interface ReferenceOptions {
  readonly stride?: number;
  readonly padding?: number | readonly [number, number, number, number];
}

/** Cross-correlation of x [N, C, H, W] with weight [O, C, kh, kw], plus bias [O] and residual where given. */
export function conv2d(
  x: Host,
  weight: Host,
  bias: Host | null,
  { stride = 1, padding = 0 }: ReferenceOptions = {},
  residual: Host | null = null,
): Host {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const [o, , kh, kw] = weight.shape as [number, number, number, number];
  const [top, bottom, left, right] = typeof padding === 'number' ? [padding, padding, padding, padding] : padding;
  const oh = Math.floor((h + top + bottom - kh) / stride) + 1;
  const ow = Math.floor((w + left + right - kw) / stride) + 1;
  const y = host([n, o, oh, ow], new Float64Array(n * o * oh * ow));
  let at = 0;
  for (let sample = 0; sample < n; sample++) {
    for (let out = 0; out < o; out++) {
      for (let oy = 0; oy < oh; oy++) {
        for (let ox = 0; ox < ow; ox++) {
          let sum = (bias?.data[out] ?? 0) + (residual?.data[at] ?? 0);
          for (let channel = 0; channel < c; channel++) {
            for (let ky = 0; ky < kh; ky++) {
              for (let kx = 0; kx < kw; kx++) {
                const iy = oy * stride + ky - top;
                const ix = ox * stride + kx - left;
                if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
                const value = x.data[((sample * c + channel) * h + iy) * w + ix]!;
                sum += value * weight.data[((out * c + channel) * kh + ky) * kw + kx]!;
              }
            }
          }
          y.data[at++] = sum;
        }
      }
    }
  }
  return y;
}
