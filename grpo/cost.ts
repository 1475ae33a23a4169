/** What a run costs, counted before it runs: network calls, decodes, trained steps, and their arithmetic (Pro-GRPO, table 4). */
import type { GrpoConfig, SamplerConfig } from './config.js';
import { isForward, keepsPredictions, trainedRowCount } from './learning/losses.js';
import { type Stage, type StageConfig, stagesOf, survivorsOf, wholeGroup } from './rollout/stages.js';

/** How one group is sampled and trained, as far as that costs anything. */
export interface GroupPlan {
  /** Denoising steps of a trajectory, T. */
  readonly steps: number;
  readonly stages: readonly Stage[];
  /** Steps of each survivor that are trained, or draws of the forward process. */
  readonly trainedSteps: number;
  /** Where rows of the forward process are trained, what they cost. */
  readonly forward?: ForwardCost;
}

/** What makes a row of the forward process cheaper, or dearer, than a step of a path. */
export interface ForwardCost {
  /** Its network call in those of sampling: half where guidance asks twice there, as training has no guidance. */
  readonly call: number;
  /** The prediction before the rollout's first optimizer step is kept, which is a forward of its own. */
  readonly kept: boolean;
}

/** The plan that a run's configuration stands for. Throws a CheckError for keys that contradict each other. */
export const groupPlanOf = (config: { readonly sampler: SamplerConfig; readonly grpo: GrpoConfig }): GroupPlan => ({
  steps: config.sampler.steps,
  stages: stagesOf(config),
  trainedSteps: trainedRowCount(config),
  ...forwardOf(config),
});

function forwardOf({ sampler, grpo }: CostKeys): Pick<RowCost, 'forward'> {
  if (!isForward(grpo.loss)) return {};
  return { forward: { call: sampler.guidance === 1 ? 1 : 1 / 2, kept: keepsPredictions(grpo) } };
}

/** The same group without selection: every trajectory runs to its end and is trained. */
export const fullGroup = (plan: GroupPlan): GroupPlan => ({
  ...plan,
  stages: stagesOf({ sampler: { steps: plan.steps }, grpo: wholeGroup(plan.stages[0]!.size) }),
});

/** Counts for one group. A call is one sample at one step; guidance's second half is not counted apart. */
export interface GroupCalls {
  /** Network calls of sampling. A preview costs none: it uses the prediction that its step makes anyway. */
  readonly network: number;
  /** Pictures decoded and scored in the middle of sampling, and at its end. */
  readonly previews: number;
  readonly finals: number;
  /** Trajectories that are trained. */
  readonly survivors: number;
  /** Steps of trajectories, or draws, that are trained: survivors x those of each. */
  readonly trained: number;
}

/**
 * Counts a group's calls. Those who stop before a step have had that step's call and take no further one: with selections
 * before steps 5 and 7 of 10, 24 -> 16 -> 12 makes 24 x 6 + 16 x 2 + 12 x 2 = 200 calls.
 */
export function groupCalls({ stages, trainedSteps }: GroupPlan): GroupCalls {
  const scored = (what: Stage['scored']): number =>
    stages.reduce((sum, stage) => sum + (stage.scored === what ? stage.size : 0), 0);
  const survivors = survivorsOf(stages);
  return {
    network: stages.reduce((sum, { size, from, to }) => sum + size * (to - from), 0),
    previews: scored('previews'),
    finals: scored('finals'),
    survivors,
    trained: survivors * trainedSteps,
  };
}

/** Arithmetic of a call and of a decode, in one unit. */
export interface AtomicCosts {
  /** One network call for one sample; with guidance both halves. */
  readonly network: number;
  /** Decoding and scoring one picture. */
  readonly decode: number;
}

export interface GroupCost {
  readonly sampling: number;
  readonly decoding: number;
  readonly training: number;
  readonly total: number;
}

/** The keys that the arithmetic of a trained row depends on. */
interface CostKeys {
  readonly sampler: Pick<SamplerConfig, 'guidance'>;
  readonly grpo: Pick<GrpoConfig, 'loss' | 'kl' | 'updates_per_rollout'>;
}

/** What the arithmetic of a trained row consists of, besides its forward and backward. */
export interface RowCost {
  /** The loss has a divergence from the reference policy. */
  readonly reference: boolean;
  readonly forward?: ForwardCost;
}

export const rowCostOf = (config: CostKeys): RowCost => ({ reference: config.grpo.kl > 0, ...forwardOf(config) });

/**
 * A trained row in network calls of sampling: the forward, a backward of twice its arithmetic, the reference's forward, and that of
 * the kept prediction.
 */
export const trainingCalls = ({ reference, forward: { call, kept } = { call: 1, kept: false } }: RowCost): number =>
  (3 + (reference ? 1 : 0) + (kept ? 1 : 0)) * call;

/** The arithmetic of one group. `reference`: whether the loss has a divergence from the reference policy. */
export function groupCost(plan: GroupPlan, { network, decode }: AtomicCosts, reference: boolean): GroupCost {
  const calls = groupCalls(plan);
  const sampling = calls.network * network;
  const decoding = (calls.previews + calls.finals) * decode;
  const training = calls.trained * trainingCalls({ ...plan, reference }) * network;
  return { sampling, decoding, training, total: sampling + decoding + training };
}

/**
 * Atomic costs of Stable Diffusion 3.5 Medium at 512 x 512 in TFLOP (Pro-GRPO, table 4): a network call is printed as
 * 3.88; the decode with its reward is what the printed totals allow, 2.82039, and not the printed sum, 2.83.
 */
export const paperCosts: AtomicCosts = { network: 3.88, decode: 2.82039 };

/** Groups that table 4 counts. */
export const paperGroups = 96;

/** A group of ten steps, all of which are trained. */
function tenSteps(grpo: StageConfig['grpo']): GroupPlan {
  const sampler = { steps: 10 };
  return { ...sampler, stages: stagesOf({ sampler, grpo }), trainedSteps: 10 };
}

/** The methods of table 4. */
export const paperMethods: readonly { readonly name: string; readonly plan: GroupPlan }[] = [
  { name: 'Flow-GRPO', plan: tenSteps(wholeGroup(24)) },
  { name: 'Pro-GRPO Standard', plan: tenSteps({ keep: [48, 24, 12], prune_at: [5, 7], prune: 'ovf' }) },
  { name: 'Pro-GRPO Flash', plan: tenSteps({ keep: [24, 16, 12], prune_at: [5, 7], prune: 'ovf' }) },
];

/** One method of table 4. */
export interface CostRow {
  readonly name: string;
  readonly calls: GroupCalls;
  /** TFLOP for all groups. */
  readonly total: number;
  /** The first method's total over this one's. */
  readonly ratio: number;
  /** 1 + the share saved, which the paper prints as a speed-up. */
  readonly printedRatio: number;
}

/** Table 4, computed: `paperGroups` groups of each method with every step trained and a reference policy. */
export function table4(costs: AtomicCosts = paperCosts): CostRow[] {
  const totals = paperMethods.map(({ plan }) => paperGroups * groupCost(plan, costs, true).total);
  return paperMethods.map(({ name, plan }, i) => ({
    name,
    calls: groupCalls(plan),
    total: totals[i]!,
    ratio: totals[0]! / totals[i]!,
    printedRatio: 2 - totals[i]! / totals[0]!,
  }));
}
