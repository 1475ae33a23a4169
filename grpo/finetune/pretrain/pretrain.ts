/** The small models that ship, trained on scenes from random weights. */
import { dirname, join } from 'node:path';
import { exists, makeFolder, writeWhole, writing } from '../../../engine/files.js';
import type { Device } from '../../../engine/index.js';
import { ModelFileError } from '../../../models/files/errors.js';
import { readJson, shown } from '../../../models/files/weight_files.js';
import { openDevice } from '../device.js';
import { preparing, UsageError } from '../errors.js';
import { type Outcome, recipes } from './recipes.js';

export interface PretrainOptions {
  /** Optimizer steps and pictures a step; each model has its usual ones. */
  readonly steps?: number;
  readonly batch?: number;
  readonly seed: number;
  /** The folder of the model; of `all`, of the models' folders. While one is trained, its checkpoint lies there too. */
  readonly out: string;
  /** Go on from the checkpoint. */
  readonly resume?: boolean;
  readonly device?: string;
  /** Told how far it is, a line at a time. */
  readonly onLine?: (line: string) => void;
}

/** Models that can be pretrained, each after those that it is made of. */
export const pretrainable = Object.keys(recipes);

const everySteps = 50; // a line of progress
const checkpointEvery = 200;

/** Trains one model, or all, and saves their folders. Returns the lines that say what came out. */
export async function pretrain(model: string, options: PretrainOptions): Promise<string[]> {
  if (model !== 'all' && !recipes[model]) {
    throw new UsageError(`pretrain: ${model} is not known; expected all, ${pretrainable.join(', ')}`);
  }
  const device = await openDevice({ device: options.device });
  const interruption = new AbortController();
  const interrupt = (): void => interruption.abort();
  process.once('SIGINT', interrupt);
  try {
    const run = model === 'all' ? pretrainAll : pretrainOne;
    return await preparing(() => run(device, model, options, interruption.signal));
  } finally {
    process.off('SIGINT', interrupt);
    device.close();
  }
}

/** Each model in turn; those that are done are passed over, one that was interrupted goes on. */
async function pretrainAll(
  device: Device,
  _: string,
  options: PretrainOptions,
  signal: AbortSignal,
): Promise<string[]> {
  if (options.steps !== undefined || options.batch !== undefined)
    throw new UsageError('pretrain all: --steps and --batch are for one model; all have their own');
  const { out } = options;
  await writing(out, () => makeFolder(out));
  const report = join(out, 'pretrain.json');
  const done = (await exists(report)) ? await readReport(report) : {};
  for (const model of pretrainable) {
    if (done[model]) continue;
    const folder = join(out, model);
    const resume = await exists(checkpointOf(folder));
    const lines = await pretrainOne(device, model, { ...options, out: folder, resume }, signal);
    if (signal.aborted) return [...Object.values(done).flat(), ...lines];
    done[model] = lines;
    await writeWhole(report, `${JSON.stringify(done, null, 2)}\n`);
    for (const line of lines) options.onLine?.(line);
  }
  return Object.values(done).flat();
}

/** What came out of the models that are done, by their names. Throws a ModelFileError for a file that does not say it. */
async function readReport(path: string): Promise<Record<string, string[]>> {
  const report = await readJson(path);
  const problems = Object.entries(report)
    .filter(([, lines]) => !Array.isArray(lines) || lines.some((line) => typeof line !== 'string'))
    .map(([model, lines]) => `${model} is ${shown(lines)}, expected a list of lines`);
  if (problems.length > 0) throw new ModelFileError(path, problems);
  return report as Record<string, string[]>; // as checked above
}

const checkpointOf = (folder: string): string => join(folder, 'checkpoint.safetensors');

async function pretrainOne(
  device: Device,
  model: string,
  { steps, batch, seed, out, resume = false, onLine = () => {} }: PretrainOptions,
  signal: AbortSignal,
): Promise<string[]> {
  const recipe = recipes[model]!;
  await writing(out, () => makeFolder(out));
  const start = performance.now();
  const total = steps ?? recipe.steps;
  const path = checkpointOf(out);
  onLine(`${model}: ${total} steps`);
  const { done, lines }: Outcome = await recipe.run({
    device,
    out,
    from: dirname(out),
    tell: onLine,
    training: {
      steps: total,
      batch: batch ?? recipe.batch,
      seed,
      onStep: progress(total, onLine),
      checkpoint: { path, resume, every: checkpointEvery },
      signal,
    },
  });
  if (done < total) return [`stopped after step ${done} of ${total}; go on with --resume (${path})`];
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  return [`done  ${out}  ${seconds} s  ${lines[0]}`, ...lines.slice(1)];
}

/** Tells the mean loss of the last steps and the time that is left. */
function progress(steps: number, tell: (line: string) => void): (step: number, loss: number) => void {
  let first: { readonly step: number; readonly time: number } | undefined;
  let losses: number[] = [];
  return (step, loss) => {
    first ??= { step, time: performance.now() }; // what comes before the first step is no measure of the others
    losses.push(loss);
    if (step % everySteps !== 0 && step !== steps) return;
    const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    const each = (performance.now() - first.time) / 1000 / Math.max(1, step - first.step);
    tell(`step ${step}/${steps}  loss ${mean.toFixed(5)}  ${(each * (steps - step)).toFixed(0)} s left`);
    losses = [];
  };
}
