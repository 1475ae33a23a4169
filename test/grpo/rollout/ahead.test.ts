/** Turns that wait for scores while others are drawn: the same bits, in bounded memory. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { greater, mean, type Tensor, tensor, where } from '../../../engine/index.js';
import { GroupPictures } from '../../../grpo/finetune/track/previews.js';
import type { GenerativeModel } from '../../../grpo/model.js';
import { CombinedReward } from '../../../grpo/rewards/reward.js';
import { Rollout, type RolloutProgress } from '../../../grpo/rollout/rollout.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { callSizeOf, parkedSamples, slotsOf } from '../../../grpo/rollout/turns.js';
import { pathOf } from '../../../grpo/sampling/window.js';
import { type Progress, Trainer } from '../../../grpo/trainer.js';
import { testDevice } from '../../check.js';
import { bitsOf, loadTiny, type TinyChanges } from '../tiny.js';
import { configOf, delayed, prompts, withoutPlace } from './delayed.js';

const device = await testDevice();
const model = await loadTiny(device, 'sd3');
afterAll(() => model.dispose());

const aheads = [0, 1, 2, 5];

/** A few milliseconds, others at each call, so that turns meet in many ways. */
const various = (call: number): Promise<void> => sleep((call * 7) % 4 === 0 ? 25 : (call * 5) % 9);

/** The same, but the first call is answered when as many turns are in flight as may be, and some time for one more to begin. */
async function slowFirst(call: number, ahead: number, seen: { readonly most: number }): Promise<void> {
  if (call > 0) return various(call);
  for (let tries = 0; tries < 1000 && seen.most < mostOf(ahead); tries++) await sleep(5);
  await sleep(50);
}

const mostOf = (ahead: number): number => Math.min(ahead + 1, prompts.length);

/** Turns that have begun and not ended, at most; and whether the steps of one came between those of another. */
function watch(steps: number) {
  const [begun, done] = [new Set<number>(), new Set<number>()];
  const order: number[] = [];
  const seen = { most: 0, interleaved: false };
  const onStep = ({ group }: Pick<RolloutProgress, 'group'>): void => {
    begun.add(group);
    seen.most = Math.max(seen.most, begun.size - done.size);
    if (order.at(-1) !== group) {
      if (order.includes(group)) seen.interleaved = true;
      order.push(group);
    }
  };
  const onPictures = (group: number, step: number): void => {
    if (step === steps) done.add(group);
  };
  return { seen, onStep, onPictures };
}

/** One rollout: its groups, and the path of each survivor as the store has it. */
async function draw(changes: TinyChanges, ahead: number) {
  const config = configOf(changes, ahead);
  const size = callSizeOf(model.latentShape, config, true);
  const slots = slotsOf(prompts.length, size);
  const store = Trajectories.create(model, { slots, groups: prompts.length, transitions: pathOf(model, config, 3) });
  const watched = watch(config.sampler.steps);
  const { reward, seen } = delayed({ wait: (call) => slowFirst(call, ahead, watched.seen) });
  const rollout = await Rollout.create(model, store, reward, config);
  try {
    store.encode(prompts.map(({ prompt }) => prompt));
    const groups = await rollout.sample(prompts, 3, watched);
    const [latents, logProbs] = await bitsOf([store.latents, store.logProbs]);
    const width = store.latents.size / store.latents.shape[0]!;
    const paths = groups.map(({ survivors }) =>
      survivors.map(({ slot }) =>
        Array.from({ length: config.sampler.steps + 1 }, (_, i) => {
          const row = store.row(i, slot);
          return [...latents!.slice(row * width, (row + 1) * width), ...(i === 0 ? [] : [logProbs![row - slots]!])];
        }),
      ),
    );
    const held = groups.flatMap(({ survivors }) => survivors.map(({ slot }) => slot));
    expect(new Set(held).size, 'a slot for each survivor').toBe(held.length);
    return { groups: groups.map(withoutPlace), paths, seen, watched: watched.seen };
  } finally {
    rollout.dispose();
    store.dispose();
  }
}

/** Two updates, from the weights that all of these start from. */
async function train(changes: TinyChanges, ahead: number, own: Partial<GenerativeModel> = {}) {
  const before = await bitsOf(model.trainable.values());
  const config = configOf(changes, ahead);
  const { seen: watched, onStep, onPictures } = watch(config.sampler.steps);
  const pictures = new GroupPictures();
  const { reward, seen } = delayed({ wait: (call) => slowFirst(call, ahead, watched) });
  const trainer = await Trainer.create({ ...model, ...own }, reward, config);
  try {
    const onProgress = (at: Progress): void => {
      if (at.phase === 'sampling') onStep(at);
    };
    // With every step waited for in one update, and as they come in the other.
    const reports = [
      await trainer.update(prompts, { onPictures, onProgress }),
      await trainer.update(prompts, { onPictures: pictures.take }),
    ];
    expect(seen.atOnce, 'calls of the reward at one time').toBe(1);
    const groups = reports.flatMap((report) => report.groups.map(withoutPlace));
    const shown = pictures.event(reports[1]!);
    return { groups, shown, most: watched.most, weights: await bitsOf(model.trainable.values()) };
  } finally {
    trainer.dispose();
    for (const [i, each] of [...model.trainable.values()].entries())
      each.write(new Float32Array(Uint32Array.from(before[i]!).buffer));
  }
}

describe('what is drawn while others wait', () => {
  const plans: Readonly<Record<string, TinyChanges>> = {
    'ovf with two selections': {},
    'ovf with guidance, by chunks of the batch': { sampler: { guidance: 3, batch: 4 } },
    'a random selection': { grpo: { keep: [6, 3], prune_at: [2], prune: 'uniform' } },
    'ovf by final rewards': { grpo: { keep: [6, 3], prune_at: [], prune: 'ovf-after' } },
    'no pruning, from one latent': { sampler: { same_latent: true }, grpo: { keep: [4], prune_at: [], prune: 'none' } },
  };
  for (const [name, changes] of Object.entries(plans))
    test(`is what it is alone, in the store too, bit for bit (${name})`, async () => {
      const alone = await draw(changes, 0);
      expect(alone.watched).toEqual({ most: 1, interleaved: false });
      for (const ahead of aheads.slice(1)) {
        const drawn = await draw(changes, ahead);
        expect(drawn.groups, `ahead ${ahead}`).toEqual(alone.groups);
        expect(drawn.paths).toEqual(alone.paths);
        expect(drawn.seen).toMatchObject({ calls: alone.seen.calls, atOnce: 1 });
        expect(drawn.watched.most).toBe(mostOf(ahead));
        // Where no previews are scored, a turn is drawn in one go.
        if (name.startsWith('ovf with')) expect(drawn.watched.interleaved).toBe(true);
      }
    });

  const isBad = (images: Tensor): Tensor => greater(mean(images, [1, 2, 3], { keepDims: true }), -0.02); // about half
  const decode = (latents: Tensor): Tensor => {
    const images = model.decode(latents);
    return where(isBad(images), tensor(device, [Number.NaN]), images);
  };
  const methods: Readonly<Record<string, { changes: TinyChanges; own?: Partial<GenerativeModel> }>> = {
    'ppo after ovf': { changes: {} },
    'ppo with lost samples': { changes: {}, own: { decode } },
    'ppo in a moving window': { changes: { sampler: { window: { size: 2, place: 'moving', every: 1 } } } },
    'nft after ovf': { changes: { sampler: { noise: 0 }, grpo: { loss: 'nft' } } },
  };
  for (const [name, { changes, own }] of Object.entries(methods))
    test(`teaches what it teaches alone, bit for bit (${name})`, async () => {
      const alone = await train(changes, 0, own);
      if (own) expect(alone.groups.some(({ finals, lost }) => lost.length > 0 || finals.some(Number.isNaN))).toBe(true);
      for (const ahead of aheads.slice(1)) {
        const learned = await train(changes, ahead, own);
        expect(learned.groups, `ahead ${ahead}`).toEqual(alone.groups);
        expect(learned.weights, `ahead ${ahead}`).toEqual(alone.weights);
        expect(learned.shown, 'the pictures of the first group').toEqual(alone.shown);
        expect(learned.most).toBe(mostOf(ahead));
      }
      expect(alone.most).toBe(1);
    });

  test('an earlier turn whose scores have come goes on before the next step of a later one', async () => {
    let answer = (): void => {};
    const wait = (call: number): Promise<void> =>
      call > 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            answer = resolve;
          });
    const config = configOf({ grpo: { keep: [6, 3], prune_at: [3], groups_per_update: 2 } }, 1);
    const trainer = await Trainer.create(model, delayed({ wait }).reward, config);
    const order: string[] = [];
    const taken: number[] = [];
    try {
      const onProgress = (at: Progress): void => {
        if (at.phase !== 'sampling') return;
        order.push(`${at.group}.${at.step}:${at.alive}`);
        taken.push(at.taken);
        if (order.at(-1) === '1.1:6') answer();
      };
      await trainer.update(prompts.slice(0, 2), { onProgress });
    } finally {
      trainer.dispose();
    }
    expect(order.slice(0, 4)).toEqual(['0.1:6', '0.2:6', '0.3:6', '1.1:6']);
    expect(order.indexOf('0.4:3')).toBeLessThanOrEqual(order.indexOf('1.2:6') + 1);
    expect(order.indexOf('0.4:3')).toBeLessThan(order.indexOf('1.3:6'));
    expect(taken).toEqual(Array.from({ length: 10 }, (_, i) => i + 1));
  });
});

describe('memory', () => {
  const live = (): number => device.memory().liveBytes;
  const planned = (): number => device.memory().plannedBytes;
  /** Bytes that a trainer takes: its tensors, and its captured steps. */
  async function taken(changes: TinyChanges, ahead: number, reward: CombinedReward): Promise<[number, number]> {
    const before = [live(), planned()] as const;
    const trainer = await Trainer.create(model, reward, configOf(changes, ahead));
    const found: [number, number] = [live() - before[0], planned() - before[1]];
    trainer.dispose();
    return found;
  }
  const roundUp = (bytes: number): number => Math.ceil(bytes / 256) * 256;

  test('grows by the slots and lanes of the turns that wait, and by no network call', async () => {
    const { reward } = delayed();
    const [alone, steps] = await taken({}, 0, reward);
    const latent = 4 * model.latentShape.reduce((size, n) => size * n, 1);
    const store = (slots: number): number => roundUp(6 * slots * latent) + roundUp(4 * 5 * slots);
    for (const ahead of aheads.slice(1)) {
      const size = callSizeOf(model.latentShape, configOf({}, ahead), true);
      const slots = slotsOf(prompts.length, size);
      expect(slots).toBe(4 * 3 + mostOf(ahead) * 3);
      expect(parkedSamples(prompts.length, size)).toBe(mostOf(ahead) * 6);
      const [bytes, more] = await taken({}, ahead, reward);
      const parked = 2 * roundUp(mostOf(ahead) * 6 * latent) + 3 * 256; // and the rows of each of three batches
      expect(bytes - alone).toBe(store(slots) - store(4 * 3 + 3) + parked);
      expect(more - steps, 'intermediates of copies').toBeLessThan(4 * 6 * latent * 4);
    }
  });

  test('is the same whatever is allowed where nothing is waited for, or an update is one turn', async () => {
    const here = delayed({ waited: false }).reward;
    expect(await taken({}, 5, here)).toEqual(await taken({}, 0, here));
    const { reward } = delayed();
    const one = { sampler: { batch: 24 } };
    expect(await taken(one, 5, reward)).toEqual(await taken(one, 0, reward));
    const none: TinyChanges = { grpo: { keep: [6, 3], prune_at: [], prune: 'ovf-after' } };
    const [[few, steps], [more, same]] = [await taken(none, 0, reward), await taken(none, 1, reward)];
    expect(more).toBeGreaterThan(few); // slots, and no lanes
    expect(same).toBe(steps);
  });
});

test('rewards that are computed here are scored in the same calls as one that is waited for beside them', async () => {
  const { reward } = delayed({ wait: various });
  const scored: number[] = [];
  const here = {
    name: 'here',
    score: async (images: readonly unknown[]) => {
      scored.push(images.length);
      return images.map((_, i) => i);
    },
  };
  const both = new CombinedReward([...reward.rewards, { weight: 1, reward: here }]);
  expect([both.waited, new CombinedReward([{ weight: 1, reward: here }]).waited]).toEqual([true, false]);
  const trainer = await Trainer.create(model, both, configOf({ train: { lr: 0 } }, 2));
  await trainer.update(prompts);
  trainer.dispose();
  expect(scored.toSorted()).toEqual([3, 4, 6].flatMap((size) => prompts.map(() => size)));
});
