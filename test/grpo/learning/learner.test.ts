/** The learner against the plainest code: eager, one row at a time, loops in double precision around it. */
import { expect, test } from 'vitest';
import {
  add,
  backward,
  clamp,
  exp,
  gaussianLogProb,
  mean,
  minimum,
  mul,
  noGrad,
  packGaussianCoefficients,
  scope,
  square,
  sub,
  sum,
} from '../../../engine/index.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { Learner } from '../../../grpo/learning/learner.js';
import { klFactor } from '../../../grpo/learning/loss.js';
import { Rollout } from '../../../grpo/rollout/rollout.js';
import { wholeGroup } from '../../../grpo/rollout/stages.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import { expectClose, random, testDevice } from '../../check.js';
import { brightness, loadTiny, tinyConfig, tinyPrompts } from '../tiny.js';

const device = await testDevice();
const clip = 1.5e-3; // near the spread of the ratios below: some are clipped, some are not

/** A model, and the trajectories of a group of four that it drew in three steps. */
async function drawn(guidance: number) {
  const model = await loadTiny(device, 'sd3');
  const transitions = transitionsOf(model.schedule(3), { noise: 0.7 });
  const store = Trajectories.create(model, { slots: 4, groups: 1, transitions });
  store.encode(['a red circle']);
  const sampler = { guidance, same_latent: false };
  const rollout = await Rollout.create(model, store, brightness(), { sampler, grpo: wholeGroup(4), seed: 1 });
  const [group] = await rollout.sample(tinyPrompts.slice(0, 1), 0);
  return { model, transitions, store, rollout, survivors: group!.survivors };
}

for (const detachUnconditional of [false, true])
  test(`a learner's gradient is that of the rows' mean loss, with clipping, divergence and guidance (unconditional half detached: ${detachUnconditional})`, async () => {
    const { model, transitions, store, rollout, survivors } = await drawn(2);
    const config = tinyConfig({
      sampler: { guidance: 2, detach_unconditional: detachUnconditional },
      grpo: { clip, kl: 0.5 },
      // The first moment is half the gradient.
      train: { micro_batch: 3, lr: 0, weight_decay: 0, betas: [0.5, 0.999], grad_norm: 1e9 },
    });
    const learner = await Learner.create(model, store, config);
    // Weights that differ from those that drew: some ratios are clipped, and the reference is another policy.
    for (const each of model.trainable.values()) each.write(random(each.shape, 3, { low: -0.4, high: 0.4 }).data);
    const rows = survivors.flatMap(({ slot }, i) =>
      [0, 1].map((step) => ({ slot, step, condition: 0, advantage: i - 1.4 })),
    );
    const total = rows.length + 2;
    const report = await learner.accumulate(rows, total);
    const norm = await learner.apply(0);
    expect(report.clipFraction).toBeGreaterThan(0);
    expect(report.clipFraction).toBeLessThan(1);
    expect(report.kl).toBeGreaterThan(0);
    expect(report.ratioMean, 'over the rows alone').toBeGreaterThan(0.9);

    const parameters = [...model.trainable.values()];
    const [condition, unconditional] = [model.encode(['a red circle']), model.encode([''])];
    const latents = await store.latents.data();
    const logProbs = await store.logProbs.data();
    const width = store.latents.size / store.latents.shape[0]!;
    const expected = parameters.map(({ size }) => new Float64Array(size));
    let loss = 0;
    for (const { slot, step, advantage } of rows) {
      const at = (i: number): Tensor =>
        tensor(device, latents.subarray((i * 4 + slot) * width, (i * 4 + slot + 1) * width), [1, ...model.latentShape]);
      const made = scope(device, () => {
        const transition = transitions[step]!;
        const [x, time] = [at(step), tensor(device, [transition.timestep])];
        const guide = (): Tensor => {
          const without = model.predict(x, time, unconditional);
          const base = detachUnconditional ? without.detach() : without;
          return add(base, mul(sub(model.predict(x, time, condition), base), 2));
        };
        const v = guide();
        const row = tensor(device, packGaussianCoefficients([transition.step]), [1, 5]);
        const [logProb] = gaussianLogProb(v, x, at(step + 1), row);
        const ratio = exp(sub(logProb, logProbs[step * 4 + slot]!));
        const policy = mul(minimum(mul(ratio, advantage), mul(clamp(ratio, 1 - clip, 1 + clip), advantage)), -1);
        const reference = noGrad(() => model.reference!(guide));
        const factor = klFactor('flow-grpo', transition.step, transition.interval);
        const mine = sum(add(policy, mul(mean(square(sub(v, reference))), 0.5 * factor)));
        return [mine, ...backward(mine, parameters)];
      });
      const [value, ...gradients] = await Promise.all(made.map((each) => each.data()));
      loss += value![0]! / total;
      for (const [p, gradient] of gradients.entries())
        for (const [k, part] of gradient.entries()) expected[p]![k]! += part / total;
      for (const each of made) each.dispose();
    }
    expect(report.policyLoss + 0.5 * report.kl).toBeCloseTo(loss, 5);
    for (const [p, moment] of learner.optimizer.firstMoments.entries()) {
      expectClose(
        Float64Array.from(await moment.data(), (half) => 2 * half),
        expected[p]!,
        1e-4,
        `gradient ${p}`,
      );
    }
    expect(await learner.accumulate(rows, total), 'nothing is left of the step before').toEqual(report);
    expect(await learner.apply(1)).toBe(norm);
    for (const each of [learner, rollout, store, model, ...condition, ...unconditional]) each.dispose();
  });

test('with a large eps the step follows the gradient instead of its sign', async () => {
  const { model, store, rollout, survivors } = await drawn(1);
  const rows = survivors.map(({ slot }, i) => ({ slot, step: 0, condition: 0, advantage: i - 1.4 }));
  const [lr, eps] = [0.5, 1];
  const config = tinyConfig({
    sampler: { guidance: 1 },
    grpo: { clip },
    train: { micro_batch: 4, lr, weight_decay: 0, betas: [0.5, 0.999], eps, grad_norm: 1e9 },
  });
  const learner = await Learner.create(model, store, config);
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
