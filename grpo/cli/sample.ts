/** `winnow sample`: pictures from prompts, by a model folder. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Device, scope, type Tensor } from '../../engine/index.js';
import { loadPipeline, type Pipeline } from '../../models/pipeline.js';
import { encodePng, gridOf, type Picture, pictureOf } from '../../models/png.js';
import { readable } from '../../models/weight_files.js';
import { ddimSteps, flowSteps, type Guidance, initialLatents, OdeSampler, type OdeStep } from '../sampler.js';
import { ddimSchedule, flowMatchSchedule } from '../schedule.js';
import { UsageError } from './exit_codes.js';

export interface SampleOptions {
  readonly prompt?: readonly string[];
  /** A file of prompts, one a line. */
  readonly prompts?: string;
  /** Pictures for each prompt. */
  readonly n: number;
  /** Picture i of all has seed + i. */
  readonly seed: number;
  readonly steps: number;
  /** Default by the kind of model. */
  readonly guidance?: number;
  /** Pictures computed at once. */
  readonly batch: number;
  /** Where single pictures go. */
  readonly out: string;
  /** One file with all pictures instead. */
  readonly grid?: string;
  readonly device?: string;
}

const usualGuidance = { sd1: 7.5, sd3: 4.5, dit: 4 } as const;

/** One picture to make. */
export interface Job {
  readonly prompt: string;
  readonly seed: number;
}

/** The deterministic steps that the folder's scheduler asks for. */
export function stepsOf({ kind, scheduler }: Pick<Pipeline, 'kind' | 'scheduler'>, steps: number): OdeStep[] {
  if (kind === 'sd3') return flowSteps(flowMatchSchedule(steps, Number(scheduler.shift ?? 1)));
  const { beta_start, beta_end, beta_schedule, steps_offset, set_alpha_to_one } = scheduler;
  return ddimSteps(
    ddimSchedule(steps, {
      betaStart: Number(beta_start ?? 0.0001),
      betaEnd: Number(beta_end ?? 0.02),
      betaSchedule: beta_schedule === 'scaled_linear' ? 'scaled_linear' : 'linear',
      stepsOffset: Number(steps_offset ?? 0),
      setAlphaToOne: set_alpha_to_one !== false,
    }),
  );
}

async function readPrompts({ prompt = [], prompts }: SampleOptions): Promise<string[]> {
  const lines =
    prompts === undefined
      ? []
      : (await readable(prompts, () => readFile(prompts, 'utf8'))).split(/\r?\n/).filter((line) => line.trim());
  const all = [...prompt, ...lines];
  if (all.length === 0) throw new UsageError('sample: give --prompt TEXT or --prompts FILE with at least one line');
  return all;
}

/** Shows how far the work is: one live line on a terminal, a line a batch otherwise. */
function progress(total: number): (done: number, step: number, steps: number) => void {
  const live = process.stderr.isTTY === true;
  return (done, step, steps) => {
    const line = `sampling  picture ${Math.min(done + 1, total)}/${total}  step ${step}/${steps}`;
    if (live) process.stderr.write(`\r${line}\x1b[K${step === steps && done + 1 >= total ? '\n' : ''}`);
    else if (step === steps) process.stderr.write(`${line}\n`);
  };
}

/** Makes the pictures; returns the paths written. */
export async function sample(folder: string, options: SampleOptions): Promise<string[]> {
  const prompts = await readPrompts(options);
  const jobs = prompts.flatMap((prompt, p) =>
    Array.from({ length: options.n }, (_, i): Job => ({ prompt, seed: options.seed + p * options.n + i })),
  );
  const device = await Device.create(options.device ? { name: options.device } : {});
  try {
    const pipeline = await loadPipeline(device, folder);
    const pictures = await draw(pipeline, jobs, { ...options, onStep: progress(jobs.length) });
    const guidance = String(options.guidance ?? usualGuidance[pipeline.kind]);
    const common = { model: folder, steps: String(options.steps), guidance };
    if (options.grid) {
      const columns = Math.ceil(Math.sqrt(jobs.length));
      const text = { ...common, prompts: prompts.join('\n'), seeds: jobs.map(({ seed }) => seed).join(' ') };
      return [await save(options.grid, gridOf(pictures, columns), text)];
    }
    const paths: string[] = [];
    for (const [i, { prompt, seed }] of jobs.entries()) {
      const path = join(options.out, `${String(i).padStart(4, '0')}.png`);
      paths.push(await save(path, pictures[i]!, { ...common, prompt, seed: String(seed) }));
    }
    return paths;
  } finally {
    device.close();
  }
}

/** Writes a picture whole or not at all. */
async function save(path: string, picture: Picture, text: Readonly<Record<string, string>>): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.part`, encodePng(picture, text));
  await rename(`${path}.part`, path);
  return path;
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

/** Makes pictures; each depends on its prompt and seed alone. */
export async function draw(pipeline: Pipeline, jobs: readonly Job[], options: DrawOptions): Promise<Picture[]> {
  const { device, latentChannels: channels, latentSize: side } = pipeline;
  const steps = stepsOf(pipeline, options.steps);
  const scale = options.guidance ?? usualGuidance[pipeline.kind];
  const batch = Math.min(options.batch, jobs.length);
  const pictures: Picture[] = [];
  const unconditional = pipeline.encode(Array(batch).fill(''));
  const condition = pipeline.encode(Array(batch).fill(jobs[0]!.prompt));
  const guidance: Guidance = { scale, unconditional };
  const policy = pipeline.predict;
  const sampler = await OdeSampler.create(device, policy, [batch, channels, side, side], condition, guidance);
  try {
    for (let start = 0; start < jobs.length; start += batch) {
      // The last batch is filled up with its last job: a sample does not depend on the others.
      const group = Array.from({ length: batch }, (_, i) => jobs[Math.min(start + i, jobs.length - 1)]!);
      const initial = initialLatents(
        device,
        group.map(({ seed }) => seed),
        [channels, side, side],
      );
      const next = pipeline.encode(group.map(({ prompt }) => prompt));
      const onStep = (step: number): void => options.onStep?.(start, step, steps.length);
      const latents = await sampler.sample(initial, steps, { condition: next, onStep });
      for (const thing of [initial, ...next]) thing.dispose();
      const wanted = Math.min(batch, jobs.length - start);
      pictures.push(...(await decode(pipeline, latents)).slice(0, wanted));
    }
    return pictures;
  } finally {
    for (const thing of [sampler, ...condition, ...unconditional]) thing.dispose();
  }
}

/** Latents [N, ...] to pictures, values from [-1, 1]. */
async function decode({ device, vae }: Pipeline, latents: Tensor): Promise<Picture[]> {
  const images = scope(device, () => vae.decode(vae.unscaled(latents)));
  const [samples, , height, width] = images.dims(4);
  const values = Float32Array.from(await images.data(), (value) => (value + 1) / 2);
  images.dispose();
  const each = 3 * height * width;
  return Array.from({ length: samples }, (_, i) => pictureOf(values.subarray(i * each, (i + 1) * each), width, height));
}
