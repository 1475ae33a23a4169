/** What goes wrong in training, and what is left of the run then. */
import { afterAll, describe, expect, test } from 'vitest';
import { add, greater, mean, mul, where } from '../../engine/index.js';
import { isGradEnabled } from '../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../engine/tensor/tensor.js';
import type { GenerativeModel } from '../../grpo/model.js';
import { CombinedReward, type RewardImage } from '../../grpo/rewards/reward.js';
import type { Policy } from '../../grpo/sampling/sampler.js';
import { DivergedError, Trainer } from '../../grpo/trainer.js';
import type { UpdateReport } from '../../grpo/update_report.js';
import { testDevice } from '../check.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyPrompts } from './tiny.js';

const device = await testDevice();

describe('what goes wrong', async () => {
  const model = await loadTiny(device, 'sd3');
  afterAll(() => model.dispose());

  /** A trainer of a changed model, freed afterwards. */
  async function withTrainer(
    changes: { model?: Partial<GenerativeModel>; reward?: CombinedReward; config?: TinyChanges },
    body: (trainer: Trainer) => Promise<void>,
  ): Promise<void> {
    const { reward = brightness(), config } = changes;
    const trainer = await Trainer.create({ ...model, ...changes.model }, reward, tinyConfig(config));
    try {
      await body(trainer);
    } finally {
      trainer.dispose();
    }
  }
  const weights = (): Promise<number[][]> => bitsOf(model.trainable.values());
  const rewardOf = (score: (images: readonly RewardImage[]) => number[]): CombinedReward =>
    new CombinedReward([{ weight: 1, reward: { name: 'mine', score: async (images) => score(images) } }]);
  const nan = (x: Tensor): Tensor => add(x, tensor(device, [Number.NaN]));

  test('equal rewards, and groups of one, teach nothing and break nothing', async () => {
    const before = await weights();
    const plans = [
      { reward: rewardOf((images) => images.map(() => 0.3)) },
      { config: { grpo: { keep: [6, 1], prune_at: [2] } } },
    ];
    for (const plan of plans) {
      await withTrainer(plan, async (trainer) => {
        const report = await trainer.update(tinyPrompts);
        expect(report.steps).toMatchObject([{ gradNorm: 0, rows: 0, policyLoss: 0 }]);
        expect(report.zeroSpread).toBe(1);
        expect(trainer.state.counters).toEqual({ updates: 1, steps: 0 });
      });
    }
    expect(await weights()).toEqual(before);
  });

  test('a picture that is not finite is not kept while others are, and never trained on', async () => {
    const before = await weights();
    const decode = (latents: Tensor): Tensor => {
      const images = model.decode(latents);
      const bad = greater(mean(images, [1, 2, 3], { keepDims: true }), -0.02); // about half of them
      return where(bad, tensor(device, [Number.NaN]), images);
    };
    await withTrainer({ model: { decode }, config: { train: { lr: 0.1 } } }, async (trainer) => {
      const { groups, counts, steps } = await trainer.update(tinyPrompts);
      const rewards = groups.flatMap(({ selections }) => selections.flatMap((selection) => selection.rewards!));
      expect(rewards.some(Number.isNaN)).toBe(true);
      for (const { selections } of groups) {
        for (const { samples, rewards: scores, kept } of selections) {
          const finite = samples.filter((_, i) => Number.isFinite(scores![i]));
          expect(kept.filter((sample) => finite.includes(sample)).length).toBe(Math.min(finite.length, kept.length));
        }
      }
      const finite = groups.flatMap(({ survivors }) => survivors.filter(({ reward }) => Number.isFinite(reward)));
      expect(counts.trained).toBe(4 * finite.length);
      expect(steps[0]!.gradNorm).toBeGreaterThan(0);
    });
    for (const each of model.trainable.values()) expect((await each.data()).every(Number.isFinite)).toBe(true);
    for (const [i, each] of [...model.trainable.values()].entries())
      device.write(each.storage, new Uint8Array(Uint32Array.from(before[i]!).buffer));
  });

  test('no finite picture at all, or no finite gradient three times, is a divergence that leaves the weights', async () => {
    const before = await weights();
    const broken: Policy = (...given) => nan(model.predict(...given));
    await withTrainer({ model: { predict: broken } }, async (trainer) => {
      await expect(trainer.update(tinyPrompts)).rejects.toThrow(DivergedError);
    });
    const learning: Policy = (...given) => (isGradEnabled() ? broken(...given) : model.predict(...given));
    await withTrainer({ model: { predict: learning } }, async (trainer) => {
      for (let i = 0; i < 2; i++) {
        const [step] = (await trainer.update(tinyPrompts)).steps;
        const { gradNorm, policyLoss, ratioDeviation, ratioMean, approxKL } = step!;
        expect([gradNorm, policyLoss, ratioDeviation, ratioMean, approxKL]).toEqual(Array(5).fill(Number.NaN));
      }
      await expect(trainer.update(tinyPrompts)).rejects.toThrow(
        /update 2: the gradients of 3 steps in a row are not finite/,
      );
    });
    expect(await weights()).toEqual(before);
  });

  test('a single ratio that is NaN is noticed, whatever micro-batches come after it', async () => {
    const before = await weights();
    let calls = 0;
    const last = tensor(device, [0, Number.NaN], [2, 1, 1, 1]); // of the two rows of a micro-batch
    const predict: Policy = (...given) => {
      const v = model.predict(...given);
      return isGradEnabled() && calls++ === 0 ? add(v, last) : v;
    };
    const config = { grpo: { kl: 0 }, train: { micro_batch: 2, lr: 0.1 } };
    await withTrainer({ model: { predict }, config }, async (trainer) => {
      const [step] = (await trainer.update(tinyPrompts)).steps;
      expect([step!.policyLoss, step!.ratioDeviation]).toEqual([Number.NaN, Number.NaN]);
    });
    expect(calls).toBeGreaterThan(0);
    last.dispose();
    expect(await weights()).toEqual(before);
  });

  test('a network that computes otherwise in training than in sampling is found before it learns', async () => {
    const before = await weights();
    const predict: Policy = (...given) => mul(model.predict(...given), isGradEnabled() ? 1.0001 : 1);
    await withTrainer({ model: { predict } }, async (trainer) => {
      await expect(trainer.update(tinyPrompts)).rejects.toThrow(
        /ratio: before the first step of a rollout every ratio must be 1/,
      );
    });
    expect(await weights()).toEqual(before);
  });

  test('a reward that fails, or an interruption, ends the update; the next one is as if nothing had been', async () => {
    const calm: UpdateReport[] = [];
    await withTrainer({ config: { train: { lr: 0 } } }, async (trainer) => {
      calm.push(await trainer.update(tinyPrompts));
    });
    let failing = true;
    const flaky = rewardOf((images) => {
      if (failing && images.length < 2 * 6) throw new Error('no'); // after the first selection
      return images.map(({ rgb }) => rgb.reduce((sum, value) => sum + value, 0) / rgb.length / 255);
    });
    await withTrainer({ reward: flaky, config: { train: { lr: 0 } } }, async (trainer) => {
      await expect(trainer.update(tinyPrompts)).rejects.toThrow('no');
      failing = false;
      const stop = new AbortController();
      const seen: string[] = [];
      const interrupted = trainer.update(tinyPrompts, {
        signal: stop.signal,
        onProgress: (progress) => {
          seen.push(
            progress.phase === 'sampling' ? `${progress.group}.${progress.step}:${progress.alive}` : 'training',
          );
          if (seen.length === 4) stop.abort(new Error('stopped'));
        },
      });
      await expect(interrupted).rejects.toThrow('stopped');
      expect(seen).toEqual(['0.1:6', '0.2:6', '0.3:4', '0.4:3']);
      expect(trainer.updates).toBe(0);
      const { groups } = await trainer.update(tinyPrompts);
      expect(groups.map(({ finals }) => finals)).toEqual(calm[0]!.groups.map(({ finals }) => finals));
    });
  });

  test('plans that make no sense are refused', async () => {
    const refused: [TinyChanges, RegExp][] = [
      [{ grpo: { keep: [6, 6, 3] } }, /grpo.keep: expected falling counts, found \[6, 6, 3\]/],
      [{ grpo: { prune_at: [3, 2] } }, /grpo.prune_at: expected rising steps, found \[3, 2\]/],
      [
        { grpo: { prune_at: [2] } },
        /grpo.prune_at: 1 selection needs 2 counts in grpo.keep \(start, then one each\); found 3/,
      ],
      [
        { grpo: { prune: 'none' } },
        /grpo.prune_at: prune: none has no selections: expected \[\], found \[2, 3\]; grpo.keep: prune: none keeps the whole/,
      ],
      [{ sampler: { kind: 'ddim' } }, /steps of kind ddim are not for a flow model/],
      [{ train: { micro_batch: 0 } }, /train.micro_batch: expected at least 1, found 0/],
    ];
    for (const [config, message] of refused)
      await expect(Trainer.create(model, brightness(), tinyConfig(config))).rejects.toThrow(message);
    const { reference: _, ...whole } = model;
    await expect(
      Trainer.create(whole, brightness(), tinyConfig({ grpo: { kl: 0.1, kl_reference: 'initial' } })),
    ).rejects.toThrow('grpo.kl_reference: initial means the adapter as it began, but there is none; expected base');
  });
});
