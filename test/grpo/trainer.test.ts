/** Updates of tiny Stable Diffusion 1 and 3: on-policy to the bit, counted as planned, repeatable, and towards the reward. */
import { expect, test, vi } from 'vitest';
import { groupCalls, groupPlanOf } from '../../grpo/cost.js';
import { estimateDifference, evaluate, evaluationJobs, PictureSampler } from '../../grpo/evaluate.js';
import type { LoadedModel } from '../../grpo/finetune/policy.js';
import { groupAdvantages } from '../../grpo/learning/advantage.js';
import { Learner } from '../../grpo/learning/learner.js';
import type { PlacedSurvivor } from '../../grpo/rollout/group.js';
import { Trainer, type TrainerConfig } from '../../grpo/trainer.js';
import type { UpdateReport } from '../../grpo/update_report.js';
import { testDevice } from '../check.js';
import { temporaryFolder } from '../temporary.js';
import {
  bitsOf,
  brightness,
  folderWithScheduler,
  loadTiny,
  type TinyChanges,
  tinyConfig,
  tinyFolder,
  tinyPrompts,
} from './tiny.js';

const device = await testDevice();
const temporary = temporaryFolder();

type Window = NonNullable<TrainerConfig['sampler']['window']>;

/** Updates of a fresh model; `look` sees it before it is freed. */
async function train<R>(
  name: string,
  config: TrainerConfig,
  updates: number,
  look: (trainer: Trainer, model: LoadedModel) => Promise<R>,
  reward = brightness(),
  scheduler: Readonly<Record<string, unknown>> = {},
): Promise<{ reports: UpdateReport[]; seen: R }> {
  const path = await folderWithScheduler(temporary, name, scheduler);
  const model = await loadTiny(device, name, { train: config.train, model: { path, weights: 'f16' } });
  const trainer = await Trainer.create(model, reward, config);
  try {
    const reports: UpdateReport[] = [];
    const prompts = name === 'dit' ? ['3', '0'].map((prompt) => ({ prompt, meta: {} })) : tinyPrompts;
    for (let i = 0; i < updates; i++) reports.push(await trainer.update(prompts));
    return { reports, seen: await look(trainer, model) };
  } finally {
    trainer.dispose();
    model.dispose();
  }
}

const nothing = async (): Promise<void> => {};

const after = { keep: [6, 3], prune_at: [] };
const dance: TinyChanges['grpo'] = {
  keep: [4],
  prune_at: [],
  prune: 'none',
  shuffle_timesteps: true,
  timestep_fraction: 0.75,
};
const ddpm: TinyChanges = { sampler: { noise: 1, guidance: 3 } };
const windowed = (keys: Partial<Window>): Window => ({ size: 2, place: 'fixed', every: 25, ...keys });
const zeroSnr = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' };
type Scheduler = Readonly<Record<string, unknown>>;
const onPolicy: Readonly<Record<string, readonly [model: string, TinyChanges, Scheduler?]>> = {
  'flow-grpo': ['sd3', { grpo: { keep: [4], prune_at: [], prune: 'none' } }],
  'dance-grpo on a flow': ['sd3', { sampler: { kind: 'dance', noise: 0.3, same_latent: true }, grpo: dance }],
  'dance-grpo on diffusion': ['sd1', { sampler: { noise: 1, guidance: 3, detach_unconditional: false }, grpo: dance }],
  'coefficients-preserving steps': ['sd3', { sampler: { kind: 'cps', noise: 0.8 } }],
  'pro-grpo on diffusion': ['sd1', { sampler: { noise: 1 } }],
  'pro-grpo on classes': ['dit', { sampler: { noise: 1, guidance: 2 } }],
  'pro-grpo with its last step': ['sd3', { grpo: { train_last_step: true } }],
  'pro-grpo in parts of a group': ['sd3', { sampler: { batch: 2 }, train: { micro_batch: 5 } }],
  'ovf-after': ['sd3', { grpo: { ...after, prune: 'ovf-after' } }],
  'best-of-n': ['sd3', { grpo: { ...after, keep: [6, 4], prune: 'best-of-n' } }],
  uniform: ['sd3', { grpo: { prune: 'uniform' } }],
  'predicted velocity': ['sd1', ddpm, { prediction_type: 'v_prediction' }],
  'predicted velocity, from noise alone': ['sd1', ddpm, { ...zeroSnr, prediction_type: 'v_prediction' }],
  'predicted samples': ['sd1', ddpm, { prediction_type: 'sample', timestep_spacing: 'linspace' }],
  'predicted samples, from noise alone': ['dit', { sampler: { noise: 1 } }, { ...zeroSnr, prediction_type: 'sample' }],
  'clipped samples': ['dit', ddpm, { clip_sample: true, clip_sample_range: 0.5 }],
  'clipped samples of a predicted velocity': [
    'dit',
    { sampler: { noise: 1 }, grpo: { kl: 0.1 } },
    { clip_sample: true, prediction_type: 'v_prediction' },
  ],
  'levels of Karras et al.': ['sd3', {}, { use_karras_sigmas: true, shift_terminal: 0.05 }],
  'uniform, after': ['sd3', { grpo: { ...after, prune: 'uniform' } }],
  'flow-grpo-fast': ['sd3', { sampler: { kind: 'cps', window: windowed({ place: 'random', range: [0, 4] }) } }],
  'mix-grpo': [
    'sd3',
    {
      sampler: { same_latent: true, window: windowed({ place: 'moving', every: 1 }) },
      grpo: { keep: [4], prune_at: [], prune: 'none' },
    },
  ],
  "a window of DanceGRPO's steps": ['sd3', { sampler: { kind: 'dance', window: windowed({ range: [1, 3] }) } }],
  'a window of DDIM': ['sd1', { sampler: { noise: 1, guidance: 3, window: windowed({ place: 'random' }) } }],
  'a window of clipped samples': [
    'dit',
    { sampler: { noise: 1, window: windowed({ place: 'moving', every: 1 }) }, grpo: { kl: 0.1 } },
    { clip_sample: true, clip_sample_range: 0.5 },
  ],
  'tempflow, in a window': ['sd3', { sampler: { window: windowed({}) }, grpo: { row_weights: 'tempflow' } }],
  'grpo-guard': ['sd3', { grpo: { row_weights: 'guard' } }],
  "grpo-guard's own ratio": ['sd3', { grpo: { row_weights: 'guard', updates_per_rollout: 2, train_last_step: true } }],
  "grpo-guard's own ratio of clipped samples": [
    'dit',
    { sampler: { noise: 1 }, grpo: { row_weights: 'guard', updates_per_rollout: 2, kl: 0.1 } },
    { clip_sample: true, clip_sample_range: 0.5 },
  ],
  'a window with the last step, in part': [
    'sd3',
    {
      sampler: { window: windowed({ size: 3, range: [2, 5] }) },
      grpo: { train_last_step: true, shuffle_timesteps: true, timestep_fraction: 0.7, prune: 'uniform' },
    },
  ],
};

for (const [method, [name, changes, scheduler]] of Object.entries(onPolicy)) {
  test(`${method}: every ratio of a rollout's first step is 1, and the calls are those of the plan`, async () => {
    const config = tinyConfig(changes);
    const { reports } = await train(name, config, 2, nothing, brightness(), scheduler);
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

test('best of n trains on the lowest and the highest, with the advantages they have in the whole group', async () => {
  const config = tinyConfig({ grpo: { keep: [6, 4], prune_at: [], prune: 'best-of-n' } });
  const { reports } = await train('sd3', config, 1, nothing);
  const [{ groups, advantages }] = reports as [UpdateReport];
  for (const [g, { finals, survivors, selections }] of groups.entries()) {
    const order = [...finals.keys()].sort((a, b) => finals[a]! - finals[b]!);
    const kept = [...order.slice(0, 2), ...order.slice(4)].sort((a, b) => a - b);
    expect(survivors.map(({ sample }) => sample)).toEqual(kept);
    expect(selections).toEqual([{ step: 5, samples: [0, 1, 2, 3, 4, 5], rewards: finals, kept }]);
    expect(advantages[g]).toEqual(kept.map((i) => groupAdvantages([finals])[0]![i]));
  }
});

test('survivors learn with the advantages of their final rewards, not of the previews that chose them', async () => {
  const learned = vi.spyOn(Learner.prototype, 'add');
  const { reports } = await train('sd3', tinyConfig({ grpo: { updates_per_rollout: 1 } }), 1, nothing);
  const rows = learned.mock.calls.flatMap(([given]) => given);
  learned.mockRestore();
  const [{ groups, advantages }] = reports as [UpdateReport];
  expect(groups.some(({ selections }) => selections.length > 0)).toBe(true);
  const finals = groups.map(({ survivors }) => survivors.map(({ reward }) => reward));
  expect(advantages).toEqual(groupAdvantages(finals));
  for (const [g, { survivors }] of groups.entries())
    for (const [i, { slot }] of (survivors as readonly PlacedSurvivor[]).entries()) {
      const own = rows.filter((row) => row.slot === slot && row.condition === g);
      expect(own.length).toBeGreaterThan(0);
      expect(new Set(own.map(({ advantage }) => advantage))).toEqual(new Set([advantages[g]![i]]));
    }
});

test('a group of Flash costs 200 calls and 52 decodes', async () => {
  const flash = { keep: [24, 16, 12], prune_at: [5, 7], groups_per_update: 1 };
  const model = await loadTiny(device, 'sd3');
  const config = tinyConfig({ sampler: { steps: 10 }, grpo: flash, train: { micro_batch: 36 } });
  const trainer = await Trainer.create(model, brightness(), config);
  const { counts, groups, all, kept } = await trainer.update(tinyPrompts.slice(0, 1));
  expect(counts).toEqual({ calls: 200, decodes: 52, survivors: 12, trained: 108 });
  expect(groups[0]!.selections.map(({ step, samples, kept }) => [step, samples.length, kept.length])).toEqual([
    [5, 24, 16],
    [7, 16, 12],
  ]);
  expect(all.std).toBeGreaterThan(0);
  expect(kept.std).toBeGreaterThan(0);
  for (const each of [trainer, model]) each.dispose();
});

for (const [name, detach_unconditional] of [
  ['sd1', true],
  ['sd3', true],
  ['sd3', false],
] as const) {
  test(`${name}: with guidance, a divergence and two steps a rollout (detached: ${detach_unconditional})`, async () => {
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
    const { reports } = await train('sd3', tinyConfig({ train: { micro_batch } }), 1, nothing);
    norms.push(reports[0]!.steps[0]!.gradNorm);
  }
  for (const norm of norms) expect(Math.abs(norm / norms[0]! - 1)).toBeLessThan(1e-5);
});

test('groups drawn together, one after the other or in parts give the same weights, bit for bit', async () => {
  const weights = async (batch?: number): Promise<number[][]> =>
    (await train('sd3', tinyConfig({ sampler: { batch } }), 2, (_, { trainable }) => bitsOf(trainable.values()))).seen;
  const together = await weights();
  for (const batch of [6, 4]) expect(await weights(batch)).toEqual(together);
});

test('the same seed gives the same weights, another seed others', async () => {
  const weights = async (seed: number): Promise<number[][]> => {
    const config = { ...tinyConfig({ train: { ema: 0.9 } }), seed };
    return (await train('sd3', config, 2, (_, { trainable }) => bitsOf(trainable.values()))).seen;
  };
  const first = await weights(5);
  expect(await weights(5)).toEqual(first);
  expect(await weights(6)).not.toEqual(first);
});

test('the reward of held-out noise rises, also where every weight learns', async () => {
  const model = await loadTiny(device, 'sd3', { lora: null, model: { path: tinyFolder('sd3'), weights: 'f32' } });
  const config = tinyConfig({ grpo: { keep: [12, 8, 6], clip: 0.01 }, train: { lr: 3e-3, micro_batch: 12, ema: 0.5 } });
  const trainer = await Trainer.create(model, brightness(), config);
  const sampler = await PictureSampler.create(model, { steps: 5, guidance: 1, batch: 16 });
  const score = async (): Promise<readonly number[]> =>
    (await evaluate(sampler, brightness(), evaluationJobs(tinyPrompts, 16, 1))).scores.brightness!;
  const before = await score();
  for (let i = 0; i < 8; i++) await trainer.update(tinyPrompts);
  const learned = await bitsOf(model.trainable.values());
  const averaged = await trainer.withAverages(score);
  expect(await bitsOf(model.trainable.values()), 'the weights are back').toEqual(learned);
  const after = await score();
  expect(after, 'of the weights, not of their averages').not.toEqual(averaged);
  for (const scores of [after, averaged]) expect(estimateDifference(before, scores).low).toBeGreaterThan(0);
  for (const each of [sampler, trainer, model]) each.dispose();
});
