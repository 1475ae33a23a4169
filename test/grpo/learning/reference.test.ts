/** What a divergence is from: the network without its adapter, or a copy of what learns as the run began with it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  add,
  backward,
  gaussianLogProb,
  mean,
  mul,
  noGrad,
  packGaussianCoefficients,
  scope,
  square,
  sub,
  sum,
} from '../../../engine/index.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { damageOf, readCheckpoint, writeCheckpoint } from '../../../grpo/checkpoint.js';
import type { RunConfig } from '../../../grpo/config.js';
import type { LoadedModel } from '../../../grpo/finetune/policy.js';
import { Learner } from '../../../grpo/learning/learner.js';
import { klFactor } from '../../../grpo/learning/loss.js';
import { referenceOf } from '../../../grpo/learning/reference.js';
import { Rollout } from '../../../grpo/rollout/rollout.js';
import { wholeGroup } from '../../../grpo/rollout/stages.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import { Trainer, type TrainerConfig } from '../../../grpo/trainer.js';
import { expectClose, random, testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyFolder, tinyPrompts } from '../tiny.js';

const device = await testDevice();
const temporary = temporaryFolder();

/** An adapter that is given, and the network's own weights, as what learns: with the reference that each has a copy for. */
const policies = {
  'an adapter that a run begins with': {
    async load(): Promise<LoadedModel> {
      const model = await loadTiny(device, 'sd3');
      for (const [i, each] of [...model.trainable.values()].entries())
        each.write(random(each.shape, i, { low: -0.2, high: 0.2 }).data);
      return model;
    },
    keys: { kl: 0.1, kl_reference: 'initial' },
    lora: { rank: 2, alpha: 4, targets: 'attention' },
  },
  "the network's own weights": {
    load: () =>
      loadTiny(device, 'sd3', {
        lora: null,
        model: { path: tinyFolder('sd3'), weights: 'f32' },
        train: { weights: ['to_q.weight', 'to_q.bias', 'proj_out.weight'] },
      }),
    keys: { kl: 0.1, kl_reference: 'base' },
    lora: null,
  },
} satisfies Record<string, { load(): Promise<LoadedModel>; keys: TinyChanges['grpo']; lora: RunConfig['lora'] }>;

for (const [name, { load, keys, lora }] of Object.entries(policies))
  describe(name, () => {
    test('the divergence is 0 at first, and later that of the predictions by the weights as they began', async () => {
      const model = await load();
      const transitions = transitionsOf(model.schedule(3), { noise: 0.7 });
      const store = Trajectories.create(model, { slots: 4, groups: 1, transitions });
      store.encode(['a red circle']);
      const sampler = { guidance: 1, same_latent: false };
      const rollout = await Rollout.create(model, store, brightness(), { sampler, grpo: wholeGroup(4), seed: 1 });
      const [group] = await rollout.sample(tinyPrompts.slice(0, 1), 0);
      const config = tinyConfig({
        grpo: { ...keys, kl: 0.5, clip: 0.9 },
        train: { micro_batch: 3, lr: 0, weight_decay: 0, betas: [0.5, 0.999], grad_norm: 1e9 },
      });
      const learner = await Learner.create(model, store, config);
      const rows = group!.survivors.flatMap(({ slot }, i) =>
        [0, 1].map((step) => ({ slot, step, condition: 0, advantage: i - 1.4 })),
      );
      expect(await learner.accumulate(rows, rows.length)).toMatchObject({ kl: 0, ratioDeviation: 0 });
      await learner.apply(0);
      const kept = await Promise.all(learner.optimizer.firstMoments.map((moment) => moment.data()));

      const parameters = [...model.trainable.values()];
      const condition = model.encode(['a red circle']);
      const [latents, logProbs] = await Promise.all([store.latents.data(), store.logProbs.data()]);
      const width = store.latents.size / store.latents.shape[0]!;
      const stored = (slot: number, i: number): Tensor =>
        tensor(device, latents.subarray((i * 4 + slot) * width, (i * 4 + slot + 1) * width), [1, ...model.latentShape]);
      const predict = (slot: number, step: number): Tensor =>
        model.predict(stored(slot, step), tensor(device, [transitions[step]!.timestep]), condition);
      const references = rows.map(({ slot, step }) => scope(device, () => noGrad(() => predict(slot, step))));
      for (const [i, each] of parameters.entries()) {
        const noise = random(each.shape, 50 + i, { low: -0.05, high: 0.05 }).data;
        each.write((await each.data()).map((value, k) => value + noise[k]!));
      }
      const before = await bitsOf(parameters);
      const report = await learner.accumulate(rows, rows.length);
      await learner.apply(1);
      expect(await bitsOf(parameters), 'the policy is what it was').toEqual(before);
      expect(report.kl).toBeGreaterThan(0);

      const expected = parameters.map(({ size }) => new Float64Array(size));
      let kl = 0;
      for (const [i, { slot, step, advantage }] of rows.entries()) {
        const transition = transitions[step]!;
        const made = scope(device, () => {
          const v = predict(slot, step);
          const coefficients = tensor(device, packGaussianCoefficients([transition.step]), [1, 5]);
          const [logProb] = gaussianLogProb(v, stored(slot, step), stored(slot, step + 1), coefficients);
          const difference = sub(logProb, logProbs[step * 4 + slot]!);
          const divergence = mul(
            mean(square(sub(v, references[i]!))),
            klFactor('flow-grpo', transition.step, transition.interval),
          );
          // Not clipped: exp(x) has the gradient exp(x) dx, and these ratios are 1 to a few thousandths.
          const ratio = add(add(difference, 1), mul(square(difference), 0.5));
          const mine = sum(add(mul(ratio, -advantage), mul(divergence, 0.5)));
          return [divergence, ...backward(mine, parameters)];
        });
        const [value, ...gradients] = await Promise.all(made.map((each) => each.data()));
        kl += value![0]! / rows.length;
        for (const [p, gradient] of gradients.entries())
          for (const [k, part] of gradient.entries()) expected[p]![k]! += part / rows.length;
        for (const each of made) each.dispose();
      }
      expect(report.kl).toBeCloseTo(kl, 6);
      for (const [p, moment] of learner.optimizer.firstMoments.entries()) {
        const gradient = Float64Array.from(await moment.data(), (value, k) => 2 * value - kept[p]![k]!);
        expectClose(gradient, expected[p]!, 2e-4, `gradient ${p}`);
      }
      for (const each of [...references, ...condition, learner, rollout, store, model]) each.dispose();
    });

    test('a run that goes on has the reference it began with, and ends with the same bits', {
      timeout: 120_000,
    }, async () => {
      const config = {
        ...tinyConfig({
          sampler: { window: { size: 2, place: 'random', range: [0, 4], every: 1 } },
          grpo: { ...keys, row_weights: 'guard', updates_per_rollout: 2 },
          train: { ema: 0.9, lr: 1e-2 },
        }),
        lora,
      } as unknown as RunConfig & TrainerConfig; // what a checkpoint looks at
      const begin = async (model: LoadedModel) => ({
        model,
        trainer: await Trainer.create(model, brightness(), config),
      });
      const updates = async ({ trainer }: Awaited<ReturnType<typeof begin>>, count: number) => {
        const reports = [];
        for (let i = 0; i < count; i++) reports.push(await trainer.update(tinyPrompts));
        return reports;
      };
      const ends = async ({ model, trainer }: Awaited<ReturnType<typeof begin>>) => {
        const bits = await bitsOf(Object.values(trainer.state.tensors).flatMap((map) => [...map!.values()]));
        for (const each of [trainer, model]) each.dispose();
        return bits;
      };
      const alone = await begin(await load());
      const [first] = await updates(alone, 2);
      expect(first!.steps[0]).toMatchObject({ kl: 0, ratioDeviation: 0 });
      const folder = join(temporary, name.replace(/\W/g, ''), '000002');
      await mkdir(join(folder, '..'), { recursive: true });
      await writeCheckpoint(folder, alone.trainer.state, config);
      expect(await damageOf(folder)).toBeUndefined();
      const later = await updates(alone, 2);
      expect(later[0]!.steps[0]!.kl).toBeGreaterThan(0);
      const expected = await ends(alone);

      const other = await load();
      for (const each of other.trainable.values()) each.write(random(each.shape, 77).data); // nothing of these stays
      const resumed = await begin(other);
      await readCheckpoint(folder, resumed.trainer.state, config);
      expect((await updates(resumed, 2)).map(({ steps }) => steps)).toEqual(later.map(({ steps }) => steps));
      expect(await ends(resumed)).toEqual(expected);
    });
  });

test('a copy is taken only where there is a divergence from one', async () => {
  const model = await loadTiny(device, 'sd3');
  const { liveBytes } = device.memory();
  expect(referenceOf(model, { kl: 0, kl_reference: 'initial' })).toBeUndefined();
  const base = referenceOf(model, { kl: 0.1, kl_reference: 'base' });
  expect(base?.copy).toBeUndefined();
  expect(device.memory().liveBytes).toBe(liveBytes);
  const initial = referenceOf(model, { kl: 0.1, kl_reference: 'initial' });
  expect([...initial!.copy!.keys()]).toEqual([...model.trainable.keys()]);
  for (const each of [base, initial]) each?.dispose();
  expect(device.memory().liveBytes).toBe(liveBytes);
  model.dispose();
});
