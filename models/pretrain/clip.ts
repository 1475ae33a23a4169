/** Contrastive pretraining of text and image encoders on scenes and their captions (Radford et al. 2021). */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AdamW,
  add,
  backward,
  capture,
  contrastive,
  type Device,
  moveTogether,
  mul,
  noGrad,
  normal,
  scope,
  tensor,
} from '../../engine/index.js';
import { type CLIPConfig, CLIPModel, type CLIPTokens, clipTokens, pooledPosition } from '../clip.js';
import { clipConfig, readConfig } from '../config_file.js';
import { initializeParameters } from '../initialize.js';
import { Parameters } from '../parameters.js';
import { loadTokenizer, type Tokenizer } from '../tokenizer.js';
import { writeJson } from '../weight_files.js';
import { loadWeights, saveWeights } from '../weights.js';
import { NounLoss, nounsOf } from './attributes.js';
import { isHeldOut, type SceneWords, varyWords, writeCaption } from './caption.js';
import { type Random, randomStream } from './random.js';
import { makeScene, placeScene, type Scene, sceneSize } from './scenes.js';
import { noiseKeys, runTraining, stepStream, type TrainingOptions } from './training.js';
import { networkPixels } from './vae.js';
import { captionLength, captionVocabulary, saveTokenizer } from './vocabulary.js';

const { vocabulary, bos, eos } = captionVocabulary();

const tower = { hidden_size: 128, intermediate_size: 512, num_attention_heads: 4, hidden_act: 'quick_gelu' } as const;
const projection = 128;

/** The text encoder, alone as the generators have it. */
export const scenesTextConfig = {
  ...tower,
  num_hidden_layers: 3,
  vocab_size: Object.keys(vocabulary).length,
  max_position_embeddings: captionLength,
  projection_dim: projection,
  bos_token_id: bos,
  eos_token_id: eos,
  pad_token_id: eos,
} as const;

/** The embedded CLIP: 64 x 64 pictures in patches of 8. */
export const scenesClipConfig = {
  architectures: ['CLIPModel'],
  model_type: 'clip',
  projection_dim: projection,
  text_config: scenesTextConfig,
  vision_config: { ...tower, num_hidden_layers: 4, image_size: sceneSize, patch_size: 8, projection_dim: projection },
} as const satisfies CLIPConfig & Record<string, unknown>;

export interface PretrainClipOptions extends TrainingOptions {
  /** Pictures a step, half of them twins: the words of another with one thing changed. */
  readonly batch: number;
  /** Peak learning rate. Default 1e-3. */
  readonly lr?: number;
}

/** Deviation of the noise on a picture, at most: rewards meet pictures that are not quite clean. */
const noiseLevel = 0.15;

/** Weight of the attributes at the nouns beside the contrastive loss. */
const nounShare = 0.25;

export interface ScenesClip {
  readonly clip: CLIPModel;
  readonly parameters: Parameters;
  readonly tokenizer: Tokenizer;
}

/** Trains from random weights. The folder gets the tokenizer at once; the caller owns the parameters. */
export async function pretrainClip(
  device: Device,
  folder: string,
  options: PretrainClipOptions,
): Promise<ScenesClip & { readonly done: number }> {
  const { seed, batch, lr = 1e-3 } = options;
  await saveTokenizer(folder);
  const tokenizer = await loadTokenizer(folder);
  const parameters = new Parameters(device);
  const clip = new CLIPModel(parameters, scenesClipConfig);
  await initializeParameters(parameters, seed, { embedding: /(token|position|class)_embedding/ });
  const heads = new Parameters(device);
  const nouns = new NounLoss(heads, batch, tower.hidden_size, 2);
  await initializeParameters(heads, seed);
  const trained = new Parameters(device, {}, '', {
    all: [...parameters.all, ...heads.all],
    linears: new Map(),
  });
  parameters.all.find(({ name }) => name === 'logit_scale')!.tensor.write([Math.log(1 / 0.07)]);
  const weights = trained.all.map(({ tensor: weight }) => weight.requireGrad());
  moveTogether(weights);
  const optimizer = new AdamW(weights, { lr, betas: [0.9, 0.98], weightDecay: 1e-2, maxGradNorm: 1 });

  const ids = tensor(device, new Uint32Array(batch * captionLength), [batch, captionLength], 'u32');
  const pooled = tensor(device, new Uint32Array(batch), [batch], 'u32');
  const pixels = tensor(device, new Float32Array(batch * 3 * sceneSize ** 2), [batch, 3, sceneSize, sceneSize]);
  const levels = tensor(device, new Float32Array(batch), [batch, 1, 1, 1]);
  const keys = noiseKeys(device, batch, seed);
  const counter = tensor(device, [0], [1], 'u32');
  const step = await capture(device, () => {
    const noise = mul(normal(keys, counter, pixels.shape), levels);
    const images = clip.imageFeatures(add(pixels, noise));
    const { features, hiddenStates, lastHiddenState } = clip.readTexts({ ids, pooled });
    // The generators attend to one of these two: SD3's to the last but one, SD1's to the last.
    const named = nouns.of([hiddenStates.at(-2)!, lastHiddenState]);
    const loss = add(contrastive(clip.logits(features, images)), mul(named, nounShare));
    optimizer.step(backward(loss, weights));
    return { loss };
  });
  const feed = (i: number): void => {
    const random = stepStream(seed, i);
    const scenes = drawTwins(random, batch);
    const texts = scenes.map(({ caption }) => tokenizer.encode(caption).ids);
    nouns.feed(scenes.map(({ words }, i) => nounsOf(words, texts[i]!)));
    ids.write(Uint32Array.from(texts.flat()));
    pooled.write(Uint32Array.from(texts, (text, row) => row * captionLength + pooledPosition(text, eos)));
    pixels.write(networkPixels(scenes));
    levels.write(Float32Array.from({ length: batch }, () => noiseLevel * random.next()));
    counter.write([i]);
  };
  const identity = { model: 'scenes-clip', seed, batch, lr };
  const done = await runTraining({ identity, parameters: trained, optimizer, step, lr, feed }, options);
  for (const thing of [step, optimizer, heads, nouns, ids, pooled, pixels, levels, keys, counter]) thing.dispose();
  return { clip, parameters, tokenizer, done };
}

/** Scenes of distinct captions, each but the last odd one followed by its twin. */
function drawTwins(random: Random, count: number): Scene[] {
  const scenes: Scene[] = [];
  const known = new Set<string>();
  const addNew = (words: SceneWords): boolean => {
    const caption = writeCaption(words);
    if (isHeldOut(caption) || known.has(caption)) return false;
    known.add(caption);
    scenes.push(placeScene(words, random));
    return true;
  };
  while (scenes.length < count) {
    const { words } = makeScene(random.below(2 ** 31), 0, 'train');
    if (!addNew(words)) continue;
    for (let tries = 0; scenes.length < count && tries < 20 && !addNew(varyWords(words, random)); tries++);
  }
  return scenes;
}

/** Writes the folder as transformers does, f16. */
export async function saveClip(folder: string, parameters: Parameters): Promise<void> {
  const half = [0.5, 0.5, 0.5];
  const preprocessor = {
    image_processor_type: 'CLIPImageProcessor',
    do_resize: true,
    size: { shortest_edge: sceneSize },
    do_center_crop: true,
    crop_size: { height: sceneSize, width: sceneSize },
    do_rescale: true,
    do_normalize: true,
    image_mean: half,
    image_std: half,
  };
  await mkdir(folder, { recursive: true });
  await writeJson(join(folder, 'config.json'), scenesClipConfig);
  await writeJson(join(folder, 'preprocessor_config.json'), preprocessor);
  await saveWeights(folder, parameters, { dtype: 'F16', name: 'model' });
}

/** Loads such a folder, with the tokenizer in it. */
export async function loadClip(device: Device, folder: string): Promise<ScenesClip> {
  const parameters = new Parameters(device);
  try {
    const clip = new CLIPModel(parameters, await readConfig(folder, clipConfig));
    await loadWeights(folder, parameters);
    return { clip, parameters, tokenizer: await loadTokenizer(folder) };
  } catch (error) {
    parameters.dispose();
    throw error;
  }
}

/** Logits [pictures, captions] of scenes. */
async function logitsOf(
  device: Device,
  { clip, tokenizer }: ScenesClip,
  scenes: readonly Scene[],
): Promise<Float32Array> {
  const pixels = tensor(device, networkPixels(scenes), [scenes.length, 3, sceneSize, sceneSize]);
  const logits = scope(device, () =>
    noGrad(() => {
      const tokens: CLIPTokens = clipTokens(
        device,
        scenes.map(({ caption }) => tokenizer.encode(caption).ids),
        clip.textConfig,
      );
      const texts = clip.textFeatures(tokens);
      return clip.logits(clip.imageFeatures(pixels), texts); // rows are pictures
    }),
  );
  const values = Float32Array.from(await logits.data());
  for (const thing of [logits, pixels]) thing.dispose();
  return values;
}

/**
 * The share of held-out pictures whose own caption scores highest among 64 distinct ones (top-1, several such sets), and
 * the share of pictures that prefer their caption to a twin's with one thing changed.
 */
export async function retrieval(
  device: Device,
  model: ScenesClip,
  { sets = 4, seed = 1 }: { readonly sets?: number; readonly seed?: number } = {},
): Promise<{ readonly top1: number; readonly twins: number }> {
  const random = randomStream(seed);
  let hits = 0;
  let preferred = 0;
  let index = 0;
  for (let set = 0; set < sets; set++) {
    const scenes = new Map<string, Scene>();
    while (scenes.size < 64) {
      const scene = makeScene(seed, index++, 'heldOut');
      scenes.set(scene.caption, scene);
    }
    const all = [...scenes.values()];
    const logits = await logitsOf(device, model, all);
    const row = (i: number): Float32Array => logits.subarray(i * 64, (i + 1) * 64);
    hits += all.filter((_, i) => row(i).every((value) => value <= row(i)[i]!)).length;
    const pairs = all.flatMap((scene) => [scene, placeScene(varyWords(scene.words, random), random)]);
    const paired = await logitsOf(device, model, pairs);
    preferred += all.filter((_, i) => paired[2 * i * 128 + 2 * i]! > paired[2 * i * 128 + 2 * i + 1]!).length;
  }
  return { top1: hits / (64 * sets), twins: preferred / (64 * sets) };
}
