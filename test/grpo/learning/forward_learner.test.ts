/** The learner of forward rows against the plainest code: eager, one row at a time, loops in double precision around it. */
import { expect, test } from 'vitest';
import {
  add,
  backward,
  exp,
  mean,
  mul,
  noGrad,
  normal,
  scope,
  square,
  sub,
  type Tensor,
  tensor,
} from '../../../engine/index.js';
import { type ForwardRow, levelOf } from '../../../grpo/learning/forward_learner.js';
import { awmLogProb, forwardRows, nftLoss } from '../../../grpo/learning/forward_loss.js';
import { hashNumbers } from '../../../grpo/random.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import { expectClose, random, testDevice } from '../../check.js';
import { loadTiny, tinyConfig } from '../tiny.js';
import { learning } from './by_hand.js';

const device = await testDevice();
const seed = 5;

const row = (changes: Partial<ForwardRow> = {}): ForwardRow => ({
  slot: 0,
  step: 0,
  condition: 0,
  advantage: 1,
  update: 0,
  sample: 0,
  ...changes,
});

test('levels are functions of numbers alone, uniform in (1 - share, 1]', () => {
  const rows = Array.from({ length: 4000 }, (_, i) =>
    row({ update: i % 7, sample: i >> 3, step: i % 3, condition: i }),
  );
  for (const share of [1, 0.9, 0.34]) {
    const levels = rows.map((each) => levelOf(seed, each, share));
    expect(Math.min(...levels)).toBeGreaterThan(1 - share);
    expect(Math.max(...levels)).toBeLessThanOrEqual(1);
    const tenths = Array<number>(10).fill(0);
    for (const level of levels) tenths[Math.min(9, Math.floor((10 * (1 - level)) / share))]! += 1;
    // Each tenth has 400, give or take 19 (the binomial's deviation).
    for (const count of tenths) expect(Math.abs(count - 400)).toBeLessThan(5 * 19);
    expect(levels.map(Math.fround)).toEqual(levels);
  }
  const own = row({ update: 3, condition: 1, sample: 4, step: 2 });
  const level = levelOf(seed, own, 1);
  expect(levelOf(seed, { ...own, slot: 9, advantage: -3 }, 1)).toBe(level);
  for (const other of [{ update: 4 }, { condition: 2 }, { sample: 5 }, { step: 1 }])
    expect(levelOf(seed, { ...own, ...other }, 1)).not.toBe(level);
  expect(levelOf(seed + 1, own, 1)).not.toBe(level);
});

for (const loss of ['nft', 'awm'] as const)
  test(`${loss}: a learner's gradient is that of the rows' mean loss, with the old predictions, the anchor and an unguided network`, async () => {
    const model = await loadTiny(device, 'sd3');
    const transitions = transitionsOf(model.schedule(3), { noise: 0 });
    const store = Trajectories.create(model, { slots: 4, groups: 1, transitions, keeps: 'ends' });
    store.encode(['a red circle']);
    const shape = [4, ...model.latentShape];
    store.latents.write(random(shape, 8).data);
    const config = tinyConfig({
      sampler: { guidance: 2, noise: 0, steps: 3 },
      grpo: { loss, kl: 0.5, kl_form: 'velocity', nft_beta: 0.5, awm_weight: 't', clip: 0.9, updates_per_rollout: 2 },
      // The first moment is half the gradient.
      train: { micro_batch: 3, lr: 0, weight_decay: 0, betas: [0.5, 0.999], grad_norm: 1e9 },
    });
    const learner = await learning(model, store, config);
    const rows = [0, 1, 2, 3].flatMap((slot) =>
      [0, 1].map((step) => row({ slot, step, sample: slot + 2, advantage: slot - 1.4, update: 3 })),
    );
    const total = rows.length + 2;
    // Weights that differ from those whose predictions are kept, and the reference is another policy.
    const parameters = [...model.trainable.values()];
    const before = parameters.map((each, i) => random(each.shape, i, { low: -0.3, high: 0.3 }).data);
    const now = parameters.map((each, i) => random(each.shape, i + 40, { low: -0.3, high: 0.3 }).data);
    const setWeights = (values: readonly ArrayLike<number>[]): void =>
      parameters.forEach((each, i) => {
        each.write(values[i]!);
      });
    setWeights(before);
    learner.remember(rows);
    setWeights(now);
    const report = await learner.accumulate(rows, total);
    await learner.apply(0);
    expect(report.kl).toBeGreaterThan(0);
    expect(report[loss === 'nft' ? 'predictionDeviation' : 'ratioDeviation']).toBeGreaterThan(0);

    const condition = model.encode(['a red circle']);
    const latents = await store.latents.data();
    const width = store.latents.size / 4;
    const expected = parameters.map(({ size }) => new Float64Array(size));
    let value = 0;
    for (const each of rows) {
      const level = levelOf(seed, each, 1);
      const keys = [0, 1].map((word) => hashNumbers(word, seed, 3, 0, each.sample, each.step));
      const predicted = (): { v: Tensor; target: Tensor } => {
        const clean = tensor(device, latents.subarray(each.slot * width, (each.slot + 1) * width), [
          1,
          ...shape.slice(1),
        ]);
        const noise = normal(tensor(device, keys, [1, 2], 'u32'), tensor(device, [0], [1], 'u32'), clean.shape);
        const { latents: mixed, target } = forwardRows(clean, noise, tensor(device, [level]));
        return { v: model.predict(mixed, tensor(device, [1000 * level]), condition), target };
      };
      setWeights(before);
      const kept = scope(device, () => noGrad(() => predicted().v));
      setWeights(now);
      const made = scope(device, () => {
        const { v, target } = predicted();
        const [times, A] = [tensor(device, [level]), tensor(device, [each.advantage])];
        const rowsOf = { prediction: v, old: kept, target, level: times, advantages: A };
        const policy =
          loss === 'nft'
            ? nftLoss(rowsOf, { beta: 0.5, advantageMax: 5 })
            : mul(mean(mul(exp(sub(awmLogProb(v, target, times, 't'), awmLogProb(kept, target, times, 't'))), A)), -1);
        const reference = noGrad(() => model.reference!(() => predicted().v));
        const mine = add(policy, mul(mean(square(sub(v, reference))), 0.5));
        return [mine, ...backward(mine, parameters)];
      });
      const [own, ...gradients] = await Promise.all(made.map((one) => one.data()));
      value += own![0]! / total;
      for (const [p, gradient] of gradients.entries())
        for (const [k, part] of gradient.entries()) expected[p]![k]! += part / total;
      for (const one of [...made, kept]) one.dispose();
    }
    expect(report.policyLoss + 0.5 * report.kl).toBeCloseTo(value, 5);
    for (const [p, moment] of learner.optimizer.firstMoments.entries()) {
      const found = Float64Array.from(await moment.data(), (half) => 2 * half);
      expectClose(found, expected[p]!, 1e-4, `gradient ${p}`);
    }
    for (const each of [learner, store, model, ...condition]) each.dispose();
  });
