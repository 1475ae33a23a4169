/**
 * The samples of one stage that are drawn together, with the captured steps that move them. Each step is captured once and
 * serves every timestep: levels, coefficients and places in the store are small tensors that are written before it runs, a
 * row for each sample.
 */
import { forwardFlops } from '../../engine/device/flops.js';
import {
  add,
  assign,
  assignRows,
  capture,
  full,
  type GaussianCoefficients,
  gaussianColumns,
  gaussianMean,
  gaussianNext,
  gaussianStep,
  indexSelect,
  noGrad,
  normal,
  packGaussianCoefficients,
  type Step,
  type Tensor,
  zeros,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import type { SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { type ClippedMean, type ClipRows, clipped, clipRows, packClippedMeans } from '../sampling/clip.js';
import { guided } from '../sampling/sampler.js';
import { type Chunks, equalChunks, rowsOf } from './chunks.js';
import type { Parking } from './parking.js';
import { PictureDecoder } from './pictures.js';
import type { Stage } from './stages.js';
import type { Trajectories } from './trajectories.js';

export interface BatchOptions {
  readonly stage: Stage;
  /** Groups that are drawn together. */
  readonly together: number;
  readonly sampler: Pick<SamplerConfig, 'guidance'>;
  /** Samples in one network call at most. */
  readonly most: number;
  /** Where turns leave their samples, when several are in flight. */
  readonly parking?: Parking | undefined;
  /** The batch of the stage before; absent for the first. */
  readonly before?: RolloutBatch | undefined;
}

/** What the samples of a batch are, a row each, group after group. */
export interface BatchRows {
  /** A sample's noise depends on its key, a pair of u32, and the step alone. */
  readonly keys: readonly number[];
  /** Where each trajectory is stored. */
  readonly slots: readonly number[];
  /** Rows of the prompts' conditions. */
  readonly conditions: readonly number[];
}

/** The tensors of a batch. */
interface State {
  readonly latents: Tensor;
  readonly prediction: Tensor;
  /** u32 [size, 2]: what the noise of each sample is a function of, besides the counter. */
  readonly keys: Tensor;
  /** u32 [size]: rows of the prompts' conditions. */
  readonly conditions: Tensor;
  /** u32 [1]: 0 draws the initial latents, i + 1 the noise of step i. */
  readonly counter: Tensor;
  /** u32 [size]: rows of the store, those of the latents before the step. */
  readonly stored: Tensor;
  /** f32 [size]: what the network is fed. */
  readonly timesteps: Tensor;
  /** f32 [size, 5]: the transition of each sample, or its preview. */
  readonly coefficients: Tensor;
  /** f32 [size, 5]: the clipped mean of each sample's transition or preview, where steps clip. */
  readonly clip: ClipRows | undefined;
  /** u32 [chunk]: the rows of the batch that the network sees together. */
  readonly chunk: Tensor;
  /** u32 [size]: rows of the batch before, or of the parking, that go on in this one. */
  readonly picks: Tensor;
  /** u32 [size]: rows of the parking, where there is one. */
  readonly parked: Tensor | undefined;
}

interface Steps {
  /** The initial latents of the first batch, or what a later one takes of the batch before, or of the parking. */
  readonly enter: Step<void>;
  /** Latents and prediction to the parking, and back. */
  readonly park: Step<void> | undefined;
  readonly resume: Step<void> | undefined;
  /** Latents to prediction, for one chunk. */
  readonly network: Step<void>;
  /** Prediction to the next latents, stored. */
  readonly advance: Step<void>;
  /** Writes the clean samples that the prediction implies into the decoder, or after the last step the latents themselves. */
  readonly show: Step<void> | undefined;
}

export class RolloutBatch {
  private slots: readonly number[] = [];

  private constructor(
    readonly size: number,
    private readonly store: Trajectories,
    private readonly chunks: Chunks,
    private readonly state: State,
    private readonly steps: Steps,
    readonly decoder: PictureDecoder | undefined,
    private readonly parking: Parking | undefined,
  ) {}

  /** Captures the steps of a stage's batch. */
  static create(model: GenerativeModel, store: Trajectories, options: BatchOptions): Promise<RolloutBatch> {
    const { stage, together, most, before, parking } = options;
    const size = together * stage.size;
    const chunks = equalChunks(size, most);
    return owning(async (own) => {
      const state = makeState(model, store, size, chunks, parking, own);
      const decoder = stage.scored === 'nothing' ? undefined : own(await PictureDecoder.create(model, size));
      const captured = async (body: () => void): Promise<Step<void>> =>
        own(await capture(model.device, () => noGrad(body)));
      const from = parking ?? before?.state;
      const enter = await captured(() => (before ? take(state, from!) : start(state, store)));
      const steps: Steps = {
        enter,
        park: parking && (await captured(() => park(state, parking))),
        // What goes on in a later batch comes from the parking anyway.
        resume: parking && (before ? enter : await captured(() => take(state, parking))),
        network: await captured(() => predict(model, store, state, options.sampler)),
        advance: await captured(() => advance(state, store)),
        show: decoder && (await captured(() => show(state, stage, decoder))),
      };
      return new RolloutBatch(size, store, chunks, state, steps, decoder, parking);
    });
  }

  /** Draws the initial latents, with keys of their own. */
  start(rows: BatchRows, keys: readonly number[]): void {
    const { state, store, steps } = this;
    state.keys.write(keys);
    state.counter.write([0]);
    state.stored.write(rows.slots.map((slot) => store.row(0, slot)));
    steps.enter.run();
    this.name(rows);
  }

  /**
   * Takes samples of the batch before, by their rows in it: latents, and the prediction of the step they are at. Where there is
   * a parking they must be in the lane of it.
   */
  take(rows: BatchRows, picks: readonly number[], lane: number): void {
    const { parking, state, steps } = this;
    state.picks.write(parking ? picks.map((place) => parking.row(lane, place)) : picks);
    steps.enter.run();
    this.name(rows);
  }

  /** Leaves latents and prediction in a lane of the parking. */
  park(lane: number): void {
    this.state.parked!.write(this.lane(lane));
    this.steps.park!.run();
  }

  /** Takes back what it left in a lane. */
  resume(rows: BatchRows, lane: number): void {
    this.state.picks.write(this.lane(lane));
    this.steps.resume!.run();
    this.name(rows);
  }

  /** Rows of a lane. */
  private lane(lane: number): number[] {
    return Array.from({ length: this.size }, (_, place) => this.parking!.row(lane, place));
  }

  private name({ keys, slots, conditions }: BatchRows): void {
    this.slots = slots;
    this.state.keys.write(keys);
    this.state.conditions.write(conditions);
  }

  /** Asks the network for the prediction of step i. */
  predict(i: number): void {
    const { state, chunks, steps, store, size } = this;
    state.timesteps.write(Array(size).fill(store.transitions[i]!.timestep));
    for (const start of chunks.starts) {
      state.chunk.write(rowsOf(start, chunks));
      steps.network.run();
    }
  }

  /** Writes the clean samples that the prediction of step i implies into the decoder. */
  preview(i: number): void {
    const { preview, clippedPreview } = this.store.transitions[i]!;
    this.writeCoefficients(preview, clippedPreview);
    this.steps.show!.run();
  }

  /** Takes step i by its prediction: the next latents are stored, and their log probabilities where paths are kept. */
  advance(i: number): void {
    const { state, store, slots, steps } = this;
    const { step, clip } = store.transitions[i]!;
    this.writeCoefficients(step, clip);
    state.counter.write([i + 1]);
    state.stored.write(slots.map((slot) => store.row(i, slot)));
    steps.advance.run();
  }

  /** Writes the latents after the last step into the decoder. */
  finish(): void {
    this.steps.show!.run();
  }

  /** Arithmetic of one sample's network call in FLOP, guidance included; sums and elementwise work are not counted. */
  get flops(): number {
    return forwardFlops(this.steps.network.dispatches) / this.chunks.size;
  }

  /** The same coefficients for every sample. */
  private writeCoefficients(coefficients: GaussianCoefficients, clip: ClippedMean | undefined): void {
    this.state.coefficients.write(packGaussianCoefficients(Array(this.size).fill(coefficients)));
    if (clip) this.state.clip?.rows.write(packClippedMeans(Array(this.size).fill(clip)));
  }

  dispose(): void {
    const { state, steps, decoder } = this;
    const { clip, ...tensors } = state;
    for (const each of [...Object.values(steps), ...Object.values(tensors), clip?.rows, decoder]) each?.dispose();
  }
}

function makeState(
  { device, latentShape }: GenerativeModel,
  { transitions }: Trajectories,
  size: number,
  chunks: Chunks,
  parking: Parking | undefined,
  own: Own,
): State {
  const words = (...shape: readonly number[]): Tensor => own(zeros(device, shape, 'u32'));
  return {
    latents: own(zeros(device, [size, ...latentShape])),
    prediction: own(zeros(device, [size, ...latentShape])),
    keys: words(size, 2),
    conditions: words(size),
    counter: words(1),
    stored: words(size),
    timesteps: own(zeros(device, [size])),
    coefficients: own(zeros(device, [size, gaussianColumns])),
    clip: clipRows(device, size, transitions[0]?.clip, own),
    chunk: words(chunks.size),
    picks: words(size),
    parked: parking && words(size),
  };
}

function start({ latents, keys, counter, stored }: State, store: Trajectories): void {
  const initial = normal(keys, counter, latents.shape);
  assign(latents, initial);
  assignRows(store.latents, stored, initial);
}

function take(to: State, from: Pick<State, 'latents' | 'prediction'>): void {
  for (const name of ['latents', 'prediction'] as const) assign(to[name], indexSelect(from[name], to.picks));
}

function park(from: State, parking: Parking): void {
  for (const name of ['latents', 'prediction'] as const) assignRows(parking[name], from.parked!, from[name]);
}

function predict(model: GenerativeModel, store: Trajectories, state: State, sampler: BatchOptions['sampler']): void {
  const { latents, prediction, timesteps, conditions, chunk } = state;
  const { guidance: scale } = sampler;
  const own = indexSelect(conditions, chunk);
  const none = full(model.device, own.shape, store.unconditional, 'u32');
  const condition = store.conditions.map((rows) => indexSelect(rows, own));
  const unconditional = scale === 1 ? [] : store.conditions.map((rows) => indexSelect(rows, none));
  const [x, times] = [indexSelect(latents, chunk), indexSelect(timesteps, chunk)];
  assignRows(prediction, chunk, guided(model.predict, x, times, condition, { scale, unconditional }));
}

function advance({ latents, prediction, keys, counter, stored, coefficients, clip }: State, store: Trajectories): void {
  const noise = normal(keys, counter, latents.shape);
  const taken = clipped(latents, prediction, clip);
  if (store.keepsPath) {
    const { next, logProb } = gaussianStep(latents, taken, noise, coefficients);
    assignRows(store.latents, add(stored, store.options.slots), next);
    assignRows(store.logProbs, stored, logProb);
    if (store.predictions) assignRows(store.predictions, stored, taken);
    assign(latents, next);
  } else {
    // Written at every step, as one captured step serves them all; the last one stays.
    const next = gaussianNext(latents, taken, noise, coefficients);
    assignRows(store.latents, stored, next);
    assign(latents, next);
  }
}

function show({ latents, prediction, coefficients, clip }: State, { scored }: Stage, decoder: PictureDecoder): void {
  const end = scored === 'finals' ? latents : gaussianMean(latents, clipped(latents, prediction, clip), coefficients);
  assign(decoder.latents, end);
}
