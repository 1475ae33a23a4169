/** Stable Diffusion 1.x and 2.x (Rombach et al. 2022): a UNet that predicts noise, beside one CLIP text encoder. */
import type { Device } from '../../engine/index.js';
import { clipTextKeys, vaeKeys } from '../files/key_layouts.js';
import { CLIPTextModel, clipTextConfig, clipTokens } from '../networks/clip_text.js';
import { UNet2DConditionModel } from '../networks/unet.js';
import { unetConfig } from '../networks/unet_config.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(sample, timestep, context). */
export type StableDiffusionPipeline = PipelineNetworks<'sd1', UNet2DConditionModel, typeof unetConfig> & LoadedPipeline;

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareStableDiffusion(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'sd1', UNet2DConditionModel, typeof unetConfig>> {
  const unet = await folder.component('unet', UNet2DConditionModel, unetConfig);
  const text = await folder.component('text_encoder', CLIPTextModel, clipTextConfig, clipTextKeys);
  const { network: vae } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  return {
    kind: 'sd1',
    ...unet,
    vae,
    latentChannels: unet.config.in_channels,
    latentSize: [unet.config.sample_size].flat()[0]!,
    async open(device: Device): Promise<PipelineCalls> {
      const tokenizer = await folder.tokenizer('tokenizer');
      return {
        encode(prompts) {
          const ids = prompts.map((prompt) => tokenizer.encode(prompt).ids);
          return [text.network.forward(clipTokens(device, ids, text.config).ids).lastHiddenState];
        },
        cut: (prompt) => tokenizer.encode(prompt).cut,
        predict: (latents, timestep, [context], options) => unet.network.forward(latents, timestep, context!, options),
      };
    },
  };
}
