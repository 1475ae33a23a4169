/** `winnow plan`: what a run will compute, keep in memory and take, before it starts. */
import { ModelFileError } from '../../../models/files/errors.js';
import type { RunConfig } from '../../config.js';
import {
  type AtomicCosts,
  fullGroup,
  type GroupCalls,
  type GroupPlan,
  groupCalls,
  groupCost,
  groupPlanOf,
  paperCosts,
  paperGroups,
  paperMethods,
} from '../../cost.js';
import { preparing } from '../errors.js';
import { modelFolder } from '../policy.js';
import { type MemoryPart, type RunSizes, sizesOfRun } from './memory.js';
import { type Probe, probe } from './probe.js';

export interface PlanOptions {
  /** TFLOP of a network call and of a decode with its reward; by default the probe's. */
  readonly costs?: AtomicCosts;
  /** Load the model and measure. */
  readonly probe?: boolean;
  /** Part of an adapter's name, for the probe. */
  readonly device?: string;
}

/** Arithmetic in TFLOP, against a baseline. */
export interface CostComparison {
  readonly costs: AtomicCosts;
  readonly groups: number;
  readonly total: number;
  readonly baseline: number;
  /** baseline / total: how many times less. */
  readonly ratio: number;
}

export interface PlanReport {
  readonly config: RunConfig;
  /** Counts of a group, and of the same group without selection. */
  readonly group: GroupCalls;
  readonly full: GroupCalls;
  readonly groupsPerUpdate: number;
  readonly updates: number;
  /** Arithmetic of an update against the full group's, where the costs of the parts are known. */
  readonly update?: CostComparison & { readonly source: 'given' | 'counted' };
  /** Network calls of the full group's sampling and training over this one's: arithmetic without decodes. */
  readonly callRatio: number;
  /**
   * The same selection by the count of the paper's table 4: its atomic costs and groups, every step trained, against
   * Flow-GRPO's 24. Absent where a trajectory has another number of steps than there.
   */
  readonly paper?: CostComparison;
  /** What stays on the GPU; absent where the model folder can't be read. */
  readonly memory?: readonly MemoryPart[];
  /** Values that learn, f32; absent where the model folder can't be read. */
  readonly learned?: number;
  readonly probe?: Probe;
  /** Seconds of an update by the probe, without rewards. */
  readonly secondsPerUpdate?: number;
  readonly warnings: readonly string[];
}

function compare(
  plan: GroupPlan,
  baseline: GroupPlan,
  costs: AtomicCosts,
  reference: boolean,
  groups: number,
): CostComparison {
  const total = groups * groupCost(plan, costs, reference).total;
  const other = groups * groupCost(baseline, costs, reference).total;
  return { costs, groups, total, baseline: other, ratio: other / total };
}

const flowGrpo = paperMethods[0]!.plan;

/** Plans a run. Without `probe` nothing is loaded and no adapter is needed. */
export const plan = (config: RunConfig, options: PlanOptions = {}): Promise<PlanReport> =>
  preparing(() => planned(config, options));

async function planned(config: RunConfig, options: PlanOptions): Promise<PlanReport> {
  const { grpo, train } = config;
  const own = groupPlanOf(config);
  const full = fullGroup(own);
  const calls = groupCalls(own);
  const everyStep = { steps: own.steps, stages: own.stages, trainedSteps: own.steps };
  const measured = options.probe ? await probe(config, options.device) : undefined;
  const costs = options.costs ?? measured?.costs;
  const { kept, warnings } = await readMemory(config);
  const groups = grpo.groups_per_update;
  const seconds =
    measured &&
    groups *
      (calls.network * measured.seconds.call +
        (calls.previews + calls.finals) * measured.seconds.decode +
        calls.trained * measured.seconds.trained);
  return {
    config,
    group: calls,
    full: groupCalls(full),
    groupsPerUpdate: groups,
    updates: train.updates,
    ...(costs && {
      update: {
        ...compare(own, full, costs, grpo.kl > 0, groups),
        source: options.costs ? ('given' as const) : ('counted' as const),
      },
    }),
    callRatio: compare(own, full, { network: 1, decode: 0 }, grpo.kl > 0, 1).ratio,
    ...(own.steps === flowGrpo.steps && { paper: compare(everyStep, flowGrpo, paperCosts, true, paperGroups) }),
    ...(kept && { memory: kept.parts, learned: kept.learned }),
    ...(measured && { probe: measured, secondsPerUpdate: seconds! }),
    warnings,
  };
}

async function readMemory(config: RunConfig): Promise<{ kept?: RunSizes; warnings: string[] }> {
  try {
    const warnings: string[] = [];
    const kept = await sizesOfRun(modelFolder(config.model.path), config, (message) => warnings.push(message));
    return { kept, warnings };
  } catch (error) {
    if (!(error instanceof ModelFileError)) throw error;
    return { warnings: [`no memory by part: ${error.message}`] };
  }
}
