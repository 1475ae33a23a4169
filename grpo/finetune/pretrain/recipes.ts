/** How each of the models that ship is trained and measured: `winnow pretrain`. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../../engine/index.js';
import { encodePng, gridOf, pictureOf, valuesOf } from '../../../models/pictures/png.js';
import { loadPipeline, type Pipeline } from '../../../models/pipeline/pipeline.js';
import { pretrainAesthetic, ratingCorrelation, saveAesthetic } from '../../../models/scenes/aesthetic.js';
import { wordsOf, writeCaption } from '../../../models/scenes/caption.js';
import { pretrainClip, retrieval, saveClip } from '../../../models/scenes/clip.js';
import { type NoiseLevel, pretrainGenerator } from '../../../models/scenes/generator.js';
import type { GeneratorName } from '../../../models/scenes/generator_folder.js';
import { drawPictures, type SeenPicture } from '../../../models/scenes/pictures.js';
import {
  type PreferenceName,
  pairAgreement,
  pretrainPreference,
  savePreference,
} from '../../../models/scenes/preference.js';
import { checkScene } from '../../../models/scenes/reader/scene_checker.js';
import { sceneSize } from '../../../models/scenes/scenes.js';
import type { TrainingOptions } from '../../../models/scenes/training.js';
import { loadVae, pretrainVae, reconstructions, saveVae } from '../../../models/scenes/vae.js';
import { alphasCumprod } from '../../sampling/schedule.js';
import { drawJobs } from '../drawing.js';
import { frozenModel } from '../policy.js';

interface Job {
  readonly device: Device;
  readonly out: string;
  /** Where the folders of the models are that this one is made of. */
  readonly from: string;
  /** Told how far it is. */
  readonly tell: (line: string) => void;
  readonly training: TrainingOptions & { readonly batch: number };
}

/** What a training leaves: how many steps were taken, and lines that say what came out (none when it was stopped). */
export interface Outcome {
  readonly done: number;
  readonly lines: readonly string[];
}

interface Recipe {
  readonly steps: number;
  readonly batch: number;
  run(job: Job): Promise<Outcome>;
}

/** In an order in which each finds what it is made of. */
export const recipes: Readonly<Record<string, Recipe>> = {
  'scenes-vae': { steps: 2400, batch: 24, run: runVae },
  'scenes-clip': { steps: 2000, batch: 96, run: runClip },
  'scenes-pick': { steps: 3600, batch: 96, run: (job) => runPreference('scenes-pick', job) },
  'scenes-hps': { steps: 3600, batch: 96, run: (job) => runPreference('scenes-hps', job) },
  'scenes-aesthetic': { steps: 1000, batch: 128, run: runAesthetic },
  'scenes-flow': { steps: 30000, batch: 64, run: (job) => runGenerator('scenes-flow', job) },
  'scenes-diffusion': { steps: 9000, batch: 32, run: (job) => runGenerator('scenes-diffusion', job) },
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function runVae({ device, out, training }: Job): Promise<Outcome> {
  const { vae, parameters, done } = await pretrainVae(device, training);
  if (done === training.steps) await saveVae(device, out, vae, parameters);
  parameters.dispose();
  if (done < training.steps) return { done, lines: [] };
  // Loaded again, to measure what a user gets: f16 weights, held-out scenes.
  const saved = await loadVae(device, out);
  const { psnr, pictures } = await reconstructions(device, saved.vae, 256);
  saved.parameters.dispose();
  const grid = gridOf(
    pictures.slice(0, 32).map((pixels) => pictureOf(pixels, sceneSize, sceneSize)),
    8,
  );
  const path = join(out, 'reconstructions.png');
  await writeFile(path, encodePng(grid, { title: 'held-out scenes, each beside its reconstruction' }));
  return { done, lines: [`PSNR ${psnr.toFixed(2)} dB on 256 held-out scenes`, `look  ${path}`] };
}

/** Pictures to learn from, and held-out ones to measure by; those of all rewards are the same. */
async function albums({
  device,
  from,
  tell,
  training: { seed },
}: Job): Promise<Record<'train' | 'heldOut', SeenPicture[]>> {
  const { vae, parameters } = await loadVae(device, join(from, 'scenes-vae'));
  try {
    const train = await drawPictures(device, vae, { seed, count: 16384, split: 'train', onProgress: drawn(tell) });
    return { train, heldOut: await drawPictures(device, vae, { seed, count: 2048, split: 'heldOut' }) };
  } finally {
    parameters.dispose();
  }
}

const drawn =
  (tell: Job['tell']) =>
  (done: number, of: number): void => {
    if (done % 4096 === 0 || done === of) tell(`drawn ${done}/${of} pictures`);
  };

async function runClip(job: Job): Promise<Outcome> {
  const { device, out, training } = job;
  const { train, heldOut } = await albums(job);
  const { done, ...model } = await pretrainClip(device, out, train, training);
  const lines: string[] = [];
  if (done === training.steps) {
    await saveClip(out, model.parameters);
    const { top1, twins, captions } = await retrieval(device, model, heldOut);
    lines.push(`finds its caption among ${captions} held-out ones ${percent(top1)}, before its twin ${percent(twins)}`);
  }
  model.parameters.dispose();
  return { done, lines };
}

async function runPreference(name: PreferenceName, job: Job): Promise<Outcome> {
  const { device, out, from, training } = job;
  const { train, heldOut } = await albums(job);
  const base = join(from, 'scenes-clip');
  const { done, ...model } = await pretrainPreference(device, name, base, train, training);
  const lines: string[] = [];
  if (done === training.steps) {
    await savePreference(out, name, base, model);
    const agreement = await pairAgreement(device, name, model, heldOut);
    lines.push(`prefers what the synthetic person does in ${percent(agreement)} of 2048 held-out pairs`);
  }
  model.parameters.dispose();
  return { done, lines };
}

async function runAesthetic(job: Job): Promise<Outcome> {
  const { device, out, from, training } = job;
  const { train, heldOut } = await albums(job);
  const { done, ...model } = await pretrainAesthetic(device, join(from, 'scenes-clip'), train, training);
  const lines: string[] = [];
  if (done === training.steps) {
    await saveAesthetic(out, model);
    const correlation = await ratingCorrelation(device, model, heldOut);
    lines.push(`correlation ${correlation.toFixed(3)} with the synthetic person's ratings of held-out pictures`);
  }
  for (const each of [model.parameters, model.head]) each.dispose();
  return { done, lines };
}

const alphas = alphasCumprod();

/** The levels of training, by a uniform number. */
const levels: Readonly<Record<GeneratorName, (uniform: number, row: number) => NoiseLevel>> = {
  'scenes-flow': (uniform, row) => {
    // Half uniform, half logit-normal (Esser et al. 2024, section 3.1): more of the middle, where pictures are decided.
    const sigma = row % 2 === 0 ? uniform : 1 / (1 + Math.exp(-normalQuantile(uniform)));
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

/** The standard normal's quantile, to 1e-3 of it (Tukey's lambda, which is close enough to draw levels by). */
const normalQuantile = (p: number): number => (p ** 0.14 - (1 - p) ** 0.14) / 0.1975;

/** Peak learning rates. */
const rates: Readonly<Record<GeneratorName, number>> = { 'scenes-flow': 3e-3, 'scenes-diffusion': 2e-3 };

async function runGenerator(name: GeneratorName, { device, out, from, tell, training }: Job): Promise<Outcome> {
  const onScenes = (done: number, scenes: number): void => {
    if (done % 8192 === 0 || done === scenes) tell(`encoded ${done}/${scenes} scenes`);
  };
  const onSample = async (pipeline: Pipeline, step: number): Promise<void> => {
    const { accuracy, score, path } = await examineGenerator(pipeline, out, { count: 128, name: `samples-${step}` });
    const checked = `scene checker ${percent(accuracy)} right, mean score ${score.toFixed(3)}`;
    tell(`step ${step}  ${checked}  ${path}`);
  };
  const done = await pretrainGenerator(device, name, out, {
    ...training,
    from,
    levelOf: levels[name],
    lr: rates[name],
    onScenes,
    onSample,
    sampleEvery: 2000,
  });
  if (done < training.steps) return { done, lines: [] };
  const pipeline = await loadPipeline(device, out); // f16, as a user gets it
  const { accuracy, score, path } = await examineGenerator(pipeline, out, { count: 512, name: 'samples' });
  pipeline.dispose();
  const measured = `scene checker ${percent(accuracy)} exactly right, mean score ${score.toFixed(3)}`;
  return { done, lines: [`${measured}, on 512 pictures of held-out captions`, `look  ${path}`] };
}

/** Draws held-out captions as evaluations do (10 steps, no guidance) and has the scene checker read the pictures. */
async function examineGenerator(
  pipeline: Pipeline,
  folder: string,
  { count, name }: { readonly count: number; readonly name: string },
): Promise<{ readonly accuracy: number; readonly score: number; readonly path: string }> {
  const words = Array.from({ length: count }, (_, i) => wordsOf.heldOut[i % wordsOf.heldOut.length]!);
  const jobs = words.map((own, i) => ({ prompt: writeCaption(own), seed: i }));
  const pictures = await drawJobs(frozenModel(pipeline), jobs, { steps: 10, guidance: 1, batch: 64 });
  const scores = pictures.map((picture, i) => checkScene(valuesOf(picture), words[i]!));
  const path = join(folder, `${name}.png`);
  const shown = jobs.slice(0, 64);
  const text = { prompts: shown.map(({ prompt }) => prompt).join('\n'), seeds: '0 and on' };
  await writeFile(path, encodePng(gridOf(pictures.slice(0, 64), 16), text));
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / count;
  return {
    accuracy: mean(scores.map(({ correct }) => Number(correct))),
    score: mean(scores.map(({ score }) => score)),
    path,
  };
}
