/** What a run of the study has measured, read from its folder. */

import { RunFolder } from '../finetune/run/folder.js';
import { type EvaluationRecord, totalName, type UpdateRecord } from '../finetune/run/metrics.js';
import { captionsOfSet, type PromptSet, promptSets } from './recipe.js';
import { meanOf } from './statistics.js';

/** An evaluation, and what the run had cost by then. */
export interface EvaluationPoint {
  readonly update: number;
  /** Network calls of sampling; FLOP of sampling, decoding and training; seconds of the updates alone, by the clock (clock.ts). */
  readonly calls: number;
  readonly flops: number;
  readonly seconds: number;
  /** By reward and set of captions: a value for each caption, the mean of its pictures. */
  readonly scores: Readonly<Record<string, Readonly<Record<PromptSet, readonly number[]>>>>;
}

export interface RunOutcome {
  /** The method's name. */
  readonly name: string;
  readonly seed: number;
  /** Updates that were to be done; a run that diverged has done fewer. */
  readonly of: number;
  readonly updates: readonly UpdateRecord[];
  /** By the clock (clock.ts). */
  readonly secondsOfUpdate: number;
  readonly evaluations: readonly EvaluationPoint[];
}

/** Reads what a finished run of a method has recorded. */
export async function readOutcome(
  folder: string,
  { name, seed, secondsOfUpdate }: Pick<RunOutcome, 'name' | 'seed' | 'secondsOfUpdate'>,
): Promise<RunOutcome> {
  const run = await RunFolder.open(folder);
  const updates = await run.read<UpdateRecord>('metrics');
  const evaluations = await run.read<EvaluationRecord>('evaluations');
  const points = evaluations.map((record) => pointOf(record, updates, secondsOfUpdate));
  return { name, seed, of: run.info.of, updates, secondsOfUpdate, evaluations: points };
}

function pointOf(
  { update, scores }: EvaluationRecord,
  updates: readonly UpdateRecord[],
  secondsOfUpdate: number,
): EvaluationPoint {
  const last = updates.findLast((record) => record.update <= update);
  const named = Object.entries(scores).filter(([name]) => name !== totalName);
  return {
    update,
    calls: last?.['total/calls'] ?? 0,
    flops: last?.['total/flops'] ?? 0,
    seconds: update * secondsOfUpdate,
    scores: Object.fromEntries(named.map(([name, values]) => [name, captionMeans(values)])),
  };
}

/** The mean of each caption's pictures. Pictures pass through the captions in turn, held-out ones at even places. */
export function captionMeans(values: readonly number[]): Record<PromptSet, number[]> {
  const captions = promptSets.length * captionsOfSet;
  const places = Array.from({ length: Math.min(captions, values.length) }, (_, i) => i);
  const means = places.map((place) => meanOf(values.filter((_, i) => i % captions === place)));
  const [heldOut, training] = promptSets.map((_, set) => means.filter((_, i) => i % promptSets.length === set));
  return { heldOut: heldOut!, training: training! };
}
