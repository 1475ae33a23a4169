import { describe, expect, test } from 'vitest';
import { avgPool2d, patchify, stridedDownsample, unpatchify, upsampleNearest } from '../../../engine/ops/resample.js';
import { scope } from '../../../engine/tensor/scope.js';
import type { Tensor } from '../../../engine/tensor/tensor.js';
import { resampleCases } from '../../cases/resample.js';
import { checkBatchInvariance, checkForward, checkGradients, random, testDevice, upload } from '../../check.js';

const device = await testDevice();

describe.each(resampleCases)('$name', ({ shape, run, reference, terms }) => {
  test('equals the definition, and so does its gradient', async () => {
    const input = random(shape, 1);
    await checkForward(device, run, reference, [input], { terms });
    await checkGradients(device, run, reference, [input], { terms });
  });

  test('gives a sample the same bits in any batch', async () => {
    await checkBatchInvariance(device, run, [random(shape, 1)], { batched: [0] });
  });
});

test.skipIf(!device.features.f16)('resampling in f16 rounds once, on storing (needs shader-f16)', async () => {
  const byName = (start: string) => resampleCases.find(({ name }) => name.startsWith(start))!;
  for (const { shape, run, reference, terms } of [byName('avgPool2d'), byName('patchify')]) {
    const inputs = [random(shape, 1, { dtype: 'f16' })];
    await checkForward(device, run, reference, inputs, { terms, dtypes: ['f16'] });
    await checkGradients(device, run, reference, inputs, { terms, dtypes: ['f16'] });
  }
});

describe('resampling refuses', () => {
  const cases: readonly { name: string; shape: number[]; run: (x: Tensor) => Tensor; message: RegExp }[] = [
    {
      name: 'a tensor that is no image',
      shape: [3, 4, 4],
      run: (x) => upsampleNearest(x, { scale: 2 }),
      message: /upsampleNearest: expected an image \[N, C, H, W\] of f32 or f16, found \[3, 4, 4\] f32/,
    },
    {
      name: 'a size that is not whole',
      shape: [1, 1, 3, 3],
      run: (x) => upsampleNearest(x, { scale: 1.5 }),
      message: /upsampleNearest: expected a size of 1 or more, found \[4.5, 4.5\]/,
    },
    {
      name: 'a window larger than the image',
      shape: [1, 1, 4, 3],
      run: (x) => avgPool2d(x, 4),
      message: /avgPool2d: expected a window of 1 to 3 pixels for \[1, 1, 4, 3\] f32, found 4/,
    },
    {
      name: 'a stride of 0',
      shape: [1, 1, 4, 3],
      run: (x) => stridedDownsample(x, 0),
      message: /stridedDownsample: .*found 0/,
    },
    {
      name: 'patches that do not divide the image',
      shape: [1, 1, 4, 5],
      run: (x) => patchify(x, 2),
      message: /patchify: patches of 2 x 2 pixels do not divide \[1, 1, 4, 5\] f32/,
    },
    {
      name: 'patches of another size',
      shape: [1, 4, 10],
      run: (x) => unpatchify(x, { patch: 2, channels: 3, height: 4, width: 4 }),
      message: /unpatchify: expected patches of \[N, 4, 12\], found \[1, 4, 10\] f32/,
    },
  ];
  test.each(cases)('$name', ({ shape, run, message }) => {
    scope(device, () => {
      const x = upload(device, random(shape, 1));
      expect(() => run(x)).toThrow(message);
    });
  });
});
