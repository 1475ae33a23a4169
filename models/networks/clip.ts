/** CLIP (Radford et al. 2021): texts and images in one space. Configs and names of weights are transformers'. */
import { exp, matmul, mul, rsqrt, square, sum, type Tensor } from '../../engine/index.js';
import type { ForwardOptions } from '../blocks/block.js';
import type { Parameters } from '../blocks/parameters.js';
import {
  type ConfigOf,
  configTable,
  count,
  object,
  problemsWithin,
  type ResolvedConfig,
  resolveConfig,
} from '../files/config.js';
import type { CLIPOutput } from './clip_encoder.js';
import { CLIPTextModelWithProjection, type CLIPTokens, clipTextConfig } from './clip_text.js';
import { CLIPVisionModelWithProjection, clipVisionConfig } from './clip_vision.js';

/** config.json of a whole model. The defaults are those of transformers. */
export const clipConfig = configTable({
  network: 'CLIP',
  classes: ['CLIPModel'],
  keys: {
    /** The config of the text encoder. */
    text_config: object(clipTextConfig),
    /** Old folders have text_config a second time under this key, which then counts alone. */
    text_config_dict: object(clipTextConfig),
    /** The config of the image encoder. */
    vision_config: object(clipVisionConfig),
    /** Old folders have vision_config a second time under this key, which then counts alone. */
    vision_config_dict: object(clipVisionConfig),
    /** Features of the space that texts and images share. Those within the two halves do not count. */
    projection_dim: count(512),
  },
  *across({ text_config: text, text_config_dict: oldText, vision_config: vision, vision_config_dict: oldVision }) {
    yield* problemsWithin(oldText ? 'text_config_dict' : 'text_config', clipTextConfig, oldText ?? text);
    yield* problemsWithin(oldVision ? 'vision_config_dict' : 'vision_config', clipVisionConfig, oldVision ?? vision);
  },
});

/** A config as callers write it. */
export type CLIPConfig = ConfigOf<typeof clipConfig>;

/** x / |x| over the last axis. */
const normalise = (x: Tensor): Tensor => mul(x, rsqrt(sum(square(x), -1, { keepDims: true })));

/** Text and images in one space. */
export class CLIPModel {
  /** The config of the text encoder, for clipTokens. */
  readonly textConfig: ResolvedConfig<typeof clipTextConfig>;
  /** The config of the image encoder. */
  readonly visionConfig: ResolvedConfig<typeof clipVisionConfig>;
  /** The logarithm of the factor of the logits. */
  private readonly logitScale: Tensor;
  private readonly text: CLIPTextModelWithProjection;
  private readonly vision: CLIPVisionModelWithProjection;

  /** Throws a CheckError for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: CLIPConfig) {
    const { projection_dim, ...halves } = resolveConfig(clipConfig, config);
    const text = halves.text_config_dict ?? halves.text_config;
    const vision = halves.vision_config_dict ?? halves.vision_config;
    this.logitScale = parameters.tensor('logit_scale', []);
    this.textConfig = resolveConfig(clipTextConfig, { ...text, projection_dim });
    this.visionConfig = resolveConfig(clipVisionConfig, { ...vision, projection_dim });
    this.text = new CLIPTextModelWithProjection(parameters, this.textConfig);
    this.vision = new CLIPVisionModelWithProjection(parameters, this.visionConfig);
  }

  /** The texts as unit vectors [B, projection_dim]. */
  textFeatures(tokens: CLIPTokens, options: ForwardOptions = {}): Tensor {
    return this.readTexts(tokens, options).features;
  }

  /** Gives the texts as textFeatures() does, and the states of their tokens. */
  readTexts(tokens: CLIPTokens, options: ForwardOptions = {}): CLIPOutput & { readonly features: Tensor } {
    const { textEmbeds, ...output } = this.text.forward(tokens, options);
    return { ...output, features: normalise(textEmbeds) };
  }

  /** The images, [B, channels, image_size, image_size], normalised, as unit vectors [B, projection_dim]. */
  imageFeatures(pixels: Tensor, options: ForwardOptions = {}): Tensor {
    return normalise(this.vision.forward(pixels, options).imageEmbeds);
  }

  /** exp(logit_scale) times the cosine of each text [N, dim] with each image [M, dim]: [N, M]. */
  logits(textFeatures: Tensor, imageFeatures: Tensor): Tensor {
    return mul(matmul(textFeatures, imageFeatures, { transposeB: true }), exp(this.logitScale));
  }
}
