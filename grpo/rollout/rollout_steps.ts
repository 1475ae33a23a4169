/** The captured steps of a rollout: the network once for each size that its groups have on their way, a transition for each step. */
import {
  add,
  assign,
  assignRows,
  capture,
  full,
  type GaussianCoefficients,
  gaussianColumns,
  gaussianMean,
  gaussianStep,
  indexSelect,
  noGrad,
  normal,
  packGaussianCoefficients,
  type Step,
  type Tensor,
  tensor,
  zeros,
} from '../../engine/index.js';
import type { GenerativeModel } from '../model.js';
import { guided } from '../sampling/sampler.js';
import type { Transition } from '../sampling/transitions.js';
import { equalParts, type Parts, placesOf } from './batches.js';
import { PictureDecoder } from './pictures.js';
import type { Trajectories } from './trajectories.js';

/** The samples that are drawn together, of one group or several, group after group. */
export interface Batch {
  readonly size: number;
  readonly latents: Tensor;
  readonly prediction: Tensor;
  /** u32 [size, 2]: a sample's noise depends on its key and the step alone. */
  readonly keys: Tensor;
  /** u32 [size]: where each trajectory is stored. */
  readonly slots: Tensor;
  /** u32 [size]: rows of the prompts' conditions. */
  readonly conditions: Tensor;
  /** The network sees the batch in parts: f32 [part], u32 [part], and from the part's latents to its predictions. */
  readonly parts: Parts;
  readonly timesteps: Tensor;
  readonly places: Tensor;
  readonly step: Step<void>;
}

/** Runs the network on a batch: latents -> prediction. */
export function predict({ parts, places, step }: Batch): void {
  for (const start of parts.starts) {
    if (parts.starts.length > 1) places.write(placesOf(start, parts));
    step.run();
  }
}

/** A selection in the middle: from one batch to a smaller one. */
export interface Checkpoint {
  readonly step: number;
  readonly from: Batch;
  readonly to: Batch;
  /** Writes the clean samples into the decoder of `from`'s size; absent where nothing is previewed. */
  readonly preview: Step<void> | undefined;
  /** u32 [to.size]: places in `from` of the samples that go on. */
  readonly picks: Tensor;
  /** Takes the picked rows of everything a batch holds. */
  readonly compact: Step<void>;
}

export interface RolloutSteps {
  readonly batches: readonly Batch[];
  /** Draws the initial latents of the first batch with these keys, u32 [size, 2]. */
  readonly start: { readonly keys: Tensor; readonly step: Step<void> };
  readonly checkpoints: readonly Checkpoint[];
  /** For each step, from the prediction to the next latents, stored. */
  readonly advance: readonly Step<void>[];
  /** Writes the last latents into the decoder. */
  readonly finish: Step<void>;
  /** Decoders by batch size. */
  readonly decoders: ReadonlyMap<number, PictureDecoder>;
  dispose(): void;
}

export interface RolloutStepOptions {
  readonly transitions: readonly Transition[];
  /** Sizes of the batch, from the first on. */
  readonly sizes: readonly number[];
  /** Steps at which it shrinks, one fewer. */
  readonly pruneAt: readonly number[];
  /** Whether the selections look at previews. */
  readonly previews: boolean;
  readonly guidance: number;
  /** Samples in one network call at most. */
  readonly most: number;
}

export async function captureRollout(
  model: GenerativeModel,
  store: Trajectories,
  options: RolloutStepOptions,
): Promise<RolloutSteps> {
  const { transitions, sizes, pruneAt, previews } = options;
  const { device } = model;
  const batches: Batch[] = [];
  for (const size of sizes) batches.push(await makeBatch(model, store, size, options));
  const [first, last] = [batches[0]!, batches.at(-1)!];
  const decoders = new Map<number, PictureDecoder>();
  for (const { size } of previews ? batches : [last]) decoders.set(size, await PictureDecoder.create(model, size));

  const keys = zeros(device, [first.size, 2], 'u32');
  const start = await capture(device, () => {
    const latents = normal(keys, counter(device, 0), first.latents.shape);
    assign(first.latents, latents);
    assign(first.timesteps, full(device, first.timesteps.shape, transitions[0]!.timestep));
    assignRows(store.latents, first.slots, latents);
  });
  const checkpoints: Checkpoint[] = [];
  for (const [c, step] of pruneAt.entries()) {
    const [from, to] = [batches[c]!, batches[c + 1]!];
    const decoder = previews && decoders.get(from.size);
    const picks = zeros(device, [to.size], 'u32');
    const preview = (clean: Tensor): void =>
      assign(clean, gaussianMean(from.latents, from.prediction, rows(from, transitions[step]!.preview)));
    checkpoints.push({
      step,
      from,
      to,
      preview: decoder ? await capture(device, () => preview(decoder.latents)) : undefined,
      picks,
      compact: await capture(device, () => {
        for (const name of ['latents', 'prediction', 'keys', 'slots', 'conditions'] as const)
          assign(to[name], indexSelect(from[name], picks));
      }),
    });
  }
  const advance: Step<void>[] = [];
  for (const i of transitions.keys()) {
    const batch = batches[pruneAt.filter((step) => step <= i).length]!;
    advance.push(await capture(device, () => advanceBatch(batch, store, transitions, i)));
  }
  const finish = await capture(device, () => assign(decoders.get(last.size)!.latents, last.latents));

  const dispose = (): void => {
    for (const { size, parts, ...things } of batches) for (const each of Object.values(things)) each.dispose();
    for (const { preview, picks, compact } of checkpoints)
      for (const each of [preview, picks, compact]) each?.dispose();
    for (const each of [keys, start, ...advance, finish, ...decoders.values()]) each.dispose();
  };
  return { batches, start: { keys, step: start }, checkpoints, advance, finish, decoders, dispose };
}

const counter = (device: Tensor['device'], value: number): Tensor => tensor(device, [value], [1], 'u32');

/** The same coefficients for every sample of a batch. */
const rows = ({ size, latents }: Batch, coefficients: GaussianCoefficients): Tensor =>
  tensor(latents.device, packGaussianCoefficients(Array(size).fill(coefficients)), [size, gaussianColumns]);

async function makeBatch(
  model: GenerativeModel,
  store: Trajectories,
  size: number,
  { guidance: scale, most }: RolloutStepOptions,
): Promise<Batch> {
  const { device, latentShape } = model;
  const shape = [size, ...latentShape];
  const parts = equalParts(size, most);
  const [latents, prediction] = [zeros(device, shape), zeros(device, shape)];
  const [slots, conditions] = [zeros(device, [size], 'u32'), zeros(device, [size], 'u32')];
  const timesteps = zeros(device, [parts.size]);
  const places = tensor(device, placesOf(0, parts), [parts.size], 'u32');
  const step = await capture(device, () =>
    noGrad(() => {
      const own = indexSelect(conditions, places);
      const none = full(device, own.shape, store.unconditional, 'u32');
      const condition = store.conditions.map((part) => indexSelect(part, own));
      const unconditional = scale === 1 ? [] : store.conditions.map((part) => indexSelect(part, none));
      const x = indexSelect(latents, places);
      assignRows(prediction, places, guided(model.predict, x, timesteps, condition, { scale, unconditional }));
    }),
  );
  const keys = zeros(device, [size, 2], 'u32');
  return { size, latents, prediction, keys, slots, conditions, parts, timesteps, places, step };
}

/** Step i: draws the next latents, stores them and their log probability. Counter 0 drew the initial latents. */
function advanceBatch(batch: Batch, store: Trajectories, transitions: readonly Transition[], i: number): void {
  const { device } = batch.latents;
  const { slots } = store.size;
  const noise = normal(batch.keys, counter(device, i + 1), batch.latents.shape);
  const { next, logProb } = gaussianStep(batch.latents, batch.prediction, noise, rows(batch, transitions[i]!.step));
  assignRows(store.latents, add(batch.slots, (i + 1) * slots), next);
  assignRows(store.logProbs, add(batch.slots, i * slots), logProb);
  assign(batch.latents, next);
  const following = transitions[i + 1];
  if (following) assign(batch.timesteps, full(device, batch.timesteps.shape, following.timestep));
}
