/**
 * The models' public surface: whole model folders, their networks in the layouts of diffusers and transformers, LoRA, and what
 * turns texts and pictures into tensors.
 *
 *     const device = await Device.create();
 *     const { network, encode } = await loadPipeline(device, 'stable-diffusion-v1-4', { kind: 'sd1' });
 *     const [context] = encode(['a red circle']);
 *     const noise = network.forward(latents, timestep, context); // a UNet2DConditionModel
 *
 * A network by itself is declared by its config, then loaded:
 *
 *     const parameters = new Parameters({ storage: 'f16' });
 *     const unet = new UNet2DConditionModel(parameters, await readConfig(folder, unetConfig));
 *     await loadWeights(device, folder, parameters);
 */

export type { ForwardOptions } from './blocks/block.js';
export { type InitializeOptions, initializeParameters } from './blocks/initialize.js';
export { type Parameter, type ParameterOptions, Parameters } from './blocks/parameters.js';
export { type EmbeddedModel, embeddedFolder, embeddedModels } from './embedded/index.js';
export type { ConfigOf, ConfigTable, ResolvedConfig } from './files/config.js';
export { readConfig } from './files/config_file.js';
export { ModelFileError, type Warn } from './files/errors.js';
export { clipKeys, clipTextKeys, clipVisionKeys, type KeyLayout, t5Keys, vaeKeys } from './files/key_layouts.js';
export { type LoadOptions, loadWeights, type SaveOptions, saveWeights } from './files/weights.js';
export type { LoraComponent } from './lora/layouts.js';
export { type LoadLoraOptions, loadLora } from './lora/load_lora.js';
export { Lora, type LoraModule, type LoraOptions, type LoraTargets, loraTargets } from './lora/lora.js';
export { type LoraWeights, type SaveLoraOptions, saveLora } from './lora/save_lora.js';
export { type CLIPConfig, CLIPModel, clipConfig } from './networks/clip.js';
export type { CLIPOutput } from './networks/clip_encoder.js';
export {
  type CLIPTextConfig,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  type CLIPTokens,
  clipTextConfig,
  clipTokens,
} from './networks/clip_text.js';
export { type CLIPVisionConfig, CLIPVisionModelWithProjection, clipVisionConfig } from './networks/clip_vision.js';
export { DiTTransformer2DModel, type DiTTransformerConfig, ditConfig } from './networks/dit.js';
export { SD3Transformer2DModel, type SD3TransformerConfig, sd3Config } from './networks/mmdit.js';
export { type T5Config, T5EncoderModel, t5Config, t5Tokens } from './networks/t5.js';
export { UNet2DConditionModel } from './networks/unet.js';
export { type UNet2DConditionConfig, unetConfig } from './networks/unet_config.js';
export {
  AutoencoderKL,
  type AutoencoderKLConfig,
  sampleLatents,
  splitMoments,
  vaeConfig,
} from './networks/vae.js';
export {
  clipMean,
  clipStd,
  type ImageProcessor,
  type ImageProcessorOptions,
  imageProcessor,
  readImageProcessor,
} from './pictures/image_processor.js';
export { decodePng, encodePng, type Picture, pictureOf, valuesOf } from './pictures/png.js';
export type { DiTPipeline } from './pipeline/dit.js';
export { type PipelineKind, type PipelineRow, pipelineKinds } from './pipeline/kinds.js';
export {
  loadPipeline,
  measurePipeline,
  type Pipeline,
  type PipelineOptions,
  type PipelineSizes,
} from './pipeline/pipeline.js';
export { type PromptEmbeds, readPromptEmbeds } from './pipeline/prompt_embeds.js';
export type { StableDiffusionPipeline } from './pipeline/sd1.js';
export type { StableDiffusion3Pipeline } from './pipeline/sd3.js';
export { type Encoding, loadTokenizer, type Tokenizer } from './text/tokenizer.js';
