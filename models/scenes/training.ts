/** The loop of all pretraining: steps that can be stopped and resumed without a trace. */

import { check } from '../../engine/errors.js';
import {
  AdamW,
  type AdamWOptions,
  CheckError,
  type Device,
  type EMA,
  emaDecay,
  moveTogether,
  type Step,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { type FileTensor, writeSafetensors } from '../../engine/safetensors.js';
import { formatShape, sameShape } from '../../engine/tensor/shape.js';
import type { Parameter, Parameters } from '../blocks/parameters.js';
import { openWeights, readable } from '../files/weight_files.js';
import { fileTensor } from '../files/weights.js';
import { type Random, randomStream } from './random.js';

/** Where a training stands, kept in one file. */
export interface CheckpointOptions {
  readonly path: string;
  /** Go on from the file instead of from the beginning. More steps than it was made for lengthen the schedule of the rate. */
  readonly resume: boolean;
  /** Write it after so many steps. */
  readonly every: number;
}

/** What all pretraining commands have in common. */
export interface TrainingOptions {
  readonly steps: number;
  readonly seed: number;
  /** Called after every step with its loss. */
  readonly onStep?: (step: number, loss: number) => void | Promise<void>;
  readonly checkpoint?: CheckpointOptions;
  /** Ends the training after the step at hand, its checkpoint written. */
  readonly signal?: AbortSignal;
}

/** One training: its state on the GPU, and how a step is fed. */
export interface Training {
  /** Names what is trained and how: a checkpoint of another training is refused. */
  readonly identity: Readonly<Record<string, string | number>>;
  readonly parameters: Pick<Parameters, 'all'>;
  readonly optimizer: AdamW;
  readonly ema?: { readonly average: EMA; readonly decay: number };
  readonly step: Step<{ loss: Tensor }>;
  /** Peak learning rate. */
  readonly lr: number;
  /** Writes the inputs of step i (0-based), a function of i and the number of steps alone. */
  feed(i: number): void;
}

/** Has weights learn, side by side in memory, by AdamW with gradients of a norm of 1 at most. */
export function learning(
  parameters: readonly Parameter[],
  options: Pick<AdamWOptions, 'lr' | 'betas' | 'weightDecay'>,
): { readonly weights: readonly Tensor[]; readonly optimizer: AdamW } {
  const weights = parameters.map(({ tensor: weight }) => weight.requireGrad());
  moveTogether(weights);
  return { weights, optimizer: new AdamW(weights, { ...options, maxGradNorm: 1 }) };
}

/** AdamW's settings for networks that read. */
export const readerSettings = { betas: [0.9, 0.98], weightDecay: 1e-2 } as const;

/** The random numbers that step i is fed with. */
export const stepStream = (seed: number, i: number): Random =>
  randomStream(Math.imul(seed, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca77));

/** Keys of the GPU's noise for `batch` samples, u32 [batch, 2]; the counter is the step. */
export const noiseKeys = (device: Device, batch: number, seed: number): Tensor =>
  tensor(device, Array.from({ length: batch }, (_, i) => [i, seed]).flat(), [batch, 2], 'u32');

/** The learning rate of a step: a linear rise over the first 2 %, then a cosine to zero. */
export function scheduledRate(step: number, steps: number, peak: number): number {
  const rise = Math.max(1, Math.round(0.02 * steps));
  if (step < rise) return (peak * (step + 1)) / rise;
  return 0.5 * peak * (1 + Math.cos((Math.PI * (step - rise)) / Math.max(1, steps - rise)));
}

/** Runs the steps that are left. Returns how many have been taken in all: `steps`, unless the signal ended it. */
export async function runTraining(training: Training, options: TrainingOptions): Promise<number> {
  const { optimizer, ema, step, lr } = training;
  const { steps, onStep, checkpoint, signal } = options;
  let done = checkpoint?.resume ? await readCheckpoint(training, checkpoint.path) : 0;
  while (done < steps && !signal?.aborted) {
    training.feed(done);
    optimizer.lr.write([scheduledRate(done, steps, lr)]);
    ema?.average.decay.write([emaDecay(done, ema.decay)]);
    step.run();
    done++;
    const loss = await step.outputs.loss.item();
    if (!Number.isFinite(loss)) throw new CheckError(`pretrain: the loss of step ${done} is ${loss}`);
    await onStep?.(done, loss);
    if (checkpoint && (done % checkpoint.every === 0 || done === steps || signal?.aborted)) {
      await writeCheckpoint(training, checkpoint.path, done);
    }
  }
  return done;
}

/** Every tensor that the next step depends on, by name. */
function stateOf({ parameters, optimizer, ema }: Training): Map<string, Tensor> {
  return new Map([
    ...parameters.all.map(({ name, tensor }): [string, Tensor] => [`weights.${name}`, tensor]),
    ...Object.entries(optimizer.stateTensors()).map(([name, tensor]): [string, Tensor] => [
      `optimizer.${name}`,
      tensor,
    ]),
    ...(ema?.average.averages ?? []).map((tensor, i): [string, Tensor] => [`ema.${i}`, tensor]),
  ]);
}

async function writeCheckpoint(training: Training, path: string, done: number): Promise<void> {
  const tensors: Record<string, FileTensor> = {};
  for (const [name, tensor] of stateOf(training)) {
    tensors[name] =
      tensor.dtype === 'u32'
        ? { dtype: 'U32', shape: tensor.shape, data: async () => Uint32Array.from(await tensor.data()) }
        : fileTensor(tensor, 'F32');
  }
  await writeSafetensors(path, tensors, { step: String(done), training: JSON.stringify(training.identity) });
}

/** Restores the state and returns the steps taken. */
async function readCheckpoint(training: Training, path: string): Promise<number> {
  const file = await openWeights(path);
  try {
    const expected = JSON.stringify(training.identity);
    if (file.metadata.training !== expected) {
      throw new CheckError(`${path}: a checkpoint of ${file.metadata.training}, expected one of ${expected}`);
    }
    const step = Number(file.metadata.step);
    check(Number.isSafeInteger(step) && step >= 0, `${path}: step is ${file.metadata.step}, expected a whole number`);
    await readable(path, async () => {
      for (const [name, tensor] of stateOf(training)) {
        const { shape } = file.entry(name);
        check(
          sameShape(shape, tensor.shape),
          `${name} is ${formatShape(shape)}, expected ${formatShape(tensor.shape)}`,
        );
        tensor.write((await file.read(name)) as Float32Array);
      }
    });
    return step;
  } finally {
    await file.close();
  }
}
