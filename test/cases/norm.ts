/** Cases of the normalisations: shapes, options, and whether parameters are there. */
import type { ShapeSet } from '../../bench/harness.js';

export interface GroupNormCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly groups: number;
  readonly silu?: boolean;
}

export const groupNormCases: readonly GroupNormCase[] = [
  { name: 'images', shape: [3, 8, 4, 6], groups: 4 },
  { name: 'images with silu', shape: [2, 12, 6, 6], groups: 3, silu: true },
  { name: 'odd sizes with silu', shape: [2, 6, 3, 5], groups: 2, silu: true },
  { name: 'one channel per group', shape: [2, 5, 3, 3], groups: 5 },
  { name: 'one group', shape: [2, 6, 7], groups: 1 },
  { name: 'tokens without pixels', shape: [3, 8], groups: 2 },
];

/** What is timed, with and without silu. */
export const groupNormBenchCases: readonly (GroupNormCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: '320 channels', shape: [1, 320, 32, 32], groups: 32 },
  { bench: 'small', name: '8 channels', shape: [64, 8, 32, 32], groups: 2 },
];

export interface LayerNormCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly weight?: boolean;
  readonly bias?: boolean;
  readonly modulated?: boolean;
}

export const layerNormCases: readonly LayerNormCase[] = [
  { name: 'affine', shape: [3, 7, 12], weight: true, bias: true },
  { name: 'affine, odd columns', shape: [5, 13], weight: true, bias: true },
  { name: 'weight alone', shape: [4, 8], weight: true },
  { name: 'plain, more rows than a chunk', shape: [2, 70, 8] },
  { name: 'modulated', shape: [70, 3, 12], modulated: true },
  { name: 'modulated and affine, odd columns', shape: [5, 2, 7], weight: true, bias: true, modulated: true },
];

/** What is timed, of layer norm and of RMS norm. */
export const layerNormBenchCases: readonly (LayerNormCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: '1280 channels', shape: [1024, 1280], weight: true, bias: true },
  { bench: 'small', name: '64 channels', shape: [1536, 64], weight: true, bias: true },
];
