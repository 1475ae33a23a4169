/** What a divergence is from: the network without its adapter, or a copy of what learns as the run began with it. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  add,
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
import { klFactor } from '../../../grpo/learning/loss.js';
import { referenceOf } from '../../../grpo/learning/reference.js';
import { Trainer, type TrainerConfig } from '../../../grpo/trainer.js';
import { random, testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyFolder, tinyPrompts } from '../tiny.js';
import { drawGroup, expectGradients, halfMoments, learning, momentsOf, sumByHand } from './by_hand.js';

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
      const { transitions, store, rollout, rows, latent, logProb: stored } = await drawGroup(model);
      const config = tinyConfig({
        grpo: { ...keys, kl: 0.5, clip: 0.9 },
        train: { ...halfMoments, micro_batch: 3 },
      });
      const learner = await learning(model, store, config);
      expect(await learner.accumulate(rows, rows.length)).toMatchObject({ kl: 0, ratioDeviation: 0 });
      await learner.apply(0);
      const kept = await momentsOf(learner);

      const parameters = [...model.trainable.values()];
      const condition = model.encode(['a red circle']);
      const predict = (slot: number, step: number): Tensor =>
        model.predict(latent(slot, step), tensor(device, [transitions[step]!.timestep]), condition);
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

      const lossOf = ({ slot, step, advantage }: (typeof rows)[number], i: number) => {
        const transition = transitions[step]!;
        const v = predict(slot, step);
        const coefficients = tensor(device, packGaussianCoefficients([transition.step]), [1, 5]);
        const [logProb] = gaussianLogProb(v, latent(slot, step), latent(slot, step + 1), coefficients);
        const difference = sub(logProb, stored(slot, step));
        const divergence = mul(
          mean(square(sub(v, references[i]!))),
          klFactor('flow-grpo', transition.step, transition.interval),
        );
        // Not clipped: exp(x) has the gradient exp(x) dx, and these ratios are 1 to a few thousandths.
        const ratio = add(add(difference, 1), mul(square(difference), 0.5));
        return { loss: sum(add(mul(ratio, -advantage), mul(divergence, 0.5))), value: divergence };
      };
      const { value: kl, gradients } = await sumByHand(device, parameters, rows, lossOf);
      expect(report.kl).toBeCloseTo(kl, 6);
      await expectGradients(learner, gradients, { kept, tolerance: 2e-4 });
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
