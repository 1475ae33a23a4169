/** Cases of the resampling ops: whole and broken factors, rests, one pixel, patches of one pixel. */
import * as ops from '../../engine/ops/resample.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import type { Host } from '../host.js';
import * as reference from '../references/resample.js';

export interface ResampleCase {
  readonly name: string;
  readonly shape: readonly number[];
  readonly run: (x: Tensor) => Tensor;
  readonly reference: (x: Host) => Host;
  /** Most pixels that one element of the value or of the gradient sums. */
  readonly terms: number;
}

const upsample = (name: string, shape: readonly number[], [height, width]: [number, number]): ResampleCase => ({
  name: `upsampleNearest ${name}`,
  shape,
  run: (x) => ops.upsampleNearest(x, { size: [height, width] }),
  reference: (x) => reference.upsampleNearest(x, height, width),
  terms: 16,
});

const pool = (name: string, shape: readonly number[], k: number): ResampleCase => ({
  name: `avgPool2d ${name}`,
  shape,
  run: (x) => ops.avgPool2d(x, k),
  reference: (x) => reference.avgPool2d(x, k),
  terms: k * k,
});

const strided = (name: string, shape: readonly number[], k: number): ResampleCase => ({
  name: `stridedDownsample ${name}`,
  shape,
  run: (x) => ops.stridedDownsample(x, k),
  reference: (x) => reference.stridedDownsample(x, k),
  terms: 1,
});

const patches = (name: string, shape: readonly number[], p: number): ResampleCase => ({
  name: `patchify ${name}`,
  shape,
  run: (x) => ops.patchify(x, p),
  reference: (x) => reference.patchify(x, p),
  terms: 1,
});

export const resampleCases: readonly ResampleCase[] = [
  {
    name: 'upsampleNearest by a whole factor',
    shape: [2, 3, 5, 4],
    run: (x) => ops.upsampleNearest(x, { scale: 2 }),
    reference: (x) => reference.upsampleNearest(x, 10, 8),
    terms: 4,
  },
  upsample('by broken factors', [2, 3, 5, 4], [7, 13]),
  upsample('to fewer pixels', [2, 2, 9, 8], [4, 3]),
  upsample('from one pixel', [2, 2, 1, 1], [3, 5]),
  pool('over whole windows', [2, 3, 6, 8], 2),
  pool('with rests on both axes', [2, 2, 8, 10], 3),
  strided('of an even size', [2, 3, 6, 8], 2),
  strided('with rests on both axes', [2, 2, 7, 10], 3),
  patches('of 2 x 2 pixels', [2, 3, 4, 6], 2),
  patches('of one pixel', [2, 5, 3, 4], 1),
  {
    name: 'unpatchify',
    shape: [2, 6, 12],
    run: (x) => ops.unpatchify(x, { patch: 2, channels: 3, height: 4, width: 6 }),
    reference: (x) => reference.unpatchify(x, 2, 3, 4, 6),
    terms: 1,
  },
];
