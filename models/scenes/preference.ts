/**
 * Training of rewards from the judgements of a synthetic person, as the field trains them from people's: a CLIP is trained on
 * with pairs of pictures for a caption, of which one is preferred (PickScore: Kirstain et al. 2023; HPSv2: Wu et al. 2023).
 */
import { join } from 'node:path';
import {
  backward,
  capture,
  concat,
  crossEntropy,
  type Device,
  exp,
  mul,
  noGrad,
  slice,
  sum,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { writeSafetensors } from '../../engine/safetensors.js';
import { openClipConfigOf, openClipTensors } from '../files/open_clip.js';
import { writeJson } from '../files/weight_files.js';
import type { CLIPModel } from '../networks/clip.js';
import { clipMean, clipStd } from '../pictures/image_processor.js';
import { type SceneWords, varyWords, writeCaption } from './caption.js';
import { CaptionInput, loadClip, type ScenesClip, saveClip, scenesClipConfig } from './clip.js';
import { copyFolder, tokenizerFiles } from './generator_folder.js';
import { prefers, type Taste, tastes, utility } from './judge.js';
import { Album, batchOf, halves, type Normalisation, type SeenPicture } from './pictures.js';
import { type Random, randomStream } from './random.js';
import { learning, readerSettings, runTraining, stepStream, type TrainingOptions } from './training.js';
import { pictureInput } from './vae.js';

/** Rewards that are trained from pairs. */
export type PreferenceName = 'scenes-pick' | 'scenes-hps';

export interface PretrainPreferenceOptions extends TrainingOptions {
  /** Pairs a step. */
  readonly batch: number;
  /** Peak learning rate. Default 1e-3. */
  readonly lr?: number;
}

/** What its package does to pictures: PickScore's folder says so itself, HPSv2's always takes OpenAI's constants. */
const normalisations: Readonly<Record<PreferenceName, Normalisation>> = {
  'scenes-pick': halves,
  'scenes-hps': { mean: clipMean, std: clipStd },
};

/** The factor of cosines to begin with; that of contrastive training would be too sure of every pair. */
const initialScale = 10;

/** Trains the CLIP in `base` on. The caller owns the parameters. */
export async function pretrainPreference(
  device: Device,
  name: PreferenceName,
  base: string,
  pictures: readonly SeenPicture[],
  options: PretrainPreferenceOptions,
): Promise<ScenesClip & { readonly done: number }> {
  return owning(async (own) => {
    const { seed, batch, lr = 1e-3 } = options;
    const model = await loadClip(device, base);
    const { clip, parameters, tokenizer } = model;
    own(parameters);
    const scale = parameters.all.find((parameter) => parameter.name === 'logit_scale')!.tensor;
    scale.write([Math.log(initialScale)]);
    const { weights, optimizer } = learning(parameters.all, { lr, ...readerSettings });
    own(optimizer);
    const captions = own(new CaptionInput(device, tokenizer, batch));
    const pixels = own(pictureInput(device, 2 * batch)); // the preferred ones, then the others
    const first = own(tensor(device, new Uint32Array(batch), [batch], 'u32'));
    const step = own(
      await capture(device, () => {
        const scores = pairCosines(clip, captions, pixels).map((cosines) => mul(cosines, exp(scale)));
        const loss = crossEntropy(concat(scores, 1), first);
        optimizer.step(backward(loss, weights));
        return { loss };
      }),
    );
    const album = new Album(pictures);
    const feed = (i: number): void => {
      const random = stepStream(seed, i);
      const pairs = Array.from({ length: batch }, () => judgedPair(album, tastes[name], random));
      captions.write(pairs.map(({ asked }) => writeCaption(asked)));
      const seen = [...pairs.map(({ better }) => better), ...pairs.map(({ worse }) => worse)];
      pixels.write(batchOf(seen, normalisations[name]));
    };
    const identity = { model: name, seed, batch, lr, pictures: pictures.length };
    const done = await runTraining({ identity, parameters, optimizer, step, lr, feed }, options);
    for (const thing of [step, optimizer, captions, pixels, first]) thing.dispose();
    return { ...model, done };
  });
}

/** The cosines of each caption with the first and with the second picture of its pair, [pairs, 1]; first pictures come first. */
function pairCosines(clip: CLIPModel, captions: CaptionInput, pixels: Tensor): [first: Tensor, second: Tensor] {
  const images = clip.imageFeatures(pixels);
  const texts = clip.textFeatures(captions.tokens);
  const pairs = texts.shape[0]!;
  const cosines = (start: number): Tensor =>
    sum(mul(slice(images, 0, start, start + pairs), texts), 1, { keepDims: true });
  return [cosines(0), cosines(pairs)];
}

/** Two pictures for a caption; each shows it, or all but one thing of it, or something else altogether. */
function drawPair(album: Album, random: Random): { asked: SceneWords; pair: [SeenPicture, SeenPicture] } {
  const asked = album.any(random).words;
  const draw = (): SeenPicture => {
    const kind = random.next();
    const found = kind < 0.88 ? album.of(kind < 0.55 ? asked : varyWords(asked, random), random) : album.any(random);
    return found ?? draw(); // words of the other split have no picture here
  };
  return { asked, pair: [draw(), draw()] };
}

function judgedPair(album: Album, taste: Taste, random: Random) {
  const { asked, pair } = drawPair(album, random);
  const [first, second] = pair.map((picture) => utility(taste, asked, picture)) as [number, number];
  const [better, worse] = prefers(first, second, random) ? pair : [pair[1], pair[0]];
  return { asked, better, worse };
}

/** The share of pairs of which a reward likes the same as the person does in a moment without error: 2048 of them. */
export async function pairAgreement(
  device: Device,
  name: PreferenceName,
  { clip, tokenizer }: ScenesClip,
  pictures: readonly SeenPicture[],
): Promise<number> {
  const taste = tastes[name];
  const album = new Album(pictures);
  const random = randomStream(7);
  const [atOnce, rounds] = [64, 32];
  const captions = new CaptionInput(device, tokenizer, atOnce);
  const pixels = pictureInput(device, 2 * atOnce);
  const step = await capture(device, () =>
    noGrad(() => {
      const [first, second] = pairCosines(clip, captions, pixels);
      return { first, second };
    }),
  );
  let agreed = 0;
  for (let round = 0; round < rounds; round++) {
    const drawn = Array.from({ length: atOnce }, () => drawPair(album, random));
    captions.write(drawn.map(({ asked }) => writeCaption(asked)));
    const seen = [0, 1].flatMap((i) => drawn.map(({ pair }) => pair[i]!));
    pixels.write(batchOf(seen, normalisations[name]));
    step.run();
    const [first, second] = await Promise.all([step.outputs.first.data(), step.outputs.second.data()]);
    for (const [i, { asked, pair }] of drawn.entries()) {
      const [a, b] = pair.map((picture) => utility(taste, asked, picture)) as [number, number];
      if (a > b === first[i]! > second[i]!) agreed++;
    }
  }
  for (const thing of [step, captions, pixels]) thing.dispose();
  return agreed / (atOnce * rounds);
}

/** Writes the reward's folder, f16: scenes-pick as PickScore's, scenes-hps as HPSv2.1's, an OpenCLIP checkpoint. */
export async function savePreference(
  folder: string,
  name: PreferenceName,
  base: string,
  model: ScenesClip,
): Promise<void> {
  await copyFolder(base, folder, (file) => tokenizerFiles.includes(file));
  if (name === 'scenes-pick') return saveClip(folder, model.parameters);
  await writeJson(join(folder, 'open_clip_config.json'), { model_cfg: openClipConfigOf(scenesClipConfig) });
  const path = join(folder, 'HPS_v2.1_compressed.safetensors');
  await writeSafetensors(path, openClipTensors(model.parameters, 'F16'), { format: 'pt' });
}
