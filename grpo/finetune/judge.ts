/** Every reward on the test prompts, without and with what a run has learned, from the same noise. */
import type { RunConfig } from '../config.js';
import { type Estimate, type Evaluation, estimateMean } from '../evaluate.js';
import { initAdapter, judgedWeights, readRunWeights, readWeights } from './adapter.js';
import { loadConfig } from './config/file.js';
import { evaluateHeldOut } from './drawing.js';
import { preparing, UsageError } from './errors.js';
import { RunFolder } from './run/folder.js';
import { findRun } from './run/list.js';
import type { RewardSummary } from './run/metrics.js';
import { compareEvaluations } from './run/metrics.js';
import { openSession, weightsOf } from './session.js';

export interface JudgeOptions {
  readonly set?: readonly string[];
  /** Pictures. Default `eval.n`. */
  readonly n?: number;
  /** Of the noise. Default that of the evaluations of `winnow train`. */
  readonly seed?: number;
  /** Rewards to report besides those that are trained on, instead of `eval.rewards`. */
  readonly rewards?: readonly string[];
  /** Of a run: the checkpoint after so many updates; default the last. */
  readonly step?: number;
  /** A file or folder of LoRA weights, to a configuration. */
  readonly lora?: string;
  /** `base`, or another run of the same model. Default base. */
  readonly against?: string;
  /** `name=value`: the tuned mean must be at least that. */
  readonly min?: readonly string[];
  readonly device?: string;
  /** Told of what is going on. */
  readonly onProgress?: (what: string, done: number, of: number) => void;
}

/** What an evaluation found: base and tuned, or only the model of a configuration. */
export interface Judgement {
  readonly model: string;
  readonly tuned?: string;
  readonly against: string;
  readonly seed: number;
  /** Means with their 95 % intervals, of what was judged last. */
  readonly rewards: Readonly<Record<string, Estimate>>;
  /** Before and after, with the interval of the difference. */
  readonly differences?: Readonly<Record<string, RewardSummary>>;
  /** Means below their minimum. */
  readonly missed: readonly Minimum[];
  /** Factors of the rewards that are trained on. */
  readonly weights: Readonly<Record<string, number>>;
  readonly warnings: readonly string[];
}

export interface Minimum {
  readonly reward: string;
  readonly least: number;
}

/** Evaluates a run, or the model of a configuration. Throws a UsageError for what does not go together. */
export async function judge(given: string, options: JudgeOptions = {}): Promise<Judgement> {
  const { n, seed = 0, onProgress } = options;
  const minima = (options.min ?? []).map(parseMinimum);
  const folder = await findRun(given);
  const run = folder === undefined ? undefined : await RunFolder.open(folder);
  if (run && options.lora !== undefined) throw new UsageError(`${folder} is a run: it has its own adapter`);
  if (!run && options.step !== undefined) throw new UsageError(`${given} is no run: --step is for runs`);
  const loaded = await loadConfig(folder ?? given, options.set);
  const config = options.rewards ? { ...loaded, eval: { ...loaded.eval, rewards: [...options.rewards] } } : loaded;
  const names = ['reward', ...Object.keys(config.reward), ...config.eval.rewards];
  for (const { reward } of minima) {
    if (!names.includes(reward)) throw new UsageError(`--min ${reward}: not evaluated; there are ${names.join(', ')}`);
  }
  const against = await otherRun(options.against, config);
  const weights = judgedWeights(config);
  const checkpoint = await run?.wholeCheckpoint({ step: options.step, parts: [weights] }); // before anything is loaded
  const session = await openSession(config, options);
  try {
    const score = (what: string): Promise<Evaluation> =>
      preparing(() => evaluateHeldOut(session, { n, seed, onProgress: (done, of) => onProgress?.(what, done, of) }));
    const other = against && (await readRunWeights(session.model, against, config));
    const before = await score(against?.path ?? 'base');
    if (checkpoint) await readWeights(session.model, checkpoint.path, weights);
    const told = checkpoint || options.lora === undefined ? [] : await initAdapter(session.model, options.lora);
    const tuned = checkpoint?.path ?? options.lora;
    const after = tuned ? await score('tuned') : before;
    const rewards = Object.fromEntries(Object.entries(after).map(([name, values]) => [name, estimateMean(values)]));
    return {
      model: config.model.path,
      ...(tuned && { tuned }),
      against: against?.path ?? 'base',
      seed,
      rewards,
      ...(tuned && { differences: compareEvaluations(before, after) }),
      missed: minima.filter(({ reward, least }) => !(rewards[reward]!.mean >= least)),
      weights: weightsOf(config),
      warnings: [...(checkpoint?.warnings ?? []), ...(other?.warnings ?? []), ...told, ...session.warnings],
    };
  } finally {
    session.close();
  }
}

async function otherRun(given: string | undefined, { model, lora }: RunConfig): Promise<RunFolder | undefined> {
  if (given === undefined || given === 'base') return undefined;
  const run = await RunFolder.open(given);
  const other = await loadConfig(run.path);
  if (JSON.stringify([other.model, other.lora]) !== JSON.stringify([model, lora]))
    throw new UsageError(`--against ${given}: that run is of another model or adapter`);
  return run;
}

function parseMinimum(text: string): Minimum {
  const at = text.lastIndexOf('=');
  const least = Number(text.slice(at + 1));
  if (at < 1 || text.slice(at + 1).trim() === '' || !Number.isFinite(least))
    throw new UsageError(`--min ${text}: expected name=value, such as reward=0.3`);
  return { reward: text.slice(0, at), least };
}
