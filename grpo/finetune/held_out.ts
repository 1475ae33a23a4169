/** What is drawn with the model as it stands: held-out pictures with their scores, and samples to look at. */

import { type GridRow, rowsOf } from '../../models/pictures/grid.js';
import type { RunConfig } from '../config.js';
import {
  type Evaluation,
  evaluate,
  evaluationJobs,
  type PictureJob,
  PictureSampler,
  type PictureSamplerOptions,
} from '../evaluate.js';
import { equalChunks } from '../rollout/chunks.js';
import { callSizeOf, samplesAtOnce } from '../rollout/turns.js';
import { withTotal } from './run/metrics.js';
import { type Session, weightsOf } from './session.js';

export interface DrawingOptions {
  /** Between two batches the work ends, by the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
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
  const { n = config.eval.n, seed = 0, signal, onProgress } = options;
  const jobs = evaluationJobs(prompts.test, n, seed);
  return withSampler(session, jobs.length, async (sampler, batch) => {
    const scores: Record<string, number[]> = {};
    for (let start = 0; start < jobs.length; start += batch) {
      signal?.throwIfAborted();
      onProgress?.(start, jobs.length);
      const part = await evaluate(sampler, reported, jobs.slice(start, start + batch));
      for (const [name, values] of Object.entries(part.scores)) scores[name] = [...(scores[name] ?? []), ...values];
    }
    return withTotal(scores, weightsOf(config));
  });
}

/** Draws the sample prompts with the configured seeds: a row for each prompt. */
export async function drawSamples(session: Session, { signal, onProgress }: DrawingOptions = {}): Promise<GridRow[]> {
  const { seeds } = session.config.sample;
  const rows = session.prompts.samples;
  const jobs = rows.flatMap((prompt) => seeds.map((seed): PictureJob => ({ prompt, seed })));
  const pictures = await withSampler(session, jobs.length, (sampler) =>
    sampler.draw(jobs, {
      onBatch: (batch, start) => {
        signal?.throwIfAborted();
        onProgress?.(start + batch.length, jobs.length);
      },
    }),
  );
  return rowsOf(
    rows.map(({ prompt }) => prompt),
    pictures,
  );
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
async function withSampler<R>(
  { config, model }: Session,
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
