/** The learner against the plainest code: eager, one row at a time, loops in double precision around it. */
import { expect, test } from 'vitest';
import {
  add,
  clamp,
  exp,
  gaussianLogProb,
  mean,
  minimum,
  mul,
  noGrad,
  packGaussianCoefficients,
  square,
  sub,
  sum,
} from '../../../engine/index.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { klFactor } from '../../../grpo/learning/loss.js';
import { expectClose, random, testDevice } from '../../check.js';
import { loadTiny, tinyConfig } from '../tiny.js';
import { drawGroup, expectGradients, halfMoments, learning, sumByHand } from './by_hand.js';

const device = await testDevice();
const clip = 1.5e-3; // near the spread of the ratios below: some are clipped, some are not

for (const detachUnconditional of [false, true])
  test(`a learner's gradient is that of the rows' mean loss, with clipping, divergence and guidance (unconditional half detached: ${detachUnconditional})`, async () => {
    const model = await loadTiny(device, 'sd3');
    const { transitions, store, rollout, rows, latent, logProb: stored } = await drawGroup(model, { guidance: 2 });
    const config = tinyConfig({
      sampler: { guidance: 2, detach_unconditional: detachUnconditional },
      grpo: { clip, kl: 0.5 },
      train: { ...halfMoments, micro_batch: 3 },
    });
    const learner = await learning(model, store, config);
    // Weights that differ from those that drew: some ratios are clipped, and the reference is another policy.
    for (const each of model.trainable.values()) each.write(random(each.shape, 3, { low: -0.4, high: 0.4 }).data);
    const total = rows.length + 2;
    const report = await learner.accumulate(rows, total);
    const norm = await learner.apply(0);
    expect(report.clipFraction).toBeGreaterThan(0);
    expect(report.clipFraction).toBeLessThan(1);
    expect(report.kl).toBeGreaterThan(0);
    expect(report.ratioMean, 'over the rows alone').toBeGreaterThan(0.9);

    const parameters = [...model.trainable.values()];
    const [condition, unconditional] = [model.encode(['a red circle']), model.encode([''])];
    const lossOf = ({ slot, step, advantage }: (typeof rows)[number]) => {
      const transition = transitions[step]!;
      const [x, time] = [latent(slot, step), tensor(device, [transition.timestep])];
      const guide = (): Tensor => {
        const without = model.predict(x, time, unconditional);
        const base = detachUnconditional ? without.detach() : without;
        return add(base, mul(sub(model.predict(x, time, condition), base), 2));
      };
      const v = guide();
      const row = tensor(device, packGaussianCoefficients([transition.step]), [1, 5]);
      const [logProb] = gaussianLogProb(v, x, latent(slot, step + 1), row);
      const ratio = exp(sub(logProb, stored(slot, step)));
      const policy = mul(minimum(mul(ratio, advantage), mul(clamp(ratio, 1 - clip, 1 + clip), advantage)), -1);
      const reference = noGrad(() => model.reference!(guide));
      const factor = klFactor('flow-grpo', transition.step, transition.interval);
      const loss = sum(add(policy, mul(mean(square(sub(v, reference))), 0.5 * factor)));
      return { loss, value: loss };
    };
    const { value, gradients } = await sumByHand(device, parameters, rows, lossOf, total);
    expect(report.policyLoss + 0.5 * report.kl).toBeCloseTo(value, 5);
    await expectGradients(learner, gradients);
    expect(await learner.accumulate(rows, total), 'nothing is left of the step before').toEqual(report);
    expect(await learner.apply(1)).toBe(norm);
    for (const each of [learner, rollout, store, model, ...condition, ...unconditional]) each.dispose();
  });

test('with a large eps the step follows the gradient instead of its sign', async () => {
  const model = await loadTiny(device, 'sd3');
  const { store, rollout, rows: both } = await drawGroup(model);
  const rows = both.filter(({ step }) => step === 0);
  const [lr, eps] = [0.5, 1];
  const config = tinyConfig({
    sampler: { guidance: 1 },
    grpo: { clip },
    train: { micro_batch: 4, lr, weight_decay: 0, betas: [0.5, 0.999], eps, grad_norm: 1e9 },
  });
  const learner = await learning(model, store, config);
  const parameters = [...model.trainable.values()];
  const read = () => Promise.all(parameters.map((each) => each.data()));
  const before = await read();
  await learner.accumulate(rows, rows.length);
  await learner.apply(0);
  const after = await read();
  for (const [i, moment] of learner.optimizer.firstMoments.entries()) {
    const gradient = Float64Array.from(await moment.data(), (half) => 2 * half);
    const expected = gradient.map((g, k) => before[i]![k]! - (lr * g) / (Math.abs(g) + eps));
    expectClose(after[i]!, expected, 1e-6, `parameter ${i}`);
  }
  expect(after).not.toEqual(before);
  for (const each of [learner, rollout, store, model]) each.dispose();
});
