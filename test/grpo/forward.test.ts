/** Updates by rows of the forward process on tiny Stable Diffusion 3: counted as planned, repeatable to the bit, and towards the reward. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { checkpointName, readCheckpoint, writeCheckpoint } from '../../grpo/checkpoint.js';
import type { RunConfig } from '../../grpo/config.js';
import { groupCalls, groupCost, groupPlanOf } from '../../grpo/cost.js';
import { estimateDifference, evaluate, evaluationJobs, PictureSampler } from '../../grpo/evaluate.js';
import { keptMemory } from '../../grpo/finetune/plan/memory.js';
import { ForwardLearner } from '../../grpo/learning/forward_learner.js';
import { drawProbe } from '../../grpo/probe.js';
import { promptsOfUpdate } from '../../grpo/prompt_order.js';
import type { ShardSource } from '../../grpo/shards/source.js';
import { Trainer, type TrainerConfig } from '../../grpo/trainer.js';
import type { UpdateReport } from '../../grpo/update_report.js';
import { testDevice } from '../check.js';
import { temporaryFolder } from '../temporary.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyFolder, tinyPrompts } from './tiny.js';

const device = await testDevice();
const temporary = temporaryFolder();

type GrpoChanges = TinyChanges['grpo'];

/** A configuration of rows of the forward process after deterministic steps. */
const forwardConfig = ({ sampler, grpo, train }: TinyChanges = {}): TrainerConfig =>
  tinyConfig({ sampler: { noise: 0, ...sampler }, grpo: { loss: 'nft', ...grpo }, ...(train && { train }) });

/** Updates of a fresh model, of which `look` sees the end. */
async function trained<R>(
  config: TrainerConfig,
  updates: number,
  look: (trainer: Trainer) => Promise<R>,
): Promise<{ reports: UpdateReport[]; seen: R }> {
  const model = await loadTiny(device, 'sd3', { train: config.train });
  const trainer = await Trainer.create(model, brightness(), config);
  try {
    const reports: UpdateReport[] = [];
    for (let i = 0; i < updates; i++) reports.push(await trainer.update(tinyPrompts));
    return { reports, seen: await look(trainer) };
  } finally {
    trainer.dispose();
    model.dispose();
  }
}

const weightsOf = ({ state }: Trainer): Promise<number[][]> => bitsOf(state.tensors.adapter!.values());

const anchored: GrpoChanges = { kl: 0.1, kl_form: 'velocity' };
const after: GrpoChanges = { keep: [6, 3], prune_at: [] };
const methods: Readonly<Record<string, TinyChanges>> = {
  'nft after ovf': {},
  'nft without pruning': { grpo: { keep: [4], prune_at: [], prune: 'none', nft_beta: 0.1 } },
  'nft after ovf by final rewards': { grpo: { ...after, prune: 'ovf-after' } },
  'nft after best of n': { grpo: { ...after, keep: [6, 4], prune: 'best-of-n' } },
  'nft after a random selection': { grpo: { prune: 'uniform' } },
  'nft after noisy steps with guidance': { sampler: { noise: 0.7, guidance: 3 } },
  'nft with an anchor': { grpo: { ...anchored, forward_rows: 2 } },
  'nft with two steps a rollout and an anchor': { grpo: { ...anchored, updates_per_rollout: 2 } },
  'nft with two steps a rollout and guidance': { sampler: { guidance: 2 }, grpo: { updates_per_rollout: 2 } },
  'awm after ovf': { grpo: { loss: 'awm', timestep_fraction: 0.9 } },
  "awm after DanceGRPO's steps, in parts of a group": {
    sampler: { kind: 'dance', noise: 0.3, batch: 2 },
    grpo: { loss: 'awm', awm_weight: 'ghuber' },
    train: { micro_batch: 5 },
  },
  'awm with two steps a rollout': { grpo: { loss: 'awm', awm_weight: 't2', updates_per_rollout: 2 } },
};

for (const [method, changes] of Object.entries(methods)) {
  test(`${method}: calls, decodes, rows and arithmetic are those of the plan, and the policy starts at the old one`, async () => {
    const config = forwardConfig(changes);
    // What the captured steps of the rollout cost, which the trainer shows to nobody.
    const costsOf = async (trainer: Trainer) => (trainer as unknown as { source: ShardSource }).source.costs;
    const { reports, seen: costs } = await trained(config, 2, costsOf);
    const plan = groupPlanOf(config);
    const calls = groupCalls(plan);
    for (const { steps, counts, flops } of reports) {
      expect(counts).toEqual({
        calls: 2 * calls.network,
        decodes: 2 * (calls.previews + calls.finals),
        survivors: 2 * calls.survivors,
        trained: 2 * calls.survivors * config.grpo.forward_rows,
      });
      expect(steps).toHaveLength(config.grpo.updates_per_rollout);
      expect(steps.reduce((sum, { rows }) => sum + rows, 0)).toBe(counts.trained);
      expect(steps[0]!.gradNorm).toBeGreaterThan(0);
      if (config.grpo.loss === 'awm')
        expect(steps[0]).toMatchObject({ ratioDeviation: 0, approxKL: 0, clipFraction: 0 });
      else expect(steps[0]).not.toHaveProperty('ratioMean');
      const departure = config.grpo.loss === 'awm' ? 'ratioDeviation' : 'predictionDeviation';
      for (const [i, step] of steps.entries()) {
        if (i > 0) expect(step[departure]).toBeGreaterThan(0);
        else if (steps.length > 1) expect(step[departure]).toBe(0);
      }
      const { total } = groupCost(plan, costs, config.grpo.kl > 0);
      expect(flops / (2 * total)).toBeCloseTo(1, 12);
    }
    expect(reports[1]!.steps[0]!.kl > 0).toBe(config.grpo.kl > 0);
  });
}

describe('bits', () => {
  test('do not depend on how groups are drawn; noise and levels not on micro-batches', async () => {
    const run = async (changes: TinyChanges) => {
      const rows = vi.spyOn(ForwardLearner.prototype, 'add');
      const { seen, reports } = await trained(forwardConfig(changes), 2, weightsOf);
      const given = rows.mock.calls.flatMap(([own]) => own);
      rows.mockRestore();
      return { seen, given, norm: reports[0]!.steps[0]!.gradNorm };
    };
    const together = await run({});
    for (const batch of [6, 4]) expect((await run({ sampler: { batch } })).seen).toEqual(together.seen);
    for (const micro_batch of [1, 5, 18]) {
      const { given, norm } = await run({ train: { micro_batch } });
      expect(given.slice(0, 18)).toEqual(together.given.slice(0, 18));
      expect(Math.abs(norm / together.norm - 1)).toBeLessThan(1e-5);
    }
  });

  test('of a run that goes on from a checkpoint are those of one that was left alone, with averages, anchor and kept predictions', async () => {
    const config = forwardConfig({
      grpo: { ...anchored, updates_per_rollout: 2, timestep_fraction: 0.8 },
      train: { ema: 0.9 },
    }) as RunConfig; // the rest plays no part here
    const folder = join(temporary, checkpointName(2));
    await mkdir(temporary, { recursive: true });
    const bits = async ({ state }: Trainer): Promise<Record<string, number[][]>> => {
      const all = Object.entries(state.tensors).map(
        async ([name, tensors]) => [name, await bitsOf(tensors.values())] as const,
      );
      return Object.fromEntries(await Promise.all(all));
    };
    const run = async (from: number, to: number, end: (trainer: Trainer) => Promise<unknown>): Promise<unknown> => {
      const model = await loadTiny(device, 'sd3');
      const trainer = await Trainer.create(model, brightness(), config);
      if (from > 0) await readCheckpoint(folder, trainer.state, config);
      expect(trainer.updates).toBe(from);
      while (trainer.updates < to) await trainer.update(promptsOfUpdate(tinyPrompts, 2, config.seed, trainer.updates));
      const seen = await end(trainer);
      trainer.dispose();
      model.dispose();
      return seen;
    };
    const alone = await run(0, 4, bits);
    await run(0, 2, ({ state }) => writeCheckpoint(folder, state, config));
    expect(await run(2, 4, bits)).toEqual(alone);
  });

  test('of DiffusionNFT on policy do not depend on beta but in their rounding', async () => {
    const norms = [];
    for (const nft_beta of [1, 0.25]) {
      const { reports } = await trained(forwardConfig({ grpo: { nft_beta } }), 1, async () => {});
      norms.push(reports[0]!.steps[0]!.gradNorm);
    }
    expect(Math.abs(norms[1]! / norms[0]! - 1)).toBeLessThan(1e-5);
  });
});

test('a probe draws the very samples that an update draws by deterministic steps, each from noise of its own', async () => {
  const model = await loadTiny(device, 'sd3');
  const config = forwardConfig({ grpo: { keep: [2], prune_at: [], prune: 'none', groups_per_update: 1 } });
  const { finals, spearman } = await drawProbe(
    model,
    brightness(),
    forwardConfig({ grpo: { keep: [6, 4, 3], prune_at: [1, 2], groups_per_update: 1 } }),
    { prompt: tinyPrompts[0]!, update: 0 },
  );
  expect(new Set(finals).size).toBe(6);
  expect(spearman).toHaveLength(2);
  const trainer = await Trainer.create(model, brightness(), config);
  const drawn = async (): Promise<readonly number[]> => {
    const { groups } = await trainer.update(tinyPrompts.slice(0, 1));
    return groups[0]!.finals;
  };
  expect(finals.slice(0, 2)).toEqual(await drawn());
  for (const each of [trainer, model]) each.dispose();
});

test('the reward of held-out noise rises by either loss, where every weight learns', async () => {
  for (const loss of ['nft', 'awm'] as const) {
    const model = await loadTiny(device, 'sd3', { lora: null, model: { path: tinyFolder('sd3'), weights: 'f32' } });
    const config = forwardConfig({
      grpo: { loss, keep: [12, 8, 6], prune_at: [1, 3] },
      train: { lr: 3e-3, micro_batch: 12, ema: 0.5 },
    });
    const trainer = await Trainer.create(model, brightness(), config);
    const sampler = await PictureSampler.create(model, { steps: 5, guidance: 1, batch: 16 });
    const score = async (): Promise<readonly number[]> =>
      (await evaluate(sampler, brightness(), evaluationJobs(tinyPrompts, 16, 1))).scores.brightness!;
    const before = await score();
    for (let i = 0; i < 8; i++) await trainer.update(tinyPrompts);
    for (const scores of [await score(), await trainer.withAverages(score)])
      expect(estimateDifference(before, scores).low, loss).toBeGreaterThan(0);
    for (const each of [sampler, trainer, model]) each.dispose();
  }
});

test('memory has the ends of trajectories alone, and kept predictions where there are several steps a rollout', async () => {
  const model = await loadTiny(device, 'sd3');
  const [channels, height, width] = model.latentShape;
  model.dispose();
  const sizes = async (grpo: GrpoChanges): Promise<Record<string, number>> => {
    const config = {
      ...forwardConfig({ grpo }),
      model: { path: tinyFolder('sd3'), weights: 'f16' },
      lora: { rank: 2, alpha: 4, targets: 'attention' },
    } as RunConfig; // the rest plays no part here
    const parts = await keptMemory(tinyFolder('sd3'), config);
    return Object.fromEntries(parts.map(({ part, bytes }) => [part, bytes]));
  };
  const latent = 4 * channels * height * width;
  const slots = 2 * 6; // both groups are drawn together
  expect(await sizes({})).toMatchObject({ trajectories: slots * latent });
  expect(await sizes({})).not.toHaveProperty('predictions');
  expect(await sizes({ updates_per_rollout: 2 })).toMatchObject({
    trajectories: slots * latent,
    predictions: 3 * slots * latent,
  });
});

describe('what makes no sense is refused', () => {
  const refusal = async (name: string, config: TrainerConfig): Promise<unknown> => {
    const model = await loadTiny(device, name);
    try {
      return await Trainer.create(model, brightness(), config).then(
        (trainer) => trainer.dispose(),
        (error: Error) => `${error.name}: ${error.message}`,
      );
    } finally {
      model.dispose();
    }
  };
  test('a diffusion model, by name', async () => {
    expect(await refusal('sd1', forwardConfig({ sampler: { noise: 1 } }))).toBe(
      'CheckError: grpo.loss: nft is for flows, found a diffusion model; expected ppo',
    );
  });

  test('steps without noise for ratios', async () => {
    expect(await refusal('sd3', tinyConfig({ sampler: { noise: 0 } }))).toContain(
      'sampler.noise: steps without noise have no ratio to learn from: expected a number above 0, found 0',
    );
  });
});
