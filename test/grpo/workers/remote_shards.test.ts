/** Shards that are done elsewhere, without a server: tasks go straight to what does them, lost pictures and lost data among them. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { sha256Of } from '../../../engine/files.js';
import { greater, mean, where } from '../../../engine/index.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import type { RunConfig } from '../../../grpo/config.js';
import type { LoadedModel } from '../../../grpo/finetune/policy.js';
import type { CombinedReward } from '../../../grpo/rewards/reward.js';
import { Trainer } from '../../../grpo/trainer.js';
import type { UpdateReport } from '../../../grpo/update_report.js';
import { decode, encode, type Report, reportSchema, taskSchema } from '../../../grpo/workers/messages.js';
import type { BlobRef, Blobs } from '../../../grpo/workers/redis/blobs.js';
import type { Dispatch } from '../../../grpo/workers/trainer/dispatch.js';
import { RemoteShards } from '../../../grpo/workers/trainer/remote_shards.js';
import type { Outfit } from '../../../grpo/workers/worker/outfit.js';
import { ShardWork } from '../../../grpo/workers/worker/shard_work.js';
import { testDevice } from '../../check.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyPrompts } from '../tiny.js';

const device = await testDevice();
const kinds: string[] = [];
beforeEach(() => void kinds.splice(0));

/** Bytes by their hash. */
class MemoryBlobs {
  readonly bytes = new Map<string, Uint8Array>();
  async put(bytes: Uint8Array): Promise<BlobRef> {
    const hash = sha256Of(bytes);
    this.bytes.set(hash, bytes.slice());
    return { hash, bytes: bytes.length };
  }
  async get({ hash }: BlobRef): Promise<Uint8Array | undefined> {
    return this.bytes.get(hash);
  }
  async delete(refs: readonly BlobRef[]): Promise<void> {
    for (const { hash } of refs) this.bytes.delete(hash);
  }
}

interface Elsewhere {
  readonly blobs: MemoryBlobs;
  readonly work: readonly ShardWork[];
  /** Has a shard learned by the worker that has not drawn it. */
  readonly swaps?: boolean;
  /** Sees the reports of tasks before their trainer does. */
  readonly after?: (reports: readonly Report[], blobs: MemoryBlobs) => void;
}

/** Hands each task, as text, to one worker or the other. */
const dispatching = ({ work, blobs, swaps = false, after }: Elsewhere): Dispatch => {
  const run: Dispatch['run'] = async (tasks, { restore, onReport }) => {
    const reports: Report[] = [];
    for (const { task, hash } of tasks) {
      kinds.push(task.kind);
      await restore();
      const own = task.kind === 'look' ? 0 : task.first % 2;
      const worker = task.kind === 'learn' && swaps ? 1 - own : own;
      const done = await work[worker]!.do(decode(taskSchema, encode(task))!, undefined);
      reports.push(decode(reportSchema, encode({ task: hash, worker: `${worker}`, ...done }))!);
    }
    after?.(reports, blobs);
    for (const report of [...reports].reverse()) onReport?.(report); // they come in any order
    await new Promise((resolve) => setTimeout(resolve, 20)); // while others are waited for
    return reports;
  };
  return { run, forget: async () => {} } as unknown as Dispatch;
};

describe('shards elsewhere', async () => {
  const models = [await loadTiny(device, 'sd3'), await loadTiny(device, 'sd3'), await loadTiny(device, 'sd3')] as const;
  afterAll(() => {
    for (const each of models) each.dispose();
  });
  /** A model half of whose pictures are not finite. */
  const lossy = (model: LoadedModel): LoadedModel => ({
    ...model,
    decode: (latents: Tensor): Tensor => {
      const images = model.decode(latents);
      return where(greater(mean(images, [1, 2, 3], { keepDims: true }), -0.02), tensor(device, [Number.NaN]), images);
    },
  });
  const initial = await Promise.all([...models[0].trainable.values()].map(async (each) => (await each.data()).slice()));
  const reset = (model: LoadedModel): void =>
    [...model.trainable.values()].forEach((each, i) => {
      each.write(initial[i]!);
    });

  /** Two updates, here or elsewhere: the weights and what the updates say. */
  async function trained(
    changes: TinyChanges,
    remote: Partial<Elsewhere> | undefined,
    change: (model: LoadedModel) => LoadedModel = (model) => model,
  ) {
    const config = { ...tinyConfig(changes), lora: {} } as unknown as RunConfig; // the rest plays no part here
    models.forEach(reset);
    const [own, ...others] = models.map(change) as [LoadedModel, LoadedModel, LoadedModel];
    const blobs = new MemoryBlobs();
    const rewards: CombinedReward = brightness();
    const outfits = others.map((model) => ({ model, rewards, config }) as unknown as Outfit);
    const options = { blobs: blobs as unknown as Blobs, reference: null };
    const work = remote ? await Promise.all(outfits.map((outfit) => ShardWork.create(outfit, options))) : [];
    const given = { blobs, work, ...remote };
    const parts = {
      dispatch: dispatching(given),
      blobs: blobs as unknown as Blobs,
      onWorkers: () => {},
      prepare: async () => 'a'.repeat(64),
    };
    const trainer = remote
      ? await Trainer.over(own, config, async () => RemoteShards.create(own, config, parts))
      : await Trainer.create(own, rewards, config);
    try {
      const reports: UpdateReport[] = [];
      for (let i = 0; i < 2; i++) reports.push(await trainer.update(tinyPrompts));
      const bits = await bitsOf(Object.values(trainer.state.tensors).flatMap((map) => [...map!.values()]));
      return { bits, steps: reports.map(({ steps }) => steps), advantages: reports.map((each) => each.advantages) };
    } finally {
      trainer.dispose();
      for (const each of work) each.dispose();
    }
  }

  test('what depends on no other shard is done at one go', async () => {
    const alone = await trained({}, undefined);
    expect(await trained({}, {})).toEqual(alone);
    expect(kinds).toEqual(['draw', 'draw', 'draw', 'draw']);
  });

  for (const [name, changes] of Object.entries<TinyChanges>({
    'the deviation of all groups': { grpo: { global_std: true } },
    'two optimizer steps a rollout': { grpo: { updates_per_rollout: 2 }, train: { ema: 0.9 } },
    'kept predictions': { sampler: { noise: 0 }, grpo: { loss: 'nft', updates_per_rollout: 2 } },
  }))
    test(`${name}: the shards are asked for again, also where another has to draw them anew`, async () => {
      const alone = await trained(changes, undefined);
      expect(await trained(changes, {})).toEqual(alone);
      expect(kinds.filter((kind) => kind === 'learn').length).toBeGreaterThanOrEqual(4);
      expect(await trained(changes, { swaps: true })).toEqual(alone);
    });

  test('pictures that are not finite change the mean over all shards, which are asked again', async () => {
    const changes = { train: { lr: 0.1 } };
    const alone = await trained(changes, undefined, lossy);
    expect(alone.advantages.flat().some((own) => own.length < 3)).toBe(true);
    expect(await trained(changes, {}, lossy)).toEqual(alone);
    expect(kinds.slice(0, 4)).toEqual(['draw', 'draw', 'learn', 'learn']);
  });

  test('sums that are lost before they are added are computed again', async () => {
    const alone = await trained({}, undefined);
    let isLost = false;
    const after: Elsewhere['after'] = (reports, blobs) => {
      if (isLost) return;
      isLost = true;
      blobs.bytes.clear();
      expect(reports).toHaveLength(2);
    };
    expect(await trained({}, { after })).toEqual(alone);
    expect(kinds).toEqual(['draw', 'draw', 'draw', 'draw', 'draw', 'draw']);
  });
});
