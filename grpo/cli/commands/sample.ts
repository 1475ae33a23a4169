/** `winnow sample`: pictures from prompts, by a model folder, a configuration or a run. */
import { join } from 'node:path';
import { writeWhole } from '../../../engine/files.js';
import type { Device } from '../../../engine/index.js';
import { loadLora } from '../../../models/lora/load_lora.js';
import { captionedGrid, rowsOf, squareGrid } from '../../../models/pictures/grid.js';
import { encodePng, type Picture } from '../../../models/pictures/png.js';
import { pipelineKinds } from '../../../models/pipeline/kinds.js';
import { loadPipeline, type Pipeline } from '../../../models/pipeline/pipeline.js';
import { defaultNoise } from '../../config.js';
import { PictureSampler, type PictureSamplerOptions } from '../../evaluate.js';
import { initAdapter, readRunWeights } from '../../finetune/adapter.js';
import { loadConfig } from '../../finetune/config/file.js';
import { openDevice } from '../../finetune/device.js';
import { preparing, UsageError } from '../../finetune/errors.js';
import { evaluationSampling } from '../../finetune/held_out.js';
import { frozenModel, loadModel, modelFolder } from '../../finetune/policy.js';
import { readPromptFile } from '../../finetune/prompts.js';
import { findRun, RunDirectory } from '../../finetune/run/folder.js';
import { warnOfCuts } from '../../finetune/session.js';
import type { GenerativeModel } from '../../model.js';
import type { TransitionOptions } from '../../sampling/transitions.js';
import { DivergedError } from '../../trainer.js';
import { Reporter } from '../reporter.js';

export interface SampleOptions {
  readonly prompt?: readonly string[];
  /** A file of prompts. */
  readonly prompts?: string;
  /** Pictures for each prompt. */
  readonly n: number;
  /** Picture i of all has seed + i. */
  readonly seed: number;
  /** Default: those of the run's evaluations, or 28. */
  readonly steps?: number;
  /** Default: that of the run's evaluations, or by the kind of model. */
  readonly guidance?: number;
  /** Deterministic steps, whatever the run's evaluations take. */
  readonly ode?: boolean;
  /** Steps with noise: a rollout's of the run, or by the kind of model. */
  readonly sde?: boolean;
  /** Pictures computed at once. */
  readonly batch: number;
  /** A file or folder of LoRA weights. */
  readonly lora?: string;
  /** Of a run: the checkpoint after so many updates; default the last. */
  readonly step?: number;
  /** Of a run: the model without what the run has learned. */
  readonly base?: boolean;
  /** Where single pictures go. */
  readonly out: string;
  /** One file with all pictures instead. */
  readonly grid?: string;
  readonly device?: string;
}

const usualSteps = 28;

/** One picture to make. */
export interface Job {
  readonly prompt: string;
  readonly seed: number;
}

async function promptsOf({ prompt = [], prompts }: SampleOptions): Promise<string[]> {
  const lines = prompts === undefined ? [] : (await readPromptFile(prompts)).map(({ prompt: text }) => text);
  const all = [...prompt, ...lines];
  if (all.length === 0) throw new UsageError('sample: give --prompt TEXT or --prompts FILE with at least one line');
  return all;
}

/** How pictures are drawn, but for the memory it takes. */
type Sampling = Omit<PictureSamplerOptions, 'batch'>;

/** A model that is ready to draw. */
interface Drawer {
  readonly model: GenerativeModel;
  readonly pipeline: Pipeline;
  /** How it usually draws. */
  readonly usual: Sampling;
  /** Its steps with noise. */
  readonly rollout: TransitionOptions;
}

/** Loads what the command line names: a run, a configuration, or a model folder. */
async function loadDrawer(device: Device, given: string, options: SampleOptions): Promise<Drawer> {
  const { lora, step, base } = options;
  const folder = await findRun(given);
  if (folder === undefined && (step !== undefined || base))
    throw new UsageError(`${given} is no run: --step and --base are for runs`);
  if (folder !== undefined && lora !== undefined) throw new UsageError(`${folder} is a run: it has its own adapter`);
  if (folder !== undefined || /\.ya?ml$/.test(given)) {
    const config = await loadConfig(folder ?? given);
    const model = await loadModel(device, config);
    if (folder !== undefined && !base) await readRunWeights(model, await RunDirectory.open(folder), config, step);
    if (lora !== undefined) await initAdapter(model, lora);
    return { model, pipeline: model.pipeline, usual: evaluationSampling(config), rollout: config.sampler };
  }
  const pipeline = await loadPipeline(device, modelFolder(given));
  const { component, guidance, step: kind } = pipelineKinds[pipeline.kind];
  if (lora !== undefined) await loadLora(lora, pipeline.parameters, { component });
  return {
    model: frozenModel(pipeline),
    pipeline,
    usual: { steps: usualSteps, guidance },
    rollout: { kind, noise: defaultNoise[kind] },
  };
}

/** Shows how far the work is: one live line on a terminal, a line a batch otherwise. */
function progress(reporter: Reporter, total: number): NonNullable<DrawOptions['onStep']> {
  return (done, step, steps) => {
    const line = `sampling  picture ${Math.min(done + 1, total)}/${total}  step ${step}/${steps}`;
    if (step === steps) reporter.progress(line);
    else reporter.status(line);
  };
}

/** Makes the pictures; returns the paths written. */
export async function sample(given: string, options: SampleOptions): Promise<string[]> {
  if (options.ode && options.sde) throw new UsageError('sample: --ode and --sde exclude each other');
  const prompts = await promptsOf(options);
  const jobs = prompts.flatMap((prompt, p) =>
    Array.from({ length: options.n }, (_, i): Job => ({ prompt, seed: options.seed + p * options.n + i })),
  );
  const reporter = new Reporter();
  const device = await openDevice(options);
  try {
    const { model, pipeline, usual, rollout } = await preparing(() => loadDrawer(device, given, options));
    const asked = prompts.map((prompt) => ({ prompt, meta: {} }));
    warnOfCuts(pipeline, asked, (line) => reporter.warn(line));
    const { steps = usual.steps, guidance = usual.guidance, batch, ode, sde } = options;
    const stochastic = ode ? undefined : sde ? rollout : usual.stochastic;
    const onStep = progress(reporter, jobs.length);
    const pictures = await drawWith(model, jobs, { steps, guidance, stochastic, batch, onStep });
    const how = { steps: `${steps}`, guidance: `${guidance}`, noise: `${stochastic?.noise ?? 0}` };
    const common = { model: given, ...how };
    if (options.grid) {
      const grid = captionedGrid(rowsOf(prompts, pictures), squareGrid(prompts.length, options.n));
      const text = { ...common, prompts: prompts.join('\n'), seeds: jobs.map(({ seed }) => seed).join(' ') };
      await writeWhole(options.grid, encodePng(grid, text));
      return [options.grid];
    }
    const paths: string[] = [];
    for (const [i, { prompt, seed }] of jobs.entries()) {
      const path = join(options.out, `${String(i).padStart(4, '0')}.png`);
      await writeWhole(path, encodePng(pictures[i]!, { ...common, prompt, seed: String(seed) }));
      paths.push(path);
    }
    return paths;
  } finally {
    reporter.clear();
    device.close();
  }
}

export interface DrawOptions {
  readonly steps: number;
  /** Default by the kind of model. */
  readonly guidance?: number;
  /** Pictures computed at once. */
  readonly batch: number;
  /** Called after each step of a batch, with the pictures done before it. */
  readonly onStep?: (done: number, step: number, steps: number) => void;
}

/** Makes pictures by a pipeline; each depends on its prompt and seed alone. */
export async function draw(pipeline: Pipeline, jobs: readonly Job[], options: DrawOptions): Promise<Picture[]> {
  const { guidance } = pipelineKinds[pipeline.kind];
  return drawWith(frozenModel(pipeline), jobs, { guidance, ...options });
}

async function drawWith(
  model: GenerativeModel,
  jobs: readonly Job[],
  { onStep, batch, ...sampling }: DrawOptions & Sampling,
): Promise<Picture[]> {
  const sampler = await PictureSampler.create(model, { ...sampling, batch: Math.min(batch, jobs.length) });
  try {
    const wanted = jobs.map(({ prompt, seed }) => ({ prompt: { prompt, meta: {} }, seed }));
    const pictures = await sampler.draw(wanted, { onStep });
    const bad = pictures.findIndex(({ finite }) => !finite);
    if (bad >= 0) throw new DivergedError(`picture ${bad}, "${jobs[bad]!.prompt}": its values are not finite numbers`);
    return pictures;
  } finally {
    sampler.dispose();
  }
}
