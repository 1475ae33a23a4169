/** A taste from votes: utilities that are linear in features, with a strength for each group chosen by cross-validation. */
import { momentsOf } from '../../learning/advantage.js';
import type { Features, GroupName } from './features.js';
import { groupNames } from './features.js';
import { fitLogistic, type LogisticFit, logLoss, type Matrix, solveLower } from './logistic.js';

/** A vote as the fit sees it. */
export interface ComparedPair {
  readonly left: Features;
  readonly right: Features;
  /** 1 where the left picture was chosen, 0 where the right was, 1/2 for `equal`: half a vote each way. */
  readonly target: 0 | 0.5 | 1;
  /** The same for votes on the same two pictures, which are held out together. */
  readonly pair: string;
}

/** What a taste makes of one group of features: weight . (x - mean) / deviation. */
export interface GroupHead {
  readonly name: GroupName;
  /** The variance over pictures that utilities by this group have beforehand; 0: the group is left out. */
  readonly strength: number;
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
  readonly weights: Float64Array;
}

/** The utility of a picture, of which only differences have a meaning: logits of being preferred. */
export const utilityOf = (groups: readonly GroupHead[], features: Features): number =>
  groups.reduce((total, { name, strength, mean, deviation, weights }) => {
    if (strength === 0) return total;
    const values = features[name]!;
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += (weights[i]! * (values[i]! - mean[i]!)) / deviation[i]!;
    return total + sum;
  }, 0);

/** A fitted taste with what it is sure of. */
export interface Head {
  readonly groups: readonly GroupHead[];
  /** Mean and variance of the difference in utility of two pictures, given the votes (Laplace's approximation). */
  difference(a: Features, b: Features): { readonly mean: number; readonly variance: number };
}

/** A group's features of all votes, standardised over their pictures. */
interface Group {
  readonly name: GroupName;
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
  /** The rows of left less right over deviation and the root of the number of features. */
  readonly rows: readonly Float64Array[];
  /** The products of the rows. */
  readonly gram: Matrix;
}

/** The votes in the form of the fit: which it sees often, as subsets. */
export interface Design {
  readonly groups: readonly Group[];
  readonly targets: readonly number[];
  /** For each vote the number of its pair, in the order in which pairs came. */
  readonly pairs: readonly number[];
}

/** Prepares votes. All have the same groups of features, of the same lengths. */
export function designOf(votes: readonly ComparedPair[]): Design {
  const numbers = new Map<string, number>();
  for (const { pair } of votes) if (!numbers.has(pair)) numbers.set(pair, numbers.size);
  const names = groupNames.filter((name) => votes.every(({ left, right }) => left[name] && right[name]));
  return {
    groups: names.map((name) => groupOf(name, votes)),
    targets: votes.map(({ target }) => target),
    pairs: votes.map(({ pair }) => numbers.get(pair)!),
  };
}

function groupOf(name: GroupName, votes: readonly ComparedPair[]): Group {
  const pictures = votes.flatMap(({ left, right }) => [left[name]!, right[name]!]);
  const count = pictures[0]?.length ?? 0;
  const mean = new Float64Array(count);
  const deviation = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    mean[i] = pictures.reduce((sum, values) => sum + values[i]!, 0) / pictures.length;
    const square = pictures.reduce((sum, values) => sum + (values[i]! - mean[i]!) ** 2, 0);
    deviation[i] = Math.sqrt(square / pictures.length) || 1; // what never changes has no weight
  }
  const rows = votes.map(({ left, right }) => rowOf(left[name]!, right[name]!, deviation));
  const size = rows.length;
  const values = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) values[i * size + j] = values[j * size + i] = product(rows[i]!, rows[j]!);
  return { name, mean, deviation, rows, gram: { size, values } };
}

function rowOf(left: Float64Array, right: Float64Array, deviation: Float64Array): Float64Array {
  const root = Math.sqrt(left.length);
  return left.map((value, i) => (value - right[i]!) / deviation[i]! / root);
}

function product(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The sum of the groups' products for these votes, each times its strength. */
function kernelOf(
  groups: readonly Group[],
  strengths: readonly number[],
  rows: readonly number[],
  columns: readonly number[],
): Float64Array {
  const values = new Float64Array(rows.length * columns.length);
  for (const [g, { gram }] of groups.entries()) {
    const strength = strengths[g]!;
    if (strength === 0) continue;
    let at = 0;
    for (const row of rows)
      for (const column of columns) values[at++]! += strength * gram.values[row * gram.size + column]!;
  }
  return values;
}

/** What the votes of `train` foretell of those of `test`: differences in utility. */
export function foretell(
  { groups, targets }: Design,
  strengths: readonly number[],
  train: readonly number[],
  test: readonly number[],
): number[] {
  const kernel = { size: train.length, values: kernelOf(groups, strengths, train, train) };
  const { dual } = fitLogistic(
    kernel,
    train.map((vote) => targets[vote]!),
  );
  const across = kernelOf(groups, strengths, test, train);
  return test.map((_, t) => product(across.subarray(t * train.length, (t + 1) * train.length), dual));
}

/** Parts that votes are held out in, one after the other. */
export const foldCount = 5;

/** The votes in parts of about equal size, those on one pair together. */
export const foldsOf = (votes: readonly number[], pairs: readonly number[]): number[][] =>
  Array.from({ length: foldCount }, (_, fold) => votes.filter((vote) => pairs[vote]! % foldCount === fold)).filter(
    (part) => part.length > 0,
  );

/** Strengths that are tried: variances of utility, in squares of a logit. */
const grid = [0.05, 0.15, 0.5, 1.5, 5, 15] as const;

/**
 * What a group beside the plain numbers must save of the held-out loss of a vote: so many standard errors of the saving. The best
 * of some twenty tries is above two by chance now and then.
 */
const surely = 2.5;

/**
 * For each group its strength by cross-validation on these votes. The plain numbers come first, as a few dozen votes teach a few
 * dozen numbers best; then each further group that saves so much that it is no chance, the one that saves the most first.
 */
export function chooseStrengths(design: Design, votes: readonly number[]): number[] {
  const folds = foldsOf(votes, design.pairs);
  const places = new Map(votes.map((vote, i) => [vote, i]));
  const lossesOf = (strengths: readonly number[]): number[] => {
    const losses = votes.map(() => 0);
    for (const test of folds) {
      const train = votes.filter((vote) => !test.includes(vote));
      const found = foretell(design, strengths, train, test);
      for (const [i, vote] of test.entries()) losses[places.get(vote)!] = logLoss(found[i]!, design.targets[vote]!);
    }
    return losses;
  };
  let best = { strengths: design.groups.map(() => 0), losses: votes.map(() => Math.log(2)) }; // of knowing nothing
  /** The best of what one of these groups adds, if it saves so many errors at least. */
  const add = (groups: readonly number[], errors: number): boolean => {
    const { strengths, losses } = best;
    let most = 0;
    for (const group of groups) {
      for (const strength of grid) {
        const tried = strengths.map((own, g) => (g === group ? strength : own));
        const found = lossesOf(tried);
        const { mean, low } = savingOf(losses, found, errors);
        if (low > 0 && mean > most) [best, most] = [{ strengths: tried, losses: found }, mean];
      }
    }
    return most > 0;
  };
  const isPlain = (g: number): boolean => design.groups[g]!.name === 'plain';
  const all = design.groups.map((_, g) => g);
  add(all.filter(isPlain), 0);
  while (
    add(
      all.filter((g) => !isPlain(g) && best.strengths[g] === 0),
      surely,
    )
  );
  return best.strengths;
}

/** The mean of before - after, and so many of its standard errors below. */
function savingOf(before: readonly number[], after: readonly number[], errors: number) {
  const { mean, std } = momentsOf(before.map((loss, i) => loss - after[i]!));
  return { mean, low: mean - (errors * std) / Math.sqrt(before.length) };
}

/** Fits a taste to votes, with the strengths that cross-validation on them chooses. */
export function fitHead(votes: readonly ComparedPair[]): Head {
  const design = designOf(votes);
  const all = votes.map((_, i) => i);
  return headOf(design, chooseStrengths(design, all));
}

/** Fits a taste of these strengths to all votes. */
export function headOf({ groups, targets }: Design, strengths: readonly number[]): Head {
  const all = targets.map((_, i) => i);
  const fit = fitLogistic({ size: all.length, values: kernelOf(groups, strengths, all, all) }, targets);
  return {
    groups: groups.map(({ name, mean, deviation, rows }, g) => {
      const weights = new Float64Array(mean.length);
      const factor = strengths[g]! / Math.sqrt(mean.length);
      for (const [vote, row] of rows.entries())
        for (let i = 0; i < weights.length; i++) weights[i]! += factor * fit.dual[vote]! * row[i]!;
      return { name, strength: strengths[g]!, mean, deviation, weights };
    }),
    difference: (a, b) => differenceOf(groups, strengths, fit, a, b),
  };
}

/** Rasmussen and Williams 2006, equations 3.21 and 3.24, for the row of a pair that nobody has voted on. */
function differenceOf(
  groups: readonly Group[],
  strengths: readonly number[],
  { dual, curvature, factor }: LogisticFit,
  a: Features,
  b: Features,
): { readonly mean: number; readonly variance: number } {
  let own = 0;
  const across = new Float64Array(dual.length);
  for (const [g, { name, deviation, rows }] of groups.entries()) {
    if (strengths[g] === 0) continue;
    const row = rowOf(a[name]!, b[name]!, deviation);
    own += strengths[g]! * product(row, row);
    for (const [vote, other] of rows.entries()) across[vote]! += strengths[g]! * product(row, other);
  }
  const solved = solveLower(
    factor,
    across.map((value, i) => Math.sqrt(curvature[i]!) * value),
  );
  return { mean: product(across, dual), variance: Math.max(0, own - product(solved, solved)) };
}
