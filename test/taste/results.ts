/** What is known of voters so far, bench/results/taste.json, an entry a voter and seed; and as a table. */
import { readFile } from 'node:fs/promises';
import { exists, writeWhole } from '../../engine/files.js';
import { type Estimate, estimateMean } from '../../grpo/evaluate.js';
import type { AgreementReport } from '../../grpo/finetune/taste/agreement.js';

export interface Fresh {
  /** Share of pairs of one prompt that the taste puts in the order of the true utility, and of pictures of any two prompts. */
  readonly ofOnePrompt: number;
  readonly ofAny: number;
}

export interface VoterResult {
  readonly voter: string;
  readonly seed: number;
  readonly votes: number;
  readonly heldOutVotes: AgreementReport;
  readonly strengths: Readonly<Record<string, number>>;
  readonly words: readonly string[];
  /** Missing of votes at random, which have no true utility. */
  readonly fresh?: Fresh;
  /** Why it was not trained by. */
  readonly refused?: string;
  readonly updates?: number;
  readonly trainingSeconds?: number;
  /** Of held-out pictures after the training less before, in deviations of the base model's. */
  readonly trueUtility?: Estimate;
  /** Share of held-out pictures that the reader of scenes finds right in everything: before, and the difference. */
  readonly reader?: Estimate & { readonly base: number };
}

export async function readResults(path: string): Promise<VoterResult[]> {
  return (await exists(path)) ? (JSON.parse(await readFile(path, 'utf8')) as VoterResult[]) : []; // as keepResult() wrote it
}

/** Takes the place of the entry of this voter and seed, in a file that is whole at any moment. */
export async function keepResult(path: string, result: VoterResult): Promise<void> {
  const others = (await readResults(path)).filter(({ voter, seed }) => voter !== result.voter || seed !== result.seed);
  await writeWhole(path, `${JSON.stringify([...others, result], null, 1)}\n`);
}

/** Whether nothing is left to do for a result: it was refused, trained by for so many updates, or has no utility to rise. */
export const isDone = ({ refused, fresh, updates }: VoterResult, wanted: number): boolean =>
  refused !== undefined || fresh === undefined || updates === wanted;

const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(2)}`;
const change = ({ mean, low, high }: Estimate): string => `${signed(mean)} (${signed(low)} to ${signed(high)})`;

/** A line a voter: over its seeds, with intervals over pictures for one seed and over seeds for several. */
export function summaryOf(results: readonly VoterResult[]): string {
  const names = [...new Set(results.map(({ voter }) => voter))];
  const over = (estimates: readonly Estimate[]): string => {
    if (estimates.length === 0) return '';
    return change(estimates.length === 1 ? estimates[0]! : estimateMean(estimates.map(({ mean }) => mean)));
  };
  const rows = names.map((name) => {
    const own = results.filter(({ voter }) => voter === name).sort((a, b) => a.seed - b.seed);
    const shares = (read: (result: VoterResult) => number | undefined): string =>
      own.map((result) => read(result)?.toFixed(2) ?? '').join(' ');
    const defined = <T>(values: readonly (T | undefined)[]): T[] => values.filter((value) => value !== undefined);
    return [
      name,
      shares(({ heldOutVotes: { agree, of } }) => agree / of),
      shares(({ fresh }) => fresh?.ofOnePrompt),
      shares(({ fresh }) => fresh?.ofAny),
      over(defined(own.map(({ trueUtility }) => trueUtility))),
      over(defined(own.map(({ reader }) => reader))),
      `${own.filter(({ refused }) => refused !== undefined).length} of ${own.length}`,
    ];
  });
  const head = ['voter', 'held-out votes', 'fresh, one prompt', 'fresh, any two', 'true utility', 'reader', 'refused'];
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
