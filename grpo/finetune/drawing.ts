/** What is drawn with the model as it stands: held-out pictures with their scores, and samples to look at. */

import { type GridRow, rowsOf } from '../../models/pictures/grid.js';
import type { RunConfig } from '../config.js';
import {
  type DrawEvents,
  type Evaluation,
  evaluate,
  evaluationJobs,
  type PictureJob,
  PictureSampler,
  type PictureSamplerOptions,
} from '../evaluate.js';
import type { GenerativeModel } from '../model.js';
import { equalChunks } from '../rollout/chunks.js';
import type { Picture } from '../rollout/pictures.js';
import { callSizeOf, samplesAtOnce } from '../rollout/turns.js';
import { DivergedError } from '../trainer.js';

import { formatReward } from './report/numbers.js';
import { totalName, withTotal } from './run/metrics.js';
import { type Session, weightsOf } from './session.js';

export interface DrawingOptions {
  /** Between two batches the work ends, by the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
  /** In place of this device. */
  readonly elsewhere?: Elsewhere | undefined;
}

/** Draws and scores pictures by the weights as they are, on other machines. */
export interface Elsewhere {
  /**
   * Raw scores of every reported reward where `scored`, and the pictures where `shown`, of jobs in their order. Throws a
   * RewardError, or the signal's reason.
   */
  look(
    jobs: readonly PictureJob[],
    wanted: { readonly scored: boolean; readonly shown: boolean },
    options: Pick<DrawingOptions, 'signal' | 'onProgress'>,
  ): Promise<{ readonly scores: Evaluation; readonly pictures: readonly Picture[] }>;
}

export interface EvaluationOptions extends DrawingOptions {
  /** Pictures. Default `eval.n`. */
  readonly n?: number | undefined;
  /** Of the noise: the same for all that is to be compared. Default 0. */
  readonly seed?: number | undefined;
}

/** Every reported reward, and in front of them their weighted sum, on pictures of the test prompts. */
export async function evaluateHeldOut(session: Session, options: EvaluationOptions = {}): Promise<Evaluation> {
  const { config, prompts, reported } = session;
  const { n = config.eval.n, seed = 0, signal, onProgress, elsewhere } = options;
  const jobs = evaluationJobs(prompts.test, n, seed);
  if (elsewhere) {
    const { scores } = await elsewhere.look(jobs, { scored: true, shown: false }, { signal, onProgress });
    return withTotal(scores, weightsOf(config));
  }
  return withSampler(session, jobs.length, async (sampler, batch) => {
    const scores: Record<string, number[]> = {};
    for (let start = 0; start < jobs.length; start += batch) {
      signal?.throwIfAborted();
      onProgress?.(start, jobs.length);
      const part = await evaluate(sampler, reported, jobs.slice(start, start + batch), { signal });
      for (const [name, values] of Object.entries(part.scores)) scores[name] = [...(scores[name] ?? []), ...values];
    }
    return withTotal(scores, weightsOf(config));
  });
}

/** Draws the sample prompts with the configured seeds: a row for each prompt. */
export async function drawSamples(
  session: Session,
  { signal, onProgress, elsewhere }: DrawingOptions = {},
): Promise<GridRow[]> {
  const { seeds, labels: isLabelled } = session.config.sample;
  const rows = session.prompts.samples;
  const jobs = rows.flatMap((prompt) => seeds.map((seed): PictureJob => ({ prompt, seed })));
  const draw = (): Promise<Picture[]> =>
    withSampler(session, jobs.length, (sampler) =>
      sampler.draw(jobs, {
        onBatch: (batch, start) => {
          signal?.throwIfAborted();
          onProgress?.(start + batch.length, jobs.length);
        },
      }),
    );
  const looked = elsewhere?.look(jobs, { scored: false, shown: true }, { signal, onProgress });
  const pictures = looked ? (await looked).pictures : await draw();
  const captioned = rowsOf(
    rows.map(({ prompt }) => prompt),
    pictures,
  );
  if (!isLabelled) return captioned;
  const { [totalName]: rewards } = withTotal(
    (await session.reported.score(pictures)).byReward,
    weightsOf(session.config),
  );
  const labelOf = (row: number, i: number): string => `${seeds[i]}: ${formatReward(rewards![row * seeds.length + i]!)}`;
  return captioned.map((row, r) => ({ ...row, labels: seeds.map((_, i) => labelOf(r, i)) }));
}

/** `n` pictures of each prompt, drawn as those of evaluations; the first has the seed `seed`, each next one more. */
export function drawPrompts(
  session: Session,
  prompts: readonly string[],
  { n, seed }: { readonly n: number; readonly seed: number },
): Promise<Picture[]> {
  const jobs = prompts.flatMap((prompt, p) =>
    Array.from({ length: n }, (_, i): PictureJob => ({ prompt: { prompt, meta: {} }, seed: seed + p * n + i })),
  );
  return withSampler(session, jobs.length, (sampler) => sampler.draw(jobs));
}

/** How evaluations, grids and `winnow sample` draw by a configuration. */
export function evaluationSampling({ sampler }: Pick<RunConfig, 'sampler'>): Omit<PictureSamplerOptions, 'batch'> {
  const { kind, eval_steps: steps, eval_noise: noise, guidance, eval_guidance } = sampler;
  return { steps, guidance: eval_guidance ?? guidance, ...(noise > 0 && { stochastic: { kind, noise } }) };
}

/**
 * The sampler of evaluations, kept no longer than it is used. As many samples as a rollout draws at once fit here too; in
 * batches of one size, so that few pictures are drawn to fill up the last.
 */
export async function withSampler<R>(
  { config, model }: Pick<Session, 'config' | 'model'>,
  pictures: number,
  body: (sampler: PictureSampler, batch: number) => Promise<R>,
): Promise<R> {
  const most = samplesAtOnce(callSizeOf(model.latentShape, config));
  const { size: batch } = equalChunks(pictures, most);
  const sampler = await PictureSampler.create(model, { ...evaluationSampling(config), batch });
  try {
    return await body(sampler, batch);
  } finally {
    sampler.dispose();
  }
}

/** One picture to make. */
export interface Job {
  readonly prompt: string;
  readonly seed: number;
}

/**
 * Makes pictures; each depends on its prompt and seed alone. Of `batch` pictures, computed at once, `onStep` is told after each
 * step, with those done before. Throws a DivergedError for values that are not finite.
 */
export async function drawJobs(
  model: GenerativeModel,
  jobs: readonly Job[],
  { onStep, batch, ...sampling }: PictureSamplerOptions & Pick<DrawEvents, 'onStep'>,
): Promise<Picture[]> {
  const sampler = await PictureSampler.create(model, { ...sampling, batch: Math.min(batch, jobs.length) });
  try {
    const wanted = jobs.map(({ prompt, seed }): PictureJob => ({ prompt: { prompt, meta: {} }, seed }));
    const pictures = await sampler.draw(wanted, { onStep });
    const bad = pictures.findIndex(({ finite }) => !finite);
    if (bad >= 0) throw new DivergedError(`picture ${bad}, "${jobs[bad]!.prompt}": its values are not finite numbers`);
    return pictures;
  } finally {
    sampler.dispose();
  }
}
