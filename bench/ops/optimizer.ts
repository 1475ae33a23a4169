/** AdamW alone, on one matrix: bound by memory, as it reads four values a parameter and writes three. */
import { AdamW } from '../../engine/nn/optimizer.js';
import type { BenchCase, ShapeSet } from '../harness.js';
import { input } from './random.js';

const sizes: readonly { set: ShapeSet; count: number }[] = [
  { set: 'sd14', count: 1280 * 1280 },
  { set: 'small', count: 64 * 64 * 9 },
];

export const optimizerCases: readonly BenchCase[] = sizes.map(({ set, count }) => ({
  op: 'AdamW',
  set,
  shape: `${count}`,
  dtype: 'f32',
  bytes: (1 + 4 + 3) * 4 * count, // the gradient is read once more, for its norm
  prepare: (device) => {
    const [lr, eps, weightDecay] = [1e-3, 1e-8, 1e-2];
    const parameter = input(device, [count], 1);
    const gradient = input(device, [count], 2);
    const optimizer = new AdamW([parameter.tensor.requireGrad()], { lr, eps, weightDecay });
    return {
      body: () => {
        optimizer.step([gradient.tensor]);
        return [parameter.tensor];
      },
      references: [
        // In the first step the corrected moments are g and g^2.
        (i) => {
          const [p, g] = [parameter.values[i]!, gradient.values[i]!];
          return p - lr * (weightDecay * p + g / (Math.abs(g) + eps));
        },
      ],
    };
  },
}));
