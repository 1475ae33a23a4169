/** Updates of tiny Stable Diffusion 1 and 3: on-policy to the bit, counted as planned, repeatable, and towards the reward. */
import { describe, expect, test } from 'vitest';
import type { LoadedModel } from '../../grpo/cli/model.js';
import { groupCalls, groupPlanOf } from '../../grpo/cost.js';
import { estimateDifference, evaluate, evaluationJobs, PictureSampler } from '../../grpo/evaluate.js';
import { Trainer, type TrainerConfig, type UpdateReport } from '../../grpo/trainer.js';
import { testDevice } from '../check.js';
import { bitsOf, brightness, loadTiny, tinyConfig, tinyFolder, tinyModels, tinyPrompts } from './tiny.js';

const device = await testDevice();

/** Updates of a fresh model; `look` sees it before it is freed. */
async function train<R>(
  name: string,
  config: TrainerConfig,
  updates: number,
  look: (trainer: Trainer, model: LoadedModel) => Promise<R>,
  reward = brightness(),
): Promise<{ reports: UpdateReport[]; seen: R }> {
  const model = await loadTiny(device, name);
  const trainer = await Trainer.create(model, reward, config);
  try {
    const reports: UpdateReport[] = [];
    for (let i = 0; i < updates; i++) reports.push(await trainer.update(tinyPrompts));
    return { reports, seen: await look(trainer, model) };
  } finally {
    trainer.dispose();
    model.dispose();
  }
}

const nothing = async (): Promise<void> => {};

const methods = {
  'flow-grpo': { keep: [4], prune_at: [], prune: 'none' },
  'pro-grpo': {},
  'ovf-after': { keep: [6, 3], prune_at: [], prune: 'ovf-after' },
  uniform: { prune: 'uniform' },
  'uniform, after': { keep: [6, 3], prune_at: [], prune: 'uniform' },
} as const;

for (const name of tinyModels) {
  describe(name, () => {
    for (const [method, { ...changes }] of Object.entries(methods)) {
      test(`${method}: every ratio of a rollout's first step is 1, and the calls are those of the plan`, async () => {
        const config = tinyConfig({ grpo: { ...(changes as object), train_last_step: method === 'pro-grpo' } });
        const { reports } = await train(name, config, 2, nothing);
        const plan = groupCalls(groupPlanOf(config));
        for (const { steps, counts } of reports) {
          expect(steps[0]).toMatchObject({ ratioDeviation: 0, approxKL: 0, clipFraction: 0 });
          expect(steps[0]!.ratioMean).toBeCloseTo(1, 6);
          expect(steps[0]!.gradNorm).toBeGreaterThan(0);
          expect(counts).toEqual({
            calls: 2 * plan.network,
            decodes: 2 * (plan.previews + plan.finals),
            survivors: 2 * plan.survivors,
            trained: 2 * plan.trained,
          });
        }
      });
    }

    for (const detach_unconditional of [true, false]) {
      test(`with guidance and a divergence too (unconditional half detached: ${detach_unconditional})`, async () => {
        const config = tinyConfig({
          sampler: { guidance: 3, detach_unconditional },
          grpo: { kl: 0.1, timestep_fraction: 0.5, shuffle_timesteps: true, updates_per_rollout: 2 },
          train: { micro_batch: 3, checkpointing: true, lr: 0.01 },
        });
        const { reports } = await train(name, config, 2, nothing);
        for (const { steps } of reports) {
          expect(steps.length).toBe(2);
          expect(steps[0]!.ratioDeviation).toBe(0);
          expect(steps[1]!.ratioDeviation).toBeGreaterThan(0);
        }
        expect(reports[0]!.steps[0]!.kl, 'before the first step the adapter adds nothing').toBe(0);
        expect(reports[1]!.steps[0]!.kl).toBeGreaterThan(0);
      });
    }

    test('the size of micro-batches changes memory, not the step', async () => {
      const norms = [];
      for (const micro_batch of [1, 5, 24]) {
        const { reports } = await train(name, tinyConfig({ train: { micro_batch } }), 1, nothing);
        norms.push(reports[0]!.steps[0]!.gradNorm);
      }
      for (const norm of norms) expect(Math.abs(norm / norms[0]! - 1)).toBeLessThan(1e-5);
    });

    test('the same seed gives the same weights, another seed others', async () => {
      const weights = async (seed: number) =>
        (
          await train(name, { ...tinyConfig({ train: { ema: 0.9 } }), seed }, 2, (_, { trainable }) =>
            bitsOf(trainable.values()),
          )
        ).seen;
      const first = await weights(5);
      expect(await weights(5)).toEqual(first);
      expect(await weights(6)).not.toEqual(first);
    });
  });
}

test('the reward of held-out noise rises, also where every weight learns', async () => {
  const model = await loadTiny(device, 'sd3', { lora: null, model: { path: tinyFolder('sd3'), weights: 'f32' } });
  const config = tinyConfig({ grpo: { keep: [12, 8, 6], clip: 0.01 }, train: { lr: 3e-3, micro_batch: 12, ema: 0.5 } });
  const trainer = await Trainer.create(model, brightness(), config);
  const sampler = await PictureSampler.create(model, { steps: 5, guidance: 1, batch: 16 });
  const score = async (): Promise<readonly number[]> =>
    (await evaluate(sampler, brightness(), evaluationJobs(tinyPrompts, 16, 1))).scores.brightness!;
  const before = await score();
  for (let i = 0; i < 8; i++) await trainer.update(tinyPrompts);
  const after = await trainer.withAverages(score);
  expect(estimateDifference(before, after).low).toBeGreaterThan(0);
  expect(estimateDifference(after, await score()).mean, 'the averages lag').toBeGreaterThan(0);
  for (const each of [sampler, trainer, model]) each.dispose();
});
