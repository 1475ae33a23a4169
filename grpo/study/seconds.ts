/** What a run of the study takes, so that the whole can be told before it begins. */
import type { RunConfig } from '../config.js';
import { groupCalls, groupPlanOf } from '../cost.js';

/**
 * Seconds of each piece of work of the models that ship, on two cores of an AMD EPYC without a GPU (lavapipe), 2026-11-29: a
 * network call of sampling, a picture decoded and scored, a trajectory's step trained, a picture decoded and scored by all rewards
 * of an evaluation; what a probe takes to capture its steps; and what a run takes besides, to load, compile, save and draw its samples.
 */
const pieces = { call: 0.00045, scored: 0.0013, trained: 0.00115, evaluated: 0.004, probe: 0.5, run: 4 };

/** Seconds of a run by its counts. */
export function secondsOfRun(config: RunConfig): number {
  const { grpo, train, eval: evaluation, sampler } = config;
  const plan = groupPlanOf(config);
  const isPruned = plan.stages.length > 1;
  const { network, previews, finals, trained } = groupCalls(plan);
  const group = network * pieces.call + (previews + finals) * pieces.scored + trained * pieces.trained;
  const evaluations = 1 + (evaluation.every > 0 ? Math.ceil(train.updates / evaluation.every) : 1);
  const calls = (sampler.eval_steps ?? sampler.steps) * pieces.call;
  const evaluating = evaluations * evaluation.n * (calls + pieces.evaluated);
  const probes = isPruned && evaluation.probe_every > 0 ? Math.floor(train.updates / evaluation.probe_every) : 0;
  const full = plan.stages[0]!.size;
  const probing = probes * (pieces.probe + full * (sampler.steps * pieces.call + plan.stages.length * pieces.scored));
  return pieces.run + train.updates * grpo.groups_per_update * group + evaluating + probing;
}
