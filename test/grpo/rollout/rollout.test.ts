/** Groups drawn from tiny Stable Diffusion 1 and 3: pruning changes nothing but who goes on. */
import { afterAll, describe, expect, test } from 'vitest';
import { gaussianMean, noGrad, packGaussianCoefficients, scope, type Tensor, tensor } from '../../../engine/index.js';
import type { GrpoConfig, Prune } from '../../../grpo/config.js';
import type { GenerativeModel, Prompt } from '../../../grpo/model.js';
import type { GroupResult } from '../../../grpo/rollout/group.js';
import { Rollout, type RolloutProgress, type ScoredPicture } from '../../../grpo/rollout/rollout.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { callSizeOf, slotsOf } from '../../../grpo/rollout/turns.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import { testDevice } from '../../check.js';
import { brightness, loadTiny, tinyModels, tinyPrompts } from '../tiny.js';

const device = await testDevice();

interface Plan {
  readonly keep: number[];
  readonly prune_at: number[];
  readonly prune: Prune;
  readonly guidance?: number;
  readonly batch?: number;
  readonly sameLatent?: boolean;
  readonly prompts?: readonly Prompt[];
  readonly combine?: 'sum' | 'normalised';
}

const steps = 5;
const noiseOf = ({ kind }: GenerativeModel) => ({ noise: kind === 'flow' ? 0.7 : 1 });

/** Groups of update 3, with the trajectories of all that was drawn to the end, and what was told meanwhile. */
async function draw(model: GenerativeModel, { guidance = 1, prompts = tinyPrompts, combine = 'sum', ...plan }: Plan) {
  const transitions = transitionsOf(model.schedule(steps), noiseOf(model));
  const { keep, prune_at, prune, batch, sameLatent: same_latent = false } = plan;
  const grpo = { keep, prune_at, prune };
  const slots = slotsOf(prompts.length, callSizeOf(model.latentShape, { sampler: { steps, batch }, grpo }));
  const store = Trajectories.create(model, { slots, groups: prompts.length, transitions });
  store.encode(prompts.map(({ prompt }) => prompt));
  const rollout = await Rollout.create(model, store, brightness({ combine }), {
    sampler: { guidance, batch, same_latent },
    grpo,
    seed: 7,
  });
  const told: RolloutProgress[] = [];
  const pictures = new Map<string, readonly ScoredPicture[]>();
  const groups = await rollout.sample(prompts, 3, {
    onStep: (progress) => told.push(progress),
    onPictures: (group, step, scored) => pictures.set(`${group} ${step}`, scored),
  });
  const latents = await rowsOf(store.latents);
  const logProbs = await rowsOf(store.logProbs);
  store.clear();
  const few = await rollout.sample(prompts.slice(2), 3);
  const pathOf = (slot: number): number[][] => [
    ...Array.from({ length: steps + 1 }, (_, i) => latents[i * slots + slot]!),
    ...Array.from({ length: steps }, (_, i) => logProbs[i * slots + slot]!),
  ];
  rollout.dispose();
  store.dispose();
  return { groups, few, pathOf, told, pictures };
}

async function rowsOf(tensor: Tensor): Promise<number[][]> {
  const bits = Array.from(new Uint32Array((await tensor.data()).buffer));
  const width = tensor.size / tensor.shape[0]!;
  return Array.from({ length: tensor.shape[0]! }, (_, i) => bits.slice(i * width, (i + 1) * width));
}

const floats = (bits: readonly number[]): Float32Array => new Float32Array(Uint32Array.from(bits).buffer);
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

/** The noise of each stochastic step of a trajectory of the first prompt: (next - mean) / std. */
async function noisesOf(model: GenerativeModel, path: readonly Float32Array[]): Promise<Float32Array[]> {
  const condition = model.encode([tinyPrompts[0]!.prompt]);
  const noises: Float32Array[] = [];
  for (const [i, { timestep, step }] of transitionsOf(model.schedule(steps), noiseOf(model)).entries()) {
    if (step.std === 0) continue;
    const mean = scope(device, () => {
      const x = tensor(device, path[i]!, [1, ...model.latentShape]);
      const v = noGrad(() => model.predict(x, tensor(device, [timestep]), condition));
      return gaussianMean(x, v, tensor(device, packGaussianCoefficients([step]), [1, 5]));
    });
    const values = await mean.data();
    noises.push(path[i + 1]!.map((value, k) => (value - values[k]!) / step.std));
    mean.dispose();
  }
  for (const each of condition) each.dispose();
  return noises;
}

for (const name of tinyModels) {
  describe(name, async () => {
    const model = await loadTiny(device, name);
    afterAll(() => model.dispose());

    for (const guidance of [1, 3]) {
      test(`survivors of pruning went the way they go without it, bit for bit (guidance ${guidance})`, async () => {
        const whole = await draw(model, { keep: [6], prune_at: [], prune: 'none', guidance });
        const pruned = await draw(model, { keep: [6, 4, 3], prune_at: [2, 3], prune: 'ovf', guidance });
        expect(pruned.groups.map(({ calls }) => calls)).toEqual(Array(2).fill(6 * 3 + 4 + 3));
        expect(pruned.groups.map(({ decodes }) => decodes)).toEqual([13, 13]);
        expect(whole.groups.map(({ calls, decodes }) => [calls, decodes])).toEqual(Array(2).fill([30, 6]));
        const slots = pruned.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => slot));
        expect(new Set(slots).size, 'slots of both groups').toBe(6);
        for (const [g, { survivors }] of pruned.groups.entries()) {
          expect(survivors.length).toBe(3);
          for (const { sample, slot, reward } of survivors) {
            const twin = whole.groups[g]!.survivors[sample]!;
            expect(reward, `final reward of sample ${sample}`).toBe(twin.reward);
            expect(pruned.pathOf(slot), `sample ${sample} of group ${g}`).toEqual(whole.pathOf(twin.slot));
          }
        }
      });
    }

    test('parts of the batch give the same bits, and every step has noise of its own', async () => {
      const plan = { keep: [5, 3], prune_at: [2], prune: 'ovf' } satisfies Plan;
      const [whole, parted] = [await draw(model, plan), await draw(model, { ...plan, batch: 2 })];
      for (const [g, { survivors }] of parted.groups.entries()) {
        expect(survivors.map(({ reward }) => reward)).toEqual(whole.groups[g]!.survivors.map(({ reward }) => reward));
        for (const [i, { slot }] of survivors.entries())
          expect(parted.pathOf(slot)).toEqual(whole.pathOf(whole.groups[g]!.survivors[i]!.slot));
      }
      const path = whole.pathOf(whole.groups[0]!.survivors[0]!.slot).map(floats);
      const noises = [path[0]!, ...(await noisesOf(model, path))];
      expect(noises.length).toBeGreaterThanOrEqual(steps);
      for (const [i, a] of noises.entries()) {
        for (const [j, b] of noises.entries()) {
          const correlation = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
          if (i < j) expect(Math.abs(correlation), `noise ${i} and ${j}`).toBeLessThan(0.3); // 256 numbers: 5 deviations
        }
        if (i < steps) expect(dot(a, a) / a.length, `variance of noise ${i}`).toBeGreaterThan(0.6);
      }
    });

    test('a group of another prompt, or another sample, has other noise; the same latent is shared where asked', async () => {
      const plan = { keep: [3], prune_at: [], prune: 'none' } satisfies Plan;
      const [own, same] = [await draw(model, plan), await draw(model, { ...plan, sameLatent: true })];
      const starts = (drawn: typeof own): string[] =>
        drawn.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => String(drawn.pathOf(slot)[0])));
      expect(new Set(starts(own)).size).toBe(6);
      expect(new Set(starts(same)).size).toBe(2);
      const seconds = same.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => String(same.pathOf(slot)[1])));
      expect(new Set(seconds).size, 'after one step').toBe(6);
    });

    const kinds: readonly Plan[] = [
      { keep: [6, 4, 3], prune_at: [2, 3], prune: 'ovf', guidance: 3 },
      { keep: [5, 3, 2], prune_at: [1], prune: 'uniform' },
      { keep: [3], prune_at: [], prune: 'none', sameLatent: true },
      { keep: [5, 3], prune_at: [], prune: 'ovf-after' },
      { keep: [5, 2], prune_at: [], prune: 'best-of-n' },
    ];
    for (const plan of name === 'sd1' ? kinds.slice(0, 1) : kinds)
      test(`groups drawn together are what each is alone, bit for bit (${plan.prune}, ${plan.keep.join(' -> ')})`, async () => {
        const prompts = [0, 1, 2, 3, 4].map((i) => tinyPrompts[i % 2]!);
        const given: Plan = { ...plan, combine: 'normalised', prompts };
        const size = plan.keep[0]!;
        const alone = await draw(model, { ...given, batch: size });
        for (const [batch, turns] of [
          [2 * size, [1, 2, 2]],
          [undefined, [5]],
        ] as const) {
          const drawn = await draw(model, { ...given, batch });
          expect(drawn.groups.map(withoutPlace)).toEqual(alone.groups.map(withoutPlace));
          for (const [g, { survivors }] of drawn.groups.entries())
            for (const [i, { slot }] of survivors.entries())
              expect(drawn.pathOf(slot)).toEqual(alone.pathOf(alone.groups[g]!.survivors[i]!.slot));
          expect(new Set(drawn.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => slot))).size).toBe(
            5 * plan.keep.at(-1)!,
          );
          expect(drawn.few.map(withoutPlace), 'an update with fewer prompts').toEqual(alone.few.map(withoutPlace));
          expect(drawn.pictures).toEqual(alone.pictures);
          expect(drawn.told.map(({ together }) => together)).toEqual(turns.flatMap((n) => Array(steps).fill(n)));
          const aliveOf = ({ told }: typeof drawn): number[] => told.slice(0, steps).map(({ alive }) => alive);
          expect(aliveOf(drawn)).toEqual(aliveOf(alone));
        }
      });
  });
}

test('an update with fewer prompts than planned finds slots, however few survive', async () => {
  const model = await loadTiny(device, 'sd3');
  const prompts = [0, 1, 2, 3, 4].map((i) => tinyPrompts[i % 2]!);
  const grpo: Pick<GrpoConfig, 'keep' | 'prune_at' | 'prune'> = { keep: [4, 1], prune_at: [1], prune: 'ovf' };
  const size = callSizeOf(model.latentShape, { sampler: { steps: 3, batch: 16 }, grpo });
  const transitions = transitionsOf(model.schedule(3), noiseOf(model));
  const store = Trajectories.create(model, { slots: slotsOf(5, size), groups: 5, transitions });
  store.encode(prompts.map(({ prompt }) => prompt));
  const sampler = { guidance: 1, batch: 16, same_latent: false };
  const rollout = await Rollout.create(model, store, brightness(), { sampler, grpo, seed: 7 });
  // Four would fit in one call, of which there are slots for three.
  expect((await rollout.sample(prompts.slice(1), 0)).map(({ survivors }) => survivors.length)).toEqual([1, 1, 1, 1]);
  for (const each of [rollout, store, model]) each.dispose();
});

test('the same captured steps serve few timesteps and many', async () => {
  const model = await loadTiny(device, 'sd3');
  const planned: number[] = [];
  const before = device.memory().plannedBytes;
  for (const steps of [3, 9]) {
    const transitions = transitionsOf(model.schedule(steps), noiseOf(model));
    const store = Trajectories.create(model, { slots: 3, groups: 1, transitions });
    const rollout = await Rollout.create(model, store, brightness(), {
      sampler: { guidance: 1, same_latent: false },
      grpo: { keep: [3, 2], prune_at: [1], prune: 'ovf' },
      seed: 7,
    });
    planned.push(device.memory().plannedBytes - before);
    for (const each of [rollout, store]) each.dispose();
  }
  expect(planned[0]).toBeGreaterThan(0);
  expect(planned[1]).toBe(planned[0]);
  model.dispose();
});

/** A result without what depends on the others: slots and seconds. */
const withoutPlace = ({ survivors, seconds: _, ...rest }: GroupResult) => ({
  ...rest,
  survivors: survivors.map(({ sample, reward }) => ({ sample, reward })),
});
