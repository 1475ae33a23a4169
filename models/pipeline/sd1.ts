/** Stable Diffusion 1.x and 2.x (Rombach et al. 2022): a UNet that predicts noise, beside one CLIP text encoder. */
import type { Device } from '../../engine/index.js';
import { clipTextKeys, vaeKeys } from '../files/key_layouts.js';
import { CLIPTextModel, clipTextConfig, clipTokens } from '../networks/clip_text.js';
import { UNet2DConditionModel } from '../networks/unet.js';
import { unetConfig } from '../networks/unet_config.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import { equal, fits, latentKeys, saying } from './agreement.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(sample, timestep, context). */
export type StableDiffusionPipeline = PipelineNetworks<'sd1', UNet2DConditionModel, typeof unetConfig> & LoadedPipeline;

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareStableDiffusion(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'sd1', UNet2DConditionModel, typeof unetConfig>> {
  const unet = await folder.component('unet', UNet2DConditionModel, unetConfig);
  const text = folder.has('text_encoder')
    ? await folder.component('text_encoder', CLIPTextModel, clipTextConfig, clipTextKeys)
    : undefined;
  const { network: vae, config: vaeSays } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  const [said, latents] = [saying('unet', unet.config), latentKeys(vaeSays)];
  const read = text && saying('text_encoder', text.config);
  folder.agree(
    equal(said('in_channels'), latents.channels),
    equal(said('out_channels'), said('in_channels')),
    latents.ofPictures(),
    latents.withoutShift('StableDiffusionPipeline'),
    read ? equal(said('cross_attention_dim'), read('hidden_size')) : [],
  );
  const [height, width = height] = [unet.config.sample_size].flat() as [number, number?]; // not empty, by its table
  return {
    kind: 'sd1',
    ...unet,
    vae,
    latentShape: [unet.config.in_channels, height, width],
    latentChannels: unet.config.in_channels,
    latentSize: height,
    async open(device: Device): Promise<PipelineCalls> {
      const predict: PipelineCalls['predict'] = (latents, timestep, [context], options) =>
        unet.network.forward(latents, timestep, context!, options);
      if (!text || !read) return { ...folder.withoutTexts(['text_encoder']), predict };
      const tokenizer = await folder.tokenizer('tokenizer');
      folder.agree(
        fits('tokenizer', tokenizer, {
          vocabulary: read('vocab_size'),
          positions: read('max_position_embeddings'),
        }),
      );
      return {
        encode(prompts) {
          const ids = prompts.map((prompt) => tokenizer.encode(prompt).ids);
          return [text.network.forward(clipTokens(device, ids, text.config).ids).lastHiddenState];
        },
        cut: (prompt) => tokenizer.encode(prompt).cut,
        predict,
      };
    },
  };
}
