/** Clipped samples: the mean and its gradient against plain loops. */
import { expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import {
  clipColumns,
  clipped,
  clippedPreview,
  ddimClippedMean,
  packClippedMeans,
} from '../../../grpo/sampling/clip.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

const range = 0.6;
const rows = (['epsilon', 'v_prediction', 'sample'] as const).map((prediction) =>
  ddimClippedMean({ alpha: 0.3, alphaNext: 0.45, eta: 0.5, prediction }, range),
);
const x = rows.map((_, n) => [0.1 + n, -0.7, 0.2, 1.3]);
const v = rows.map((_, n) => [0.4 - n, 0.9, 0.05, -1.1]);

test('the mean and its gradient are those of a clamp, a row of coefficients for each sample', async () => {
  const all = [...rows, clippedPreview(rows[0]!)];
  const [inputs, outputs] = [
    [...x, x[0]!],
    [...v, v[0]!],
  ];
  const [mean, gradient] = scope(device, () => {
    const output = tensor(device, outputs.flat(), [all.length, 4]).requireGrad();
    const clip = { rows: tensor(device, packClippedMeans(all), [all.length, clipColumns]), range };
    const taken = clipped(tensor(device, inputs.flat(), [all.length, 4]), output, clip);
    return [taken, backward(taken, [output], { seed: tensor(device, Array(taken.size).fill(1), taken.shape) })[0]!];
  });
  const [values, slopes] = [await mean.data(), await gradient.data()];
  let clips = 0;
  for (const [n, { clean, data, x: ofX, v: ofV }] of all.entries()) {
    for (let i = 0; i < 4; i++) {
      const [at, out] = [inputs[n]![i]!, outputs[n]![i]!];
      const free = clean.x * at + clean.v * out;
      const inside = Math.abs(free) < range;
      if (!inside) clips++;
      const expected = data * Math.min(range, Math.max(-range, free)) + ofX * at + ofV * out;
      expect(Math.abs(values[4 * n + i]! - expected)).toBeLessThanOrEqual(1e-6);
      expect(Math.abs(slopes[4 * n + i]! - (ofV + (inside ? data * clean.v : 0)))).toBeLessThanOrEqual(1e-6);
    }
  }
  expect(clips).toBeGreaterThan(3);
  expect(clips).toBeLessThan(4 * all.length);
  for (const each of [mean, gradient]) each.dispose();
});

test('where nothing is clipped the output is taken as it is', () => {
  const output = tensor(device, [1, 2], [1, 2]);
  expect(clipped(output, output, undefined)).toBe(output);
  output.dispose();
});
