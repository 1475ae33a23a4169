/** `winnow pretrain`: the small models that ship, trained on scenes from random weights. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../engine/index.js';
import { loadPipeline, type Pipeline } from '../../models/pipeline.js';
import { encodePng, gridOf, pictureOf, valuesOf } from '../../models/png.js';
import { readCaption } from '../../models/pretrain/caption.js';
import { pretrainClip, retrieval, saveClip } from '../../models/pretrain/clip.js';
import { type NoiseLevel, pretrainGenerator } from '../../models/pretrain/generator.js';
import type { GeneratorName } from '../../models/pretrain/generator_folder.js';
import { checkScene } from '../../models/pretrain/scene_checker.js';
import { makeScene, sceneSize } from '../../models/pretrain/scenes.js';
import type { TrainingOptions } from '../../models/pretrain/training.js';
import { loadVae, pretrainVae, reconstructions, saveVae } from '../../models/pretrain/vae.js';
import { alphasCumprod, shiftSigma } from '../schedule.js';
import { openDevice } from './device.js';
import { UsageError } from './exit_codes.js';
import { draw } from './sample.js';

export interface PretrainOptions {
  /** Optimizer steps and pictures a step; each model has its usual ones. */
  readonly steps?: number;
  readonly batch?: number;
  readonly seed: number;
  /** The folder of the model. While it is trained, its checkpoint lies there too. */
  readonly out: string;
  /** Go on from the checkpoint. */
  readonly resume?: boolean;
  readonly device?: string;
}

interface Job {
  readonly device: Device;
  readonly out: string;
  readonly training: TrainingOptions & { readonly batch: number };
}

/** What a training leaves: how many steps were taken, and lines that say what came out (none when it was stopped). */
interface Outcome {
  readonly done: number;
  readonly lines: readonly string[];
}

interface Recipe {
  readonly steps: number;
  readonly batch: number;
  run(job: Job): Promise<Outcome>;
}

const recipes: Readonly<Record<string, Recipe>> = {
  'scenes-vae': { steps: 1100, batch: 8, run: runVae },
  'scenes-clip': { steps: 500, batch: 96, run: runClip },
  'scenes-flow': { steps: 16000, batch: 16, run: (job) => runGenerator('scenes-flow', job) },
  'scenes-diffusion': { steps: 13000, batch: 16, run: (job) => runGenerator('scenes-diffusion', job) },
};

/** Models that can be pretrained. */
export const pretrainable = Object.keys(recipes);

const everySteps = 25; // a line of progress
const checkpointEvery = 100;

/** Trains one model and saves its folder. Returns the lines that say what came out. */
export async function pretrain(
  model: string,
  { steps, batch, seed, out, resume = false, device: name }: PretrainOptions,
): Promise<string[]> {
  const recipe = recipes[model];
  if (!recipe) throw new UsageError(`pretrain: ${model} is not known; expected ${pretrainable.join(', ')}`);
  const device = await openDevice({ device: name });
  const interruption = new AbortController();
  const interrupt = (): void => interruption.abort();
  process.once('SIGINT', interrupt);
  try {
    await mkdir(out, { recursive: true });
    const start = performance.now();
    const total = steps ?? recipe.steps;
    const path = join(out, 'checkpoint.safetensors');
    const { done, lines } = await recipe.run({
      device,
      out,
      training: {
        steps: total,
        batch: batch ?? recipe.batch,
        seed,
        onStep: progress(total),
        checkpoint: { path, resume, every: checkpointEvery },
        signal: interruption.signal,
      },
    });
    if (done < total) return [`stopped after step ${done} of ${total}; go on with --resume (${path})`];
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    return [`done  ${out}  ${seconds} s  ${lines[0]}`, ...lines.slice(1)];
  } finally {
    process.off('SIGINT', interrupt);
    device.close();
  }
}

/** Prints the mean loss of the last steps and the time that is left. */
function progress(steps: number): (step: number, loss: number) => void {
  let first: { readonly step: number; readonly time: number } | undefined;
  let losses: number[] = [];
  return (step, loss) => {
    first ??= { step, time: performance.now() }; // what comes before the first step is no measure of the others
    losses.push(loss);
    if (step % everySteps !== 0 && step !== steps) return;
    const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    const each = (performance.now() - first.time) / 1000 / Math.max(1, step - first.step);
    process.stderr.write(
      `step ${step}/${steps}  loss ${mean.toFixed(5)}  ${(each * (steps - step)).toFixed(0)} s left\n`,
    );
    losses = [];
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function runVae({ device, out, training }: Job): Promise<Outcome> {
  const { vae, parameters, done } = await pretrainVae(device, training);
  if (done === training.steps) await saveVae(device, out, vae, parameters);
  parameters.dispose();
  if (done < training.steps) return { done, lines: [] };
  // Loaded again, to measure what a user gets: f16 weights, held-out scenes.
  const saved = await loadVae(device, out);
  const { psnr, pictures } = await reconstructions(device, saved.vae, 64);
  saved.parameters.dispose();
  const grid = gridOf(
    pictures.slice(0, 32).map((pixels) => pictureOf(pixels, sceneSize, sceneSize)),
    8,
  );
  const path = join(out, 'reconstructions.png');
  await writeFile(path, encodePng(grid, { title: 'held-out scenes, each beside its reconstruction' }));
  return { done, lines: [`PSNR ${psnr.toFixed(2)} dB on 64 held-out scenes`, `look  ${path}`] };
}

async function runClip({ device, out, training }: Job): Promise<Outcome> {
  const { done, ...model } = await pretrainClip(device, out, training);
  const lines: string[] = [];
  if (done === training.steps) {
    await saveClip(out, model.parameters);
    const { top1, twins } = await retrieval(device, model);
    lines.push(`retrieval among 64 held-out captions ${percent(top1)}, caption before its twin ${percent(twins)}`);
  }
  model.parameters.dispose();
  return { done, lines };
}

const alphas = alphasCumprod();

/** The levels of training, by a uniform number. */
const levels: Readonly<Record<GeneratorName, (uniform: number) => NoiseLevel>> = {
  'scenes-flow': (uniform) => {
    // Half the shift of the sampler: the largest levels, where a picture's places are still open, teach little and add
    // the most noise to the gradients. The others are learned a third faster, and these no slower.
    const sigma = shiftSigma(uniform, 1.5);
    return { timestep: 1000 * sigma, data: 1 - sigma, noise: sigma, weight: 1 };
  },
  'scenes-diffusion': (uniform) => {
    // Three in five at levels where the picture is still open: there alone the words tell what can't be seen.
    const timestep = Math.floor(uniform < 0.6 ? 640 + 360 * (uniform / 0.6) : 640 * ((uniform - 0.6) / 0.4));
    const alpha = alphas[timestep]!;
    const [data, noise] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
    // An error e of the noise is one of e (1 + noise / data) in noise - data, a flow's target: large where there is little
    // data left. Unweighted, a network this small never learns to tell captions apart there.
    return { timestep, data, noise, weight: 1 + noise / data };
  },
};

/** Peak learning rates. A third of them needs more than twice the steps to the same loss. */
const rates: Readonly<Record<GeneratorName, number>> = { 'scenes-flow': 3e-3, 'scenes-diffusion': 2e-3 };

/** Shares of the steps for captions of one kind of object; a UNet learns the words sooner. */
const simpleShares: Readonly<Record<GeneratorName, number>> = { 'scenes-flow': 0.4, 'scenes-diffusion': 0.3 };

async function runGenerator(name: GeneratorName, { device, out, training }: Job): Promise<Outcome> {
  const onScenes = (done: number, scenes: number): void => {
    if (done % 2048 === 0 || done === scenes) process.stderr.write(`encoded ${done}/${scenes} scenes\n`);
  };
  const onSample = async (pipeline: Pipeline, step: number): Promise<void> => {
    const { accuracy, score, path } = await examineGenerator(pipeline, out, { count: 64, name: `samples-${step}` });
    const checked = `scene checker ${percent(accuracy)} right, mean score ${score.toFixed(3)}`;
    process.stderr.write(`step ${step}  ${checked}  ${path}\n`);
  };
  const done = await pretrainGenerator(device, name, out, {
    ...training,
    levelOf: levels[name],
    lr: rates[name],
    simpleShare: simpleShares[name],
    onScenes,
    onSample,
    sampleEvery: 1000,
  });
  if (done < training.steps) return { done, lines: [] };
  const pipeline = await loadPipeline(device, out); // f16, as a user gets it
  const { accuracy, score, path } = await examineGenerator(pipeline, out, { count: 256, name: 'samples' });
  pipeline.dispose();
  return {
    done,
    lines: [
      `scene checker ${percent(accuracy)} right, mean score ${score.toFixed(3)}, on 256 held-out captions`,
      `look  ${path}`,
    ],
  };
}

/** Draws held-out captions by the usual sampler (20 steps, guidance 3) and has the scene checker read the pictures. */
async function examineGenerator(
  pipeline: Pipeline,
  folder: string,
  { count, name }: { readonly count: number; readonly name: string },
): Promise<{ readonly accuracy: number; readonly score: number; readonly path: string }> {
  const jobs = Array.from({ length: count }, (_, i) => ({ prompt: makeScene(1, i, 'heldOut').caption, seed: i }));
  const pictures = await draw(pipeline, jobs, { steps: 20, guidance: 3, batch: 32 });
  const scores = pictures.map((picture, i) => checkScene(valuesOf(picture), readCaption(jobs[i]!.prompt)!));
  const path = join(folder, `${name}.png`);
  const shown = jobs.slice(0, 64);
  const text = { prompts: shown.map(({ prompt }) => prompt).join('\n'), seeds: '0 and on' };
  await writeFile(path, encodePng(gridOf(pictures.slice(0, 64), 8), text));
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / count;
  return {
    accuracy: mean(scores.map(({ correct }) => Number(correct))),
    score: mean(scores.map(({ score }) => score)),
    path,
  };
}
