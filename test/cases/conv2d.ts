/** Cases of conv2d: sizes that are no multiple of any tile, edges of the window, and each variant. */
import type { ShapeSet } from '../../bench/harness.js';
import type { DType } from '../../kernels/kernel.js';

export interface Conv2dCase {
  readonly name: string;
  /** [N, C, H, W] */
  readonly x: readonly [number, number, number, number];
  /** [O, kh, kw] */
  readonly weight: readonly [number, number, number];
  readonly stride?: number;
  readonly padding?: number | readonly [number, number, number, number];
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly weightDtype?: DType;
}

export const conv2dCases: readonly Conv2dCase[] = [
  {
    name: '3x3 over several tiles of pixels and channels',
    x: [2, 8, 9, 8],
    weight: [72, 3, 3],
    padding: 1,
    bias: true,
  },
  { name: '3x3 with odd sizes', x: [2, 5, 7, 6], weight: [7, 3, 3], padding: 1, bias: true, residual: true },
  {
    name: '3x3 to 3 channels over several tiles of pixels',
    x: [1, 5, 17, 19],
    weight: [3, 3, 3],
    padding: 1,
    bias: true,
  },
  {
    name: '3x3 to 14 channels over several tiles of pixels',
    x: [1, 6, 9, 11],
    weight: [14, 3, 3],
    padding: 1,
    residual: true,
  },
  { name: '1x1', x: [2, 18, 5, 9], weight: [6, 1, 1], bias: true },
  { name: 'one channel to one channel', x: [2, 1, 6, 5], weight: [1, 3, 3], padding: 1 },
  { name: 'stride 2 padded on all sides', x: [2, 6, 9, 7], weight: [5, 3, 3], stride: 2, padding: 1, bias: true },
  { name: 'stride 2 padded below and right', x: [1, 4, 8, 6], weight: [8, 3, 3], stride: 2, padding: [0, 1, 0, 1] },
  { name: 'a kernel larger than the input', x: [2, 3, 2, 3], weight: [4, 5, 5], padding: 2, bias: true },
  { name: 'a kernel whose outer taps meet only padding', x: [1, 4, 1, 1], weight: [4, 3, 3], padding: 1 },
  { name: 'patches: the stride is the kernel', x: [2, 3, 8, 6], weight: [10, 2, 2], stride: 2, bias: true },
  { name: 'a stride larger than the kernel', x: [1, 4, 7, 8], weight: [4, 1, 2], stride: 3 },
  { name: 'padded differently on each side', x: [1, 3, 5, 6], weight: [4, 3, 2], padding: [2, 0, 1, 3] },
];

/** What is timed: 3 x 3 with stride 1 and padding 1, whose output has the input's height and width. */
export const conv2dBenchCases: readonly (Conv2dCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: '320 channels', x: [1, 320, 32, 32], weight: [320, 3, 3], padding: 1 },
  { bench: 'sd14', name: '1280 channels', x: [2, 1280, 8, 8], weight: [1280, 3, 3], padding: 1 },
  { bench: 'small', name: '24 channels', x: [64, 24, 8, 8], weight: [24, 3, 3], padding: 1 },
  { bench: 'small', name: '8 channels', x: [64, 8, 32, 32], weight: [8, 3, 3], padding: 1 },
];

export const conv2dHalfCases: readonly Conv2dCase[] = [
  { name: '3x3', x: [2, 8, 6, 6], weight: [12, 3, 3], padding: 1, bias: true, weightDtype: 'f16' },
  { name: '3x3 with odd sizes', x: [1, 5, 5, 7], weight: [7, 3, 3], padding: 1, weightDtype: 'f16' },
];
