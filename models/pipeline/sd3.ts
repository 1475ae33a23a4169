/** Stable Diffusion 3.x (Esser et al. 2024): a transformer that predicts a velocity, beside two CLIP text encoders and T5. */
import { concat, type Device, pad, type Tensor, zeros } from '../../engine/index.js';
import { clipTextKeys, t5Keys, vaeKeys } from '../files/key_layouts.js';
import { CLIPTextModelWithProjection, clipTextConfig, clipTokens } from '../networks/clip_text.js';
import { SD3Transformer2DModel, sd3Config } from '../networks/mmdit.js';
import { T5EncoderModel, t5Config, t5Tokens } from '../networks/t5.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(latents, timestep, context, pooled). */
export type StableDiffusion3Pipeline = PipelineNetworks<'sd3', SD3Transformer2DModel, typeof sd3Config> &
  LoadedPipeline;

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareStableDiffusion3(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'sd3', SD3Transformer2DModel, typeof sd3Config>> {
  const transformer = await folder.component('transformer', SD3Transformer2DModel, sd3Config);
  const clip = (name: string) => folder.component(name, CLIPTextModelWithProjection, clipTextConfig, clipTextKeys);
  const clips = [await clip('text_encoder'), await clip('text_encoder_2')];
  const t5 = (await folder.has('text_encoder_3'))
    ? await folder.component('text_encoder_3', T5EncoderModel, t5Config, t5Keys)
    : undefined;
  const { network: vae } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  const { network, config } = transformer;

  async function open(device: Device): Promise<PipelineCalls> {
    const tokenizers = [await folder.tokenizer('tokenizer'), await folder.tokenizer('tokenizer_2')];
    const t5Tokenizer = t5 && (await folder.tokenizer('tokenizer_3'));
    const { max_sequence_length: usual } = folder.index;
    const length = folder.options.maxSequenceLength ?? (typeof usual === 'number' ? usual : 256);

    /** T5's states of the prompts, [prompts, length, joint_attention_dim]; zeros without T5, nothing for a length of 0. */
    function t5States(prompts: readonly string[]): Tensor | undefined {
      if (t5 && t5Tokenizer) {
        const ids = prompts.map((prompt) => t5Tokenizer.encode(prompt, length).ids);
        return t5.network.forward(t5Tokens(device, ids, t5.config));
      }
      return length > 0 ? zeros(device, [prompts.length, length, config.joint_attention_dim]) : undefined;
    }

    return {
      /** Both CLIPs side by side, of the layer before the last, then T5's tokens below. (Esser et al. 2024, section 4.) */
      encode(prompts) {
        const outputs = clips.map((text, i) => {
          const ids = prompts.map((prompt) => tokenizers[i]!.encode(prompt).ids);
          return text.network.forward(clipTokens(device, ids, text.config));
        });
        const states = outputs.map(({ hiddenStates }) => hiddenStates.at(-2)!);
        const pooled = outputs.map(({ textEmbeds }) => textEmbeds);
        const sideBySide = concat(states, 2);
        const missing = config.joint_attention_dim - sideBySide.shape[2]!;
        const padded = pad(sideBySide, [
          [0, 0],
          [0, 0],
          [0, missing],
        ]);
        const below = t5States(prompts);
        return [below ? concat([padded, below], 1) : padded, concat(pooled, 1)];
      },
      cut(prompt) {
        const cuts = tokenizers.map((tokenizer) => tokenizer.encode(prompt).cut);
        if (t5Tokenizer) cuts.push(t5Tokenizer.encode(prompt, length).cut);
        return cuts.reduce((shortest, cut) => (cut.length < shortest.length ? cut : shortest));
      },
      predict: (latents, timestep, [context, pooled], options) =>
        network.forward(latents, timestep, context!, pooled!, options),
    };
  }

  return {
    kind: 'sd3',
    ...transformer,
    vae,
    latentChannels: config.in_channels,
    latentSize: config.sample_size,
    open,
  };
}
