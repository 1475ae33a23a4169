/** Groups drawn from tiny Stable Diffusion 1 and 3: pruning changes nothing but who goes on. */
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Tensor } from '../../engine/tensor.js';
import { loadModel } from '../../grpo/cli/model.js';
import type { Prune } from '../../grpo/config.js';
import type { GenerativeModel, Prompt } from '../../grpo/model.js';
import { CombinedReward, type RewardImage } from '../../grpo/rewards/reward.js';
import { type GroupResult, Rollout } from '../../grpo/rollout.js';
import { Trajectories } from '../../grpo/trajectories.js';
import { transitionsOf } from '../../grpo/transitions.js';
import { packageRoot } from '../../kernels/kernel.js';
import { testDevice } from '../check.js';

const device = await testDevice();

const brightness = new CombinedReward([
  {
    weight: 1,
    reward: {
      name: 'brightness',
      score: async (images: readonly RewardImage[]) =>
        images.map(({ rgb }) => rgb.reduce((sum, value) => sum + value, 0) / rgb.length / 255),
    },
  },
]);

const prompts: Prompt[] = [
  { prompt: 'a red circle', meta: {} },
  { prompt: 'the blue cat', meta: {} },
];

interface Plan {
  readonly keep: readonly number[];
  readonly pruneAt: readonly number[];
  readonly prune: Prune;
  readonly guidance?: number;
  readonly sameLatent?: boolean;
}

const steps = 5;

/** Two groups of update 3, with the trajectories of all that was drawn to the end. */
async function draw(model: GenerativeModel, { guidance = 1, ...plan }: Plan) {
  const transitions = transitionsOf(model.schedule(steps), { noise: model.kind === 'flow' ? 0.7 : 1 });
  const store = new Trajectories(model, { slots: Rollout.slots(plan.keep, 2), steps, groups: 2 });
  store.encode(prompts.map(({ prompt }) => prompt));
  const rollout = await Rollout.create(model, store, brightness, { ...plan, transitions, guidance, seed: 7 });
  const groups: GroupResult[] = [];
  for (const [group, prompt] of prompts.entries()) groups.push(await rollout.sample(prompt, { update: 3, group }));
  const latents = await rowsOf(store.latents);
  const logProbs = await rowsOf(store.logProbs);
  rollout.dispose();
  store.dispose();
  const { slots } = store.size;
  const pathOf = (slot: number): number[][] => [
    ...Array.from({ length: steps + 1 }, (_, i) => latents[i * slots + slot]!),
    ...Array.from({ length: steps }, (_, i) => logProbs[i * slots + slot]!),
  ];
  return { groups, pathOf };
}

async function rowsOf(tensor: Tensor): Promise<number[][]> {
  const bits = Array.from(new Uint32Array((await tensor.data()).buffer));
  const width = tensor.size / tensor.shape[0]!;
  return Array.from({ length: tensor.shape[0]! }, (_, i) => bits.slice(i * width, (i + 1) * width));
}

for (const name of ['sd1', 'sd3']) {
  describe(name, async () => {
    const path = join(packageRoot(), 'test', 'fixtures', 'pipelines', name);
    const lora = { rank: 2, alpha: 4, targets: 'attention' };
    const model = await loadModel(device, { model: { path, weights: 'f16' }, lora, seed: 1 }, { maxSequenceLength: 5 });
    afterAll(() => model.dispose());

    for (const guidance of [1, 3]) {
      test(`survivors of pruning went the way they go without it, bit for bit (guidance ${guidance})`, async () => {
        const whole = await draw(model, { keep: [6], pruneAt: [], prune: 'none', guidance });
        const pruned = await draw(model, { keep: [6, 4, 3], pruneAt: [2, 3], prune: 'ovf', guidance });
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

    test('a group of another prompt, or another sample, has other noise; the same latent is shared where asked', async () => {
      const plan = { keep: [3], pruneAt: [], prune: 'none' } as const;
      const [own, same] = [await draw(model, plan), await draw(model, { ...plan, sameLatent: true })];
      const starts = (drawn: typeof own): string[] =>
        drawn.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => String(drawn.pathOf(slot)[0])));
      expect(new Set(starts(own)).size).toBe(6);
      expect(new Set(starts(same)).size).toBe(2);
      const seconds = same.groups.flatMap(({ survivors }) => survivors.map(({ slot }) => String(same.pathOf(slot)[1])));
      expect(new Set(seconds).size, 'after one step').toBe(6);
    });
  });
}
