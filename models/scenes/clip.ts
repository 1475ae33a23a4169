/** Contrastive pretraining of text and image encoders on scenes and their captions (Radford et al. 2021). */

import { join } from 'node:path';
import { makeFolder } from '../../engine/files.js';
import { add, backward, capture, contrastive, type Device, mul, noGrad, scope, tensor } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { initializeParameters } from '../blocks/initialize.js';
import { Parameters } from '../blocks/parameters.js';
import { readConfig } from '../files/config_file.js';
import { writeJson } from '../files/weight_files.js';
import { loadWeights, saveWeights } from '../files/weights.js';
import { type CLIPConfig, CLIPModel, clipConfig } from '../networks/clip.js';
import { type CLIPTokens, clipTokens, pooledPosition } from '../networks/clip_text.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';
import { WordLoss } from './attributes.js';
import { type SceneWords, varyWords, writeCaption } from './caption.js';
import { Album, batchOf, type SeenPicture } from './pictures.js';
import { type Random, randomStream } from './random.js';
import { sceneSize } from './scenes.js';
import { learning, readerSettings, runTraining, stepStream, type TrainingOptions } from './training.js';
import { pictureInput } from './vae.js';
import { captionLength, captionVocabulary, saveTokenizer } from './vocabulary.js';

const { vocabulary, bos, eos } = captionVocabulary();

const tower = { hidden_size: 64, intermediate_size: 256, num_attention_heads: 4, hidden_act: 'quick_gelu' } as const;
const projection = 64;

/** The text encoder, alone as the generators have it. */
export const scenesTextConfig = {
  ...tower,
  num_hidden_layers: 2,
  vocab_size: Object.keys(vocabulary).length,
  max_position_embeddings: captionLength,
  projection_dim: projection,
  bos_token_id: bos,
  eos_token_id: eos,
  pad_token_id: eos,
} as const;

/** The embedded CLIP: 32 x 32 pictures in patches of 8. */
export const scenesClipConfig = {
  architectures: ['CLIPModel'],
  model_type: 'clip',
  projection_dim: projection,
  text_config: scenesTextConfig,
  vision_config: { ...tower, num_hidden_layers: 3, image_size: sceneSize, patch_size: 8, projection_dim: projection },
} as const satisfies CLIPConfig & Record<string, unknown>;

export interface PretrainClipOptions extends TrainingOptions {
  /** Pictures a step, half of them twins: the words of another with one thing changed. */
  readonly batch: number;
  /** Peak learning rate. Default 1e-3. */
  readonly lr?: number;
}

/** Pictures that are damaged more than this show their caption too faintly to be told by it. */
const damageAtMost = 0.3;

/** Weight of the words' loss beside the contrastive loss. */
const wordShare = 1;

export interface ScenesClip {
  readonly clip: CLIPModel;
  readonly parameters: Parameters;
  readonly tokenizer: Tokenizer;
}

/** Captions as inputs of a captured step. */
export class CaptionInput {
  readonly tokens: CLIPTokens;

  constructor(
    device: Device,
    private readonly tokenizer: Tokenizer,
    count: number,
  ) {
    const ids = tensor(device, new Uint32Array(count * captionLength), [count, captionLength], 'u32');
    this.tokens = { ids, pooled: tensor(device, new Uint32Array(count), [count], 'u32') };
  }

  write(captions: readonly string[]): void {
    const texts = captions.map((caption) => this.tokenizer.encode(caption).ids);
    this.tokens.ids.write(Uint32Array.from(texts.flat()));
    this.tokens.pooled.write(Uint32Array.from(texts, (text, row) => row * captionLength + pooledPosition(text, eos)));
  }

  dispose(): void {
    this.tokens.ids.dispose();
    this.tokens.pooled.dispose();
  }
}

/** Trains from random weights. The folder gets the tokenizer at once; the caller owns the parameters. */
export async function pretrainClip(
  device: Device,
  folder: string,
  pictures: readonly SeenPicture[],
  options: PretrainClipOptions,
): Promise<ScenesClip & { readonly done: number }> {
  return owning(async (own) => {
    const { seed, batch, lr = 1e-3 } = options;
    await saveTokenizer(folder);
    const tokenizer = await loadTokenizer(folder);
    const parameters = own(new Parameters());
    const clip = new CLIPModel(parameters, scenesClipConfig);
    await initializeParameters(device, parameters, seed, { embedding: /(token|position|class)_embedding/ });
    const heads = own(new Parameters());
    const words = own(new WordLoss(device, heads, batch, tower.hidden_size, 2, captionLength));
    await initializeParameters(device, heads, seed);
    const trained = { all: [...parameters.all, ...heads.all] };
    parameters.all.find(({ name }) => name === 'logit_scale')!.tensor.write([Math.log(1 / 0.07)]);
    const { weights, optimizer } = learning(trained.all, { lr, ...readerSettings });
    own(optimizer);

    const captions = own(new CaptionInput(device, tokenizer, batch));
    const pixels = own(pictureInput(device, batch));
    const step = own(
      await capture(device, () => {
        const images = clip.imageFeatures(pixels);
        const { features, hiddenStates, lastHiddenState } = clip.readTexts(captions.tokens);
        // The generators attend to one of these two: SD3's to the last but one, SD1's to the last.
        const named = words.of([hiddenStates.at(-2)!, lastHiddenState]);
        const loss = add(contrastive(clip.logits(features, images)), mul(named, wordShare));
        optimizer.step(backward(loss, weights));
        return { loss };
      }),
    );
    const album = new Album(pictures.filter(({ damage }) => damage <= damageAtMost));
    const feed = (i: number): void => {
      const random = stepStream(seed, i);
      const seen = drawTwins(album, random, batch);
      words.feed(seen.map((picture) => picture.words));
      captions.write(seen.map((picture) => writeCaption(picture.words)));
      pixels.write(batchOf(seen));
    };
    const identity = { model: 'scenes-clip', seed, batch, lr, pictures: pictures.length };
    const done = await runTraining({ identity, parameters: trained, optimizer, step, lr, feed }, options);
    for (const thing of [step, optimizer, heads, words, captions, pixels]) thing.dispose();
    return { clip, parameters, tokenizer, done };
  });
}

/** Pictures of distinct captions, each but the last odd one followed by its twin. */
function drawTwins(album: Album, random: Random, count: number): SeenPicture[] {
  const seen: SeenPicture[] = [];
  const known = new Set<string>();
  const addNew = (picture: SeenPicture | undefined): boolean => {
    if (!picture) return false; // words of a held-out caption
    const caption = writeCaption(picture.words);
    if (known.has(caption)) return false;
    known.add(caption);
    seen.push(picture);
    return true;
  };
  while (seen.length < count) {
    const picture = album.any(random);
    if (!addNew(picture)) continue;
    const twin = (): SeenPicture | undefined => album.of(varyWords(picture.words, random), random);
    for (let tries = 0; seen.length < count && tries < 20 && !addNew(twin()); tries++);
  }
  return seen;
}

/** What transformers' CLIPImageProcessor does to the pictures: values from -1 to 1. */
const preprocessor = {
  image_processor_type: 'CLIPImageProcessor',
  do_resize: true,
  size: { shortest_edge: sceneSize },
  do_center_crop: true,
  crop_size: { height: sceneSize, width: sceneSize },
  do_rescale: true,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
};

/** Writes the folder as transformers does, f16. */
export async function saveClip(folder: string, parameters: Parameters): Promise<void> {
  await makeFolder(folder);
  await writeJson(join(folder, 'config.json'), scenesClipConfig);
  await writeJson(join(folder, 'preprocessor_config.json'), preprocessor);
  await saveWeights(folder, parameters, { dtype: 'F16', name: 'model' });
}

/** Loads such a folder, with the tokenizer in it. */
export async function loadClip(device: Device, folder: string): Promise<ScenesClip> {
  const tokenizer = await loadTokenizer(folder);
  const parameters = new Parameters();
  const clip = new CLIPModel(parameters, await readConfig(folder, clipConfig));
  await loadWeights(device, folder, parameters);
  return { clip, parameters, tokenizer };
}

/** Logits [pictures, captions]. */
async function logitsOf(
  device: Device,
  { clip, tokenizer }: ScenesClip,
  pictures: readonly SeenPicture[],
  words: readonly SceneWords[],
): Promise<Float32Array> {
  const pixels = scope(device, () => tensor(device, batchOf(pictures), [pictures.length, 3, sceneSize, sceneSize]));
  const logits = scope(device, () =>
    noGrad(() => {
      const texts = words.map((own) => tokenizer.encode(writeCaption(own)).ids);
      return clip.logits(clip.imageFeatures(pixels), clip.textFeatures(clipTokens(device, texts, clip.textConfig)));
    }),
  );
  const values = Float32Array.from(await logits.data());
  for (const thing of [logits, pixels]) thing.dispose();
  return values;
}

/**
 * The share of pictures whose own caption scores the highest among those of all the pictures (top-1), and the share that
 * prefer their caption to a twin's with one thing changed. The pictures are those that the network was made for, little
 * damaged; 512 of them at most.
 */
export async function retrieval(
  device: Device,
  model: ScenesClip,
  pictures: readonly SeenPicture[],
  seed = 1,
): Promise<{ readonly top1: number; readonly twins: number; readonly captions: number }> {
  const random = randomStream(seed);
  const seen = pictures.filter(({ damage }) => damage <= damageAtMost).slice(0, 512);
  const captions = [...new Map(seen.map(({ words }) => [writeCaption(words), words])).values()];
  const all = await logitsOf(device, model, seen, captions);
  const n = captions.length;
  const hits = seen.filter(({ words }, i) => {
    const row = all.subarray(i * n, (i + 1) * n);
    return writeCaption(captions[row.indexOf(row.reduce((a, b) => Math.max(a, b)))]!) === writeCaption(words);
  });
  let preferred = 0;
  for (const picture of seen) {
    const [own, twin] = await logitsOf(device, model, [picture], [picture.words, varyWords(picture.words, random)]);
    if (own! > twin!) preferred++;
  }
  return { top1: hits.length / seen.length, twins: preferred / seen.length, captions: n };
}
