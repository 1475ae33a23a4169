/** What tests of the learner share: a group drawn by a tiny model, and the gradient of its rows one by one, eagerly. */
import { expect } from 'vitest';
import { backward, type Device, scope } from '../../../engine/index.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import type { LoadedModel } from '../../../grpo/finetune/policy.js';
import { ForwardLearner, type ForwardRow } from '../../../grpo/learning/forward_learner.js';
import { Learner, type TrainingRow } from '../../../grpo/learning/learner.js';
import { isForward } from '../../../grpo/learning/losses.js';
import { OptimizerStep } from '../../../grpo/learning/optimizer_step.js';
import { measuresOf } from '../../../grpo/learning/report.js';
import { Rollout } from '../../../grpo/rollout/rollout.js';
import { wholeGroup } from '../../../grpo/rollout/stages.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import type { TrainerConfig } from '../../../grpo/trainer.js';
import { expectClose } from '../../check.js';
import { brightness, type TinyChanges, tinyPrompts } from '../tiny.js';

const slots = 4;

/** With these the first moment after one update from zero is half the gradient, and the weights stay. */
export const halfMoments: TinyChanges['train'] = { lr: 0, weight_decay: 0, betas: [0.5, 0.999], grad_norm: 1e9 };

/** A learner with the optimizer's step behind it, of updates of one shard. */
export async function learning(model: LoadedModel, store: Trajectories, config: TrainerConfig) {
  const { train, grpo } = config;
  const kind = isForward(grpo.loss) ? ForwardLearner : Learner;
  const learner = await kind.create(model, store, { ...config, rows: train.micro_batch });
  const step = await OptimizerStep.create(model, learner.sum, { train, shards: 1, measures: measuresOf(grpo) });
  return {
    optimizer: step.optimizer,
    remember: (rows: readonly ForwardRow[]): void => (learner as ForwardLearner).remember(rows),
    accumulate: (rows: readonly TrainingRow[], total: number) => {
      learner.add(rows as readonly ForwardRow[], total);
      return step.report(rows.length, total);
    },
    apply: (count: number) => step.apply(count),
    dispose: (): void => {
      step.dispose();
      learner.dispose();
    },
  };
}

export type Learning = Awaited<ReturnType<typeof learning>>;

/** The trajectories of a group of four that a model drew in three steps, and the rows of the first two of them. */
export async function drawGroup(model: LoadedModel, { guidance = 1, predictions = false } = {}) {
  const transitions = transitionsOf(model.schedule(3), { noise: 0.7 });
  const store = Trajectories.create(model, { slots, groups: 1, transitions, predictions });
  store.encode(['a red circle']);
  const sampler = { guidance, same_latent: false };
  const rollout = await Rollout.create(model, store, brightness(), { sampler, grpo: wholeGroup(slots), seed: 1 });
  const [group] = await rollout.sample(tinyPrompts.slice(0, 1), 0);
  const rows = group!.survivors.flatMap(({ slot }, i) =>
    [0, 1].map((step) => ({ slot, step, condition: 0, advantage: i - 1.4 })),
  );
  const [latents, logProbs] = await Promise.all([store.latents.data(), store.logProbs.data()]);
  const width = store.latents.size / store.latents.shape[0]!;
  return {
    transitions,
    store,
    rollout,
    rows,
    /** The latent of a slot before a step, [1, ...latentShape]. */
    latent: (slot: number, step: number): Tensor => {
      const start = (step * slots + slot) * width;
      return tensor(model.device, latents.subarray(start, start + width), [1, ...model.latentShape]);
    },
    /** The log probability that was stored for a step of a slot. */
    logProb: (slot: number, step: number): number => logProbs[step * slots + slot]!,
  };
}

/** Sums of the rows' values and gradients over `total`; `lossOf` gives a row's loss, [], and the value to report, [] or [1]. */
export async function sumByHand<Row>(
  device: Device,
  parameters: readonly Tensor[],
  rows: readonly Row[],
  lossOf: (row: Row, i: number) => { readonly loss: Tensor; readonly value: Tensor },
  total = rows.length,
): Promise<{ readonly value: number; readonly gradients: readonly Float64Array[] }> {
  const gradients = parameters.map(({ size }) => new Float64Array(size));
  let sum = 0;
  for (const [i, row] of rows.entries()) {
    const made = scope(device, () => {
      const { loss, value } = lossOf(row, i);
      return [value, ...backward(loss, parameters)];
    });
    const [value, ...parts] = await Promise.all(made.map((each) => each.data()));
    sum += value![0]! / total;
    for (const [p, part] of parts.entries()) for (const [k, each] of part.entries()) gradients[p]![k]! += each / total;
    for (const each of made) each.dispose();
  }
  return { value: sum, gradients };
}

/** The learner's first moments as they are. */
export const momentsOf = ({ optimizer }: Learning): Promise<readonly Float32Array[]> =>
  Promise.all(optimizer.firstMoments.map(async (moment) => Float32Array.from(await moment.data())));

/** Expects gradients of a learner with halfMoments, whose moments were `kept` before its last update. */
export async function expectGradients(
  learner: Learning,
  expected: readonly Float64Array[],
  { kept, tolerance = 1e-4 }: { readonly kept?: readonly Float32Array[]; readonly tolerance?: number } = {},
): Promise<void> {
  for (const [p, now] of (await momentsOf(learner)).entries()) {
    const before = kept ? kept[p]! : new Float32Array(now.length);
    const gradient = Float64Array.from(now, (value, k) => 2 * value - before[k]!);
    expectClose(gradient, expected[p]!, tolerance, `gradient ${p}`);
  }
  expect(expected.length).toBe(learner.optimizer.firstMoments.length);
}
