/** Ops that only move data: permutations, concatenation and upsampling of the UNet. */
import { upsampleNearest } from '../../engine/ops/resample.js';
import { concat, permute } from '../../engine/ops/shape.js';
import type { BenchCase, ShapeSet } from '../harness.js';
import { input } from './random.js';

/** Images [batch, channels, size, size], and the heads their pixels are split into for attention. */
const images: readonly { set: ShapeSet; batch: number; channels: number; size: number; heads: number }[] = [
  { set: 'sd14', batch: 2, channels: 320, size: 64, heads: 8 },
  { set: 'small', batch: 64, channels: 64, size: 4, heads: 4 },
];

export const copyCases: readonly BenchCase[] = images.flatMap(({ set, batch, channels, size, heads }): BenchCase[] => {
  const pixels = size ** 2;
  const headDim = channels / heads;
  const bytes = 4 * batch * channels * pixels;
  const common = { set, dtype: 'f32' } as const;
  const image = `${batch}x${channels}x${size}x${size}`;
  return [
    {
      ...common,
      op: 'permute to channels last',
      shape: image,
      bytes: 2 * bytes,
      prepare: (device) => {
        const x = input(device, [batch, channels, size, size], 1);
        const source = (i: number): number => {
          const pixel = Math.floor(i / channels) % pixels;
          return (Math.floor(i / (channels * pixels)) * channels + (i % channels)) * pixels + pixel;
        };
        return { body: () => [permute(x.tensor, [0, 2, 3, 1])], references: [(i) => x.values[source(i)]!] };
      },
    },
    {
      ...common,
      op: 'permute to heads',
      shape: `${batch}x${pixels}x${heads}x${headDim}`,
      bytes: 2 * bytes,
      prepare: (device) => {
        const x = input(device, [batch, pixels, heads, headDim], 1);
        const source = (i: number): number => {
          const [pixel, head] = [Math.floor(i / headDim) % pixels, Math.floor(i / (headDim * pixels)) % heads];
          const sample = Math.floor(i / (headDim * pixels * heads));
          return ((sample * pixels + pixel) * heads + head) * headDim + (i % headDim);
        };
        return { body: () => [permute(x.tensor, [0, 2, 1, 3])], references: [(i) => x.values[source(i)]!] };
      },
    },
    {
      ...common,
      op: 'concat of channels',
      shape: `2 of ${image}`,
      bytes: 4 * bytes,
      prepare: (device) => {
        const parts = [1, 2].map((seed) => input(device, [batch, channels, size, size], seed));
        const part = channels * pixels;
        const reference = (i: number): number => {
          const sample = Math.floor(i / (2 * part));
          return parts[Math.floor(i / part) % 2]!.values[sample * part + (i % part)]!;
        };
        return {
          body: () => [
            concat(
              parts.map(({ tensor }) => tensor),
              1,
            ),
          ],
          references: [reference],
        };
      },
    },
    {
      ...common,
      op: 'upsampleNearest x2',
      shape: image,
      bytes: 5 * bytes,
      prepare: (device) => {
        const x = input(device, [batch, channels, size, size], 1);
        const source = (i: number): number => {
          const [column, row] = [i % (2 * size), Math.floor(i / (2 * size)) % (2 * size)];
          return (Math.floor(i / (4 * pixels)) * size + (row >> 1)) * size + (column >> 1);
        };
        return { body: () => [upsampleNearest(x.tensor, { scale: 2 })], references: [(i) => x.values[source(i)]!] };
      },
    },
  ];
});
