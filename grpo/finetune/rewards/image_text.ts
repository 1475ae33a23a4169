/** Networks that put pictures and texts into one space, as rewards use them: cosines of unit vectors, texts read once each. */
import { type Device, noGrad, scope } from '../../../engine/index.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { readConfig } from '../../../models/files/config_file.js';
import { ModelFileError } from '../../../models/files/errors.js';
import { clipKeys } from '../../../models/files/key_layouts.js';
import { loadWeights } from '../../../models/files/weights.js';
import { CLIPModel, clipConfig } from '../../../models/networks/clip.js';
import { clipTokens } from '../../../models/networks/clip_text.js';
import { type ImageProcessor, readImageProcessor } from '../../../models/pictures/image_processor.js';
import { loadTokenizer, type Tokenizer } from '../../../models/text/tokenizer.js';
import type { RewardImage, Warn } from '../../rewards/reward.js';
import { dot, ImageEncoder, unit, type VisionSize, visionSizeOf } from './image_encoder.js';

/** What an image-text model is made of. */
export interface ImageTextParts {
  readonly clip: CLIPModel;
  readonly parameters: Parameters;
  readonly tokenizer: Tokenizer;
  readonly process: ImageProcessor;
  readonly vision: VisionSize;
  /** Of the tokenizer, for messages. */
  readonly folder: string;
}

/** A CLIP, and the texts it has read. */
export class ImageTextModel {
  private readonly texts = new Map<string, Float64Array>();

  private constructor(
    private readonly device: Device,
    private readonly parts: ImageTextParts,
    private readonly images: ImageEncoder,
  ) {}

  /** Owns the parts' weights from here on. Throws a ModelFileError where the tokenizer is that of another network. */
  static async create(device: Device, parts: ImageTextParts): Promise<ImageTextModel> {
    const { clip, parameters, tokenizer, process, vision, folder } = parts;
    try {
      const { ids } = tokenizer.encode('');
      const vocabulary = clip.textConfig.vocab_size;
      const largest = ids.reduce((a, b) => Math.max(a, b));
      if (largest >= vocabulary)
        throw new ModelFileError(folder, [
          `the tokenizer has a token ${largest}, the network's vocabulary ${vocabulary}`,
        ]);
      const images = await ImageEncoder.create(device, (pixels) => clip.imageFeatures(pixels), process, vision);
      return new ImageTextModel(device, parts, images);
    } catch (error) {
      parameters.dispose();
      throw error;
    }
  }

  /** The cosine of each picture with its prompt. `warn` is told of prompts that are not read to their end, each once. */
  async cosines(images: readonly RewardImage[], warn?: Warn): Promise<number[]> {
    await this.read(
      images.map(({ prompt }) => prompt),
      warn,
    );
    const vectors = await this.images.unitVectors(images);
    return images.map(({ prompt }, i) => dot(vectors[i]!, this.texts.get(prompt)!));
  }

  /** The factor of the cosines in the network's logits. */
  async scale(): Promise<number> {
    const { tensor } = this.parts.parameters.all.find(({ name }) => name === 'logit_scale')!;
    return Math.exp(await tensor.item());
  }

  dispose(): void {
    this.images.dispose();
    this.parts.parameters.dispose();
  }

  private async read(prompts: readonly string[], warn?: Warn): Promise<void> {
    const { clip, tokenizer } = this.parts;
    for (const prompt of new Set(prompts)) {
      if (this.texts.has(prompt)) continue;
      const { ids, cut } = tokenizer.encode(
        prompt,
        Math.min(tokenizer.length, clip.textConfig.max_position_embeddings),
      );
      if (cut !== '') warn?.(`${this.parts.folder} does not read the end of a prompt: «${cut}»`);
      const features = scope(this.device, () =>
        noGrad(() => clip.textFeatures(clipTokens(this.device, [ids], clip.textConfig), { recompute: true })),
      );
      this.texts.set(prompt, unit(Float64Array.from(await features.data())));
      features.dispose();
    }
  }
}

/**
 * Loads a folder in transformers' layout: config.json of a CLIPModel, model.safetensors, the tokenizer, and perhaps
 * preprocessor_config.json. Throws a ModelFileError for files that are missing or do not fit.
 */
export async function loadImageText(device: Device, folder: string): Promise<ImageTextModel> {
  const config = await readConfig(folder, clipConfig);
  const vision = visionSizeOf(config);
  const tokenizer = await loadTokenizer(folder);
  const process = await readImageProcessor(folder, vision.imageSize);
  const parameters = new Parameters({ storage: 'f16' });
  const clip = new CLIPModel(parameters, config);
  await loadWeights(device, folder, parameters, { keys: clipKeys });
  return ImageTextModel.create(device, { clip, parameters, tokenizer, process, vision, folder });
}
