/** Whether votes agree with one another: what a taste fitted to some of them says of the others. */
import { setImmediate as breath } from 'node:timers/promises';
import { chooseStrengths, type Design, foldsOf, foretell } from './fit.js';

/** How many of the held-out votes a taste agreed with. Votes for `equal` have no side and are not asked about. */
export interface Agreement {
  readonly agree: number;
  readonly of: number;
  /** Wilson's 95 % interval of the share. */
  readonly low: number;
  readonly high: number;
}

export interface AgreementGrowth extends Agreement {
  /** Of the first so many votes. */
  readonly votes: number;
}

/** The agreement on all votes, and how it grew with them. */
export interface AgreementReport extends Agreement {
  readonly history: readonly AgreementGrowth[];
}

const z = 1.959963984540054; // of a normal distribution, 95 %

/** Wilson's interval of a share (Wilson 1927): of 0 of 0 it is all there is. */
export function wilson(agree: number, of: number): Agreement {
  if (of === 0) return { agree, of, low: 0, high: 1 };
  const share = agree / of;
  const centre = share + z ** 2 / (2 * of);
  const half = z * Math.sqrt((share * (1 - share)) / of + z ** 2 / (4 * of ** 2));
  const whole = 1 + z ** 2 / of;
  return { agree, of, low: Math.max(0, (centre - half) / whole), high: Math.min(1, (centre + half) / whole) };
}

/**
 * The agreement on held-out votes by cross-validation: each part is foretold by the others, strengths included, so that nothing
 * of it is known beforehand. What is foretold as exactly equal counts as half.
 */
export function agreementOf(design: Design, votes: readonly number[]): Agreement {
  const parts = judging(design, votes);
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}

/** The same, part by part. */
function* judging(design: Design, votes: readonly number[]): Generator<undefined, Agreement, undefined> {
  let [agree, of] = [0, 0];
  for (const test of foldsOf(votes, design.pairs)) {
    const train = votes.filter((vote) => !test.includes(vote));
    const found = foretell(design, chooseStrengths(design, train), train, test);
    for (const [i, vote] of test.entries()) {
      const side = design.targets[vote]! - 0.5;
      if (side === 0) continue;
      of++;
      agree += found[i] === 0 ? 0.5 : Number(found[i]! > 0 === side > 0);
    }
    yield;
  }
  return wilson(agree, of);
}

/** The same; between two parts others of this process have their turn, as a page's server that has to answer. */
async function patiently(design: Design, votes: readonly number[]): Promise<Agreement> {
  const parts = judging(design, votes);
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
    await breath();
  }
}

/** Votes from which on a taste is fitted. */
export const fewestVotes = 20;
const step = 10;
/** Entries of a history at most: with many votes it is looked at less often. */
const mostEntries = 8;

/** The agreement of all votes and of the first 20, 30, 40 and so on. */
export async function agreementReport(design: Design): Promise<AgreementReport> {
  const count = design.targets.length;
  const all = design.targets.map((_, i) => i);
  const between = step * Math.max(1, Math.ceil((count - fewestVotes) / step / mostEntries));
  const history: AgreementGrowth[] = [];
  for (let votes = fewestVotes; votes < count; votes += between)
    history.push({ votes, ...(await patiently(design, all.slice(0, votes))) });
  const last = await patiently(design, all);
  return { ...last, history: [...history, { votes: count, ...last }] };
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;

/** `71 % of 60 held-out votes (95 % interval: 59 % to 81 %)`. */
export const agreementText = ({ agree, of, low, high }: Agreement): string =>
  `${percent(of && agree / of)} of ${of} held-out votes (95 % interval: ${percent(low)} to ${percent(high)})`;

/** `after 20 votes 60 %, after 40 70 %`; empty where there are no more votes than the fewest. */
export const growthText = ({ history }: AgreementReport): string =>
  history.length < 2
    ? ''
    : history
        .map(({ votes, agree, of }, i) => `after ${votes}${i === 0 ? ' votes' : ''} ${percent(of && agree / of)}`)
        .join(', ');

/** Why a taste is nothing to train by yet; undefined where its agreement is above chance. */
export function doubtOf({ agree, of, low, history }: AgreementReport): string | undefined {
  const votes = history.at(-1)?.votes ?? 0;
  if (votes < fewestVotes) return `there are ${votes} votes, expected at least ${fewestVotes}: rate more`;
  if (low > 0.5) return undefined;
  const share = percent(of && agree / of);
  return `your votes do not agree with one another yet (${share} of ${of} held-out pairs; chance is 50 %): rate more`;
}
