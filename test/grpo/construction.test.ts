/** A construction that fails, wherever it does, leaves nothing on the GPU. */
import { afterAll, describe, expect, test } from 'vitest';
import { CheckError, OutOfMemoryError } from '../../engine/errors.js';
import { PictureSampler } from '../../grpo/evaluate.js';
import { ForwardLearner } from '../../grpo/learning/forward_learner.js';
import { Learner } from '../../grpo/learning/learner.js';
import type { GenerativeModel } from '../../grpo/model.js';
import { PictureDecoder } from '../../grpo/rollout/pictures.js';
import { Rollout } from '../../grpo/rollout/rollout.js';
import { Trajectories } from '../../grpo/rollout/trajectories.js';
import { Sampler } from '../../grpo/sampling/sampler.js';
import { transitionsOf } from '../../grpo/sampling/transitions.js';
import { Trainer } from '../../grpo/trainer.js';
import { testDevice } from '../check.js';
import { delayed } from './rollout/delayed.js';
import { brightness, loadTiny, tinyConfig } from './tiny.js';

const device = await testDevice();
const model = await loadTiny(device, 'sd3');
afterAll(() => model.dispose());

/** Bytes of live tensors and of captured steps. */
const used = (): number => device.memory().liveBytes + device.memory().plannedBytes;

interface Failure {
  /** Allocations that `body` asked for, up to the one that was refused. */
  readonly allocations: number;
  readonly error: unknown;
}

/** Runs `body` on a device that refuses the allocation of that number, from 0, and frees what it made otherwise. */
async function refusing(number: number, body: () => Promise<{ dispose(): void }>): Promise<Failure> {
  const { pool } = device;
  const { allocate, allocatePlanned } = pool;
  let allocations = 0;
  const count = (): void => {
    if (allocations++ === number) throw new OutOfMemoryError(`allocation ${number} is refused`);
  };
  pool.allocate = (...given) => {
    count();
    allocate.apply(pool, given);
  };
  pool.allocatePlanned = (...given) => {
    count();
    return allocatePlanned.apply(pool, given);
  };
  try {
    (await body()).dispose();
    return { allocations, error: undefined };
  } catch (error) {
    return { allocations, error };
  } finally {
    Object.assign(pool, { allocate, allocatePlanned });
  }
}

const config = tinyConfig({
  sampler: { steps: 3, guidance: 2 },
  grpo: { keep: [3, 2], prune_at: [1], groups_per_update: 1, kl: 0.1 },
  train: { ema: 0.9, micro_batch: 2 },
});
const transitions = transitionsOf(model.schedule(3), config.sampler);
const given = Trajectories.create(model, { slots: 3, groups: 1, transitions });
const several = Trajectories.create(model, { slots: 9, groups: 3, transitions });
const ends = Trajectories.create(model, { slots: 3, groups: 1, transitions, keeps: 'ends' });
const forward = tinyConfig({
  sampler: { steps: 3, noise: 0 },
  grpo: { loss: 'nft', kl: 0.1, kl_form: 'velocity', updates_per_rollout: 2 },
  train: { ema: 0.9, micro_batch: 2 },
});
const guarded = Trajectories.create(model, { slots: 3, groups: 1, transitions, predictions: true });
const condition = model.encode(['']);
afterAll(() => {
  for (const each of [given, several, guarded, ends, ...condition]) each.dispose();
});

const constructions: Readonly<Record<string, () => Promise<{ dispose(): void }>>> = {
  'the trainer': () => Trainer.create(model, brightness(), config),
  'the store of trajectories': async () =>
    Trajectories.create(model, { slots: 3, groups: 1, transitions, predictions: true }),
  'the rollout': () => Rollout.create(model, given, brightness(), config),
  'the rollout with turns that wait': () => {
    const sampler = { ...config.sampler, batch: 3 };
    return Rollout.create(model, several, delayed().reward, { ...config, sampler, rollout: { ahead: 1 } });
  },
  'the learner': () => Learner.create(model, given, { ...config, rows: 2 }),
  'the learner of forward rows': () => ForwardLearner.create(model, ends, { ...forward, rows: 2 }),
  'the learner with a copy and kept predictions': () => {
    const grpo = { ...config.grpo, kl_reference: 'initial' } as const;
    return Learner.create(model, guarded, { ...config, grpo, rows: 2 });
  },
  'the decoder': () => PictureDecoder.create(model, 3, 2),
  'the sampler': () => Sampler.create(device, model.predict, [1, ...model.latentShape], condition),
  'the sampler of pictures': () => PictureSampler.create(model, { steps: 3, guidance: 2, batch: 2 }),
};

describe('an allocation that is refused', () => {
  for (const [name, create] of Object.entries(constructions)) {
    test(`whichever it is, ${name} leaves nothing behind`, { timeout: 300_000 }, async () => {
      const before = used();
      const { allocations, error } = await refusing(Number.POSITIVE_INFINITY, create);
      expect(error).toBeUndefined();
      expect(used(), 'after a construction that did not fail').toBe(before);
      expect(allocations).toBeGreaterThan(3);
      // The trainer's are those of all others together: some of them, the first and the last.
      const stride = name === 'the trainer' ? 7 : 1;
      const numbers = Array.from({ length: Math.ceil(allocations / stride) }, (_, i) => i * stride);
      for (const number of [...numbers, allocations - 1]) {
        const failed = await refusing(number, create);
        expect(failed, `allocation ${number} of ${allocations}`).toMatchObject({
          allocations: number + 1,
          error: { message: expect.stringContaining('is refused') },
        });
        expect(used(), `bytes left where allocation ${number} of ${allocations} was refused`).toBe(before);
      }
    });
  }
});

test('a model that throws, in whatever step it is first asked, leaves nothing of the trainer behind', async () => {
  const before = used();
  const create = (changed: Partial<GenerativeModel>, calls: number): Promise<unknown> => {
    let left = calls;
    const once = <A extends unknown[], R>(body: (...args: A) => R) => {
      return (...args: A): R => {
        if (left-- === 0) throw new CheckError('the model is broken');
        return body(...args);
      };
    };
    const wrapped = Object.fromEntries(
      Object.entries(changed).map(([name, body]) => [name, once(body as (...args: unknown[]) => unknown)]),
    );
    return Trainer.create({ ...model, ...wrapped }, brightness(), config);
  };
  const { predict, decode, encode, reference } = model;
  // A network call for each of two batches, one of the policy and one of the reference in learning; each decoder.
  for (let call = 0; call < 4; call++) {
    await expect(create({ predict }, call), `network call ${call}`).rejects.toThrow('the model is broken');
    expect(used(), `network call ${call}`).toBe(before);
  }
  for (const [changed, calls] of [
    [{ decode }, 0],
    [{ decode }, 1],
    [{ encode }, 0],
    [{ reference: reference! }, 0],
  ] as const) {
    await expect(create(changed, calls)).rejects.toThrow('the model is broken');
    expect(used()).toBe(before);
  }
});

test('configurations that are refused, or too large for a binding, leave nothing of the trainer behind', async () => {
  const before = used();
  const huge = 2 ** Math.ceil(Math.log2(device.limits.maxStorageBufferBindingSize / 1024)) * 2;
  for (const changes of [
    { grpo: { keep: [6, 4] } },
    { train: { micro_batch: 0 } },
    { train: { betas: [0.9, 1] as [number, number] } },
    { train: { eps: 0 } },
    { train: { ema: 2 } },
    { grpo: { keep: [huge, 2], prune_at: [2] } },
  ]) {
    await expect(Trainer.create(model, brightness(), tinyConfig(changes)), JSON.stringify(changes)).rejects.toThrow();
    expect(used(), JSON.stringify(changes)).toBe(before);
  }
});
