/** `winnow eval`: every reward on the test prompts, without and with what a run has learned, from the same noise. */
import type { RunConfig } from '../../config.js';
import { type Estimate, type Evaluation, estimateMean } from '../../evaluate.js';
import { initAdapter, readRunWeights } from '../../finetune/adapter.js';
import { loadConfig } from '../../finetune/config/file.js';
import { UsageError } from '../../finetune/errors.js';
import { evaluateHeldOut } from '../../finetune/held_out.js';
import { findRun, type RewardSummary, RunDirectory } from '../../finetune/run/folder.js';
import { compareEvaluations } from '../../finetune/run/metrics.js';
import { openSession, type Session, weightsOf } from '../../finetune/session.js';
import { type ExitCode, exitCodes } from '../exit_codes.js';
import { formatReward } from '../print/numbers.js';
import { resultTable, rewardLabel, shownRewards } from '../print/results.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export interface EvalOptions extends ReporterOptions {
  readonly set?: readonly string[];
  /** Pictures. Default `eval.n`. */
  readonly n?: number;
  /** Of the noise. Default that of the evaluations of `winnow train`. */
  readonly seed: number;
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
}

/** What an evaluation found: base and tuned, or only the model of a configuration. */
export interface EvalReport {
  readonly model: string;
  readonly tuned?: string;
  readonly against: string;
  readonly seed: number;
  /** Means with their 95 % intervals, of what was judged last. */
  readonly rewards: Readonly<Record<string, Estimate>>;
  /** Before and after, with the interval of the difference. */
  readonly differences?: Readonly<Record<string, RewardSummary>>;
  /** Means below their `--min`. */
  readonly missed: readonly Minimum[];
}

interface Minimum {
  readonly reward: string;
  readonly least: number;
}

/** Evaluates and prints. Returns the status for means below their `--min`. */
export async function evaluateCommand(given: string, options: EvalOptions): Promise<ExitCode> {
  const reporter = new Reporter(options);
  const minima = (options.min ?? []).map(parseMinimum);
  const folder = await findRun(given);
  const run = folder === undefined ? undefined : await RunDirectory.open(folder);
  if (run && options.lora !== undefined) throw new UsageError(`${folder} is a run: it has its own adapter`);
  if (!run && options.step !== undefined) throw new UsageError(`${given} is no run: --step is for runs`);
  const loaded = await loadConfig(folder ?? given, options.set);
  const config = options.rewards ? { ...loaded, eval: { ...loaded.eval, rewards: [...options.rewards] } } : loaded;
  const names = ['reward', ...Object.keys(config.reward), ...config.eval.rewards];
  for (const { reward } of minima) {
    if (!names.includes(reward)) throw new UsageError(`--min ${reward}: not evaluated; there are ${names.join(', ')}`);
  }
  const against = await otherRun(options.against, config);
  const checkpoint = await run?.findCheckpoint(options.step); // looked for before anything is loaded
  const session = await openSession(config, { ...options, warn: (line) => reporter.warn(line) });
  try {
    const judge = (what: string): Promise<Evaluation> =>
      evaluateHeldOut(session, {
        n: options.n,
        seed: options.seed,
        onProgress: (done, of) => reporter.status(`evaluating ${what}  picture ${done}/${of}`),
      });
    if (against) await readRunWeights(session.model, against, config);
    const before = await judge(against?.folder ?? 'base');
    const tuned = await tune(session, options, run);
    const after = tuned ? await judge('tuned') : before;
    reporter.clear();
    const rewards = Object.fromEntries(Object.entries(after).map(([name, values]) => [name, estimateMean(values)]));
    const report: EvalReport = {
      model: config.model.path,
      ...(tuned && { tuned: checkpoint ?? tuned }),
      against: against?.folder ?? 'base',
      seed: options.seed,
      rewards,
      ...(tuned && { differences: compareEvaluations(before, after) }),
      missed: minima.filter(({ reward, least }) => !(rewards[reward]!.mean >= least)),
    };
    reporter.object({ ...report });
    for (const line of formatEvaluation(report, config)) reporter.result(line);
    for (const { reward, least } of report.missed)
      reporter.warn(`reward ${reward} is ${formatReward(rewards[reward]!.mean)}, expected at least ${least}`);
    return report.missed.length > 0 ? exitCodes.belowMinimum : exitCodes.done;
  } finally {
    reporter.clear();
    session.close();
  }
}

/** Puts the weights to be judged into the model; says whose they are, or nothing where there are none. */
async function tune(session: Session, options: EvalOptions, run?: RunDirectory): Promise<string | undefined> {
  if (run) return readRunWeights(session.model, run, session.config, options.step);
  if (options.lora !== undefined) await initAdapter(session.model, options.lora);
  return options.lora;
}

async function otherRun(given: string | undefined, { model, lora }: RunConfig): Promise<RunDirectory | undefined> {
  if (given === undefined || given === 'base') return undefined;
  const run = await RunDirectory.open(given);
  const other = await loadConfig(run.folder);
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

/** A line a reward. */
export function formatEvaluation({ rewards, differences }: EvalReport, config: Pick<RunConfig, 'reward'>): string[] {
  const weights = weightsOf(config);
  if (differences) {
    const [{ n = 0 } = {}] = Object.values(differences);
    return [`${n} held-out pictures before and after:`, ...resultTable(differences, weights)];
  }
  return shownRewards(rewards, weights).map(([name, { mean, low, high, count }]) => {
    const interval = `95 % interval: ${formatReward(low)} to ${formatReward(high)}`;
    return `${rewardLabel(name, weights)} ${formatReward(mean)} on ${count} held-out pictures (${interval})`;
  });
}
