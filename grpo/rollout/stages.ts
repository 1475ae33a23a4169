/**
 * The stages of a group: what the keys grpo.keep, grpo.prune_at and grpo.prune mean. The rollout draws by them, costs are
 * counted by them, and the plan prints them.
 */
import { CheckError } from '../../engine/errors.js';
import type { GrpoConfig, Prune, SamplerConfig } from '../config.js';

/** How a selection chooses: by the largest variance of rewards, half lowest and half highest, or without regard to them. */
export type SelectionRule = 'ovf' | 'extremes' | 'uniform';

/** A selection among the samples of a group. */
export interface StageSelection {
  readonly rule: SelectionRule;
  /** How many samples go on, or are trained after the last step. */
  readonly count: number;
  /** The step that only the selected take, by its number from 0; the number of steps where final rewards decide. */
  readonly step: number;
}

/** A stretch of sampling in which a group has one size. */
export interface Stage {
  readonly size: number;
  /** Its samples have the network calls of the steps `from` to `to`, `to` excluded. */
  readonly from: number;
  readonly to: number;
  /**
   * What is decoded and scored at its end: the clean samples that the last network call implies, or final pictures. In the
   * last stage these always are.
   */
  readonly scored: 'nothing' | 'previews' | 'finals';
  /** The selection at its end; absent where all samples go to the training. */
  readonly selection?: StageSelection;
}

/** The keys that stages follow from. */
export interface StageConfig {
  readonly sampler: Readonly<Pick<SamplerConfig, 'steps'>>;
  readonly grpo: Pick<GrpoConfig, 'prune'> & { readonly [key in 'keep' | 'prune_at']: readonly number[] };
}

const rules: Readonly<Record<Exclude<Prune, 'none'>, SelectionRule>> = {
  ovf: 'ovf',
  'ovf-after': 'ovf',
  'best-of-n': 'extremes',
  uniform: 'uniform',
};

/** The keys of a group that nobody thins. */
export const wholeGroup = (size: number) =>
  ({ keep: [size], prune_at: [], prune: 'none' }) satisfies StageConfig['grpo'];

/** The stages of a group, one or more. Throws a CheckError for keys that contradict each other. */
export function stagesOf(config: StageConfig): Stage[] {
  const problems = stageProblems(config);
  if (problems.length > 0) throw new CheckError(problems.map(({ key, message }) => `${key}: ${message}`).join('; '));
  const { keep, prune_at: at, prune } = config.grpo;
  const { steps } = config.sampler;
  return keep.slice(0, at.length + 1).map((size, i): Stage => {
    const step = at[i] ?? steps;
    const isLast = i === at.length;
    const [from, to] = [i === 0 ? 0 : at[i - 1]! + 1, isLast ? steps : step + 1];
    if (prune === 'none') return { size, from, to, scored: 'finals' };
    const count = keep[i + 1];
    const selection = count === undefined ? {} : { selection: { rule: rules[prune], count, step } };
    return { size, from, to, scored: isLast ? 'finals' : prune === 'uniform' ? 'nothing' : 'previews', ...selection };
  });
}

/** The sizes that a group has one after the other, that of its survivors last. */
export const sizesOf = (stages: readonly Stage[]): number[] => [
  ...stages.map(({ size }) => size),
  ...stages.slice(-1).flatMap(({ selection }) => (selection ? [selection.count] : [])),
];

/** The samples of a group that are trained on. */
export const survivorsOf = (stages: readonly Stage[]): number => sizesOf(stages).at(-1)!;

/** The steps before which a group shrinks, rising; a selection after the last step is not among them. */
export const pruneSteps = (stages: readonly Stage[]): number[] =>
  stages.slice(0, -1).flatMap(({ selection }) => (selection ? [selection.step] : []));

/** A key of a configuration whose value contradicts others, and what was expected and found. */
export interface StageProblem {
  readonly key: 'grpo.keep' | 'grpo.prune_at';
  readonly message: string;
}

/** What the keys of the stages have wrong together; an empty list where stagesOf() accepts them. */
export function stageProblems({
  sampler: { steps },
  grpo: { keep, prune_at: at, prune },
}: StageConfig): StageProblem[] {
  const problems: StageProblem[] = [];
  const expect = (condition: boolean, key: StageProblem['key'], message: string): void => {
    if (!condition) problems.push({ key, message });
  };
  const [counts, prunedAt] = [keep, at].map((list) => `[${list.join(', ')}]`);
  const rises = (list: readonly number[], least: number): boolean =>
    list.every((value, i) => Number.isInteger(value) && value >= least && (i === 0 || value > list[i - 1]!));
  expect(keep.length > 0, 'grpo.keep', 'expected the size of the group, found an empty list');
  expect(rises(keep.toReversed(), 1), 'grpo.keep', `expected falling counts, found ${counts}`);
  expect(rises(at, 0), 'grpo.prune_at', `expected rising steps, found ${prunedAt}`);
  expect(
    at.every((step) => step < steps),
    'grpo.prune_at',
    `expected steps below sampler.steps (0 to ${steps - 1}), found ${prunedAt}`,
  );
  if (prune === 'none') {
    expect(at.length === 0, 'grpo.prune_at', `prune: none has no selections: expected [], found ${prunedAt}`);
    expect(keep.length === 1, 'grpo.keep', `prune: none keeps the whole group: expected one count, found ${counts}`);
  } else if (prune === 'ovf-after' || prune === 'best-of-n') {
    expect(
      at.length === 0,
      'grpo.prune_at',
      `prune: ${prune} selects by final rewards: expected [], found ${prunedAt}`,
    );
    expect(keep.length === 2, 'grpo.keep', `prune: ${prune} needs two counts (drawn, then kept), found ${counts}`);
    expect(
      prune !== 'best-of-n' || keep.at(-1)! % 2 === 0,
      'grpo.keep',
      `prune: best-of-n keeps as many of the lowest as of the highest rewards: expected an even count last, found ${counts}`,
    );
  } else {
    const atEnd = prune === 'uniform' && keep.length === at.length + 2;
    expect(keep.length > 1, 'grpo.keep', `prune: ${prune} needs two counts or more, found ${counts}`);
    expect(
      atEnd || keep.length === at.length + 1,
      'grpo.prune_at',
      `${at.length} ${at.length === 1 ? 'selection needs' : 'selections need'} ${at.length + 1} counts in grpo.keep (start, then one each); found ${keep.length}`,
    );
  }
  return problems;
}
