/** Stable Diffusion 3.x (Esser et al. 2024): a transformer that predicts a velocity, beside two CLIP text encoders and T5. */
import { join } from 'node:path';
import { concat, type Device, pad, type Tensor, zeros } from '../../engine/index.js';
import { ModelFileError } from '../files/errors.js';
import { clipTextKeys, t5Keys, vaeKeys } from '../files/key_layouts.js';
import { shown } from '../files/weight_files.js';
import { CLIPTextModelWithProjection, clipTextConfig, clipTokens } from '../networks/clip_text.js';
import { SD3Transformer2DModel, sd3Config } from '../networks/mmdit.js';
import { T5EncoderModel, t5Config, t5Tokens } from '../networks/t5.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import { atLeast, equal, fits, latentKeys, saying } from './agreement.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(latents, timestep, context, pooled). */
export type StableDiffusion3Pipeline = PipelineNetworks<'sd3', SD3Transformer2DModel, typeof sd3Config> &
  LoadedPipeline;

const clipNames = ['text_encoder', 'text_encoder_2'] as const;
const tokenizerNames = ['tokenizer', 'tokenizer_2'] as const;

/** Tokens of T5's part of a condition. Throws a ModelFileError for a number that diffusers refuses as well. */
function sequenceLength({ path, index, options }: ModelFolder): number {
  const { max_sequence_length: usual = 256 } = index;
  const isLength = Number.isInteger(usual) && Number(usual) >= 0 && Number(usual) <= 512;
  if (!isLength)
    throw new ModelFileError(join(path, 'model_index.json'), [
      `max_sequence_length is ${shown(usual)}, expected an integer from 0 to 512`,
    ]);
  return options.maxSequenceLength ?? Number(usual);
}

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareStableDiffusion3(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'sd3', SD3Transformer2DModel, typeof sd3Config>> {
  const transformer = await folder.component('transformer', SD3Transformer2DModel, sd3Config);
  const clip = (name: string) => folder.component(name, CLIPTextModelWithProjection, clipTextConfig, clipTextKeys);
  const present = clipNames.filter((name) => folder.has(name));
  const clips: Awaited<ReturnType<typeof clip>>[] = [];
  for (const name of present) clips.push(await clip(name));
  const t5 = folder.has('text_encoder_3')
    ? await folder.component('text_encoder_3', T5EncoderModel, t5Config, t5Keys)
    : undefined;
  const { network: vae, config: vaeSays } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  const { network, config } = transformer;
  const [said, latents] = [saying('transformer', config), latentKeys(vaeSays)];
  const reads = clips.map((each, i) => saying(present[i]!, each.config));
  const t5Reads = t5 && saying('text_encoder_3', t5.config);
  const whole = present.length === clipNames.length;
  folder.agree(
    equal(said('in_channels'), latents.channels),
    config.out_channels === null ? [] : equal(said('out_channels'), said('in_channels')),
    latents.ofPictures(),
    whole ? atLeast(said('joint_attention_dim'), ...reads.map((read) => read('hidden_size'))) : [],
    whole ? equal(said('pooled_projection_dim'), ...reads.map((read) => read('projection_dim'))) : [],
    t5Reads ? equal(said('joint_attention_dim'), t5Reads('d_model')) : [],
  );

  async function open(device: Device): Promise<PipelineCalls> {
    const predict: PipelineCalls['predict'] = (latents, timestep, [context, pooled], options) =>
      network.forward(latents, timestep, context!, pooled!, options);
    const length = sequenceLength(folder);
    if (!whole) return { ...folder.withoutTexts(clipNames.filter((name) => !folder.has(name))), predict };
    const tokenizers = [await folder.tokenizer('tokenizer'), await folder.tokenizer('tokenizer_2')];
    const t5Tokenizer = t5 && (await folder.tokenizer('tokenizer_3'));
    const clipLength = tokenizers[0]!.length; // of both, as in diffusers
    folder.agree(
      ...tokenizers.map((tokenizer, i) =>
        fits(tokenizerNames[i]!, tokenizer, {
          vocabulary: reads[i]!('vocab_size'),
          positions: reads[i]!('max_position_embeddings'),
          length: clipLength,
        }),
      ),
      t5Tokenizer && t5Reads ? fits('tokenizer_3', t5Tokenizer, { vocabulary: t5Reads('vocab_size') }) : [],
    );
    if (!t5 && length > 0)
      folder.warn(
        `the folder has no text_encoder_3: ${length} tokens of zeros stand in the place of T5's, as in diffusers`,
      );

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
          const ids = prompts.map((prompt) => tokenizers[i]!.encode(prompt, clipLength).ids);
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
        const cuts = tokenizers.map((tokenizer) => tokenizer.encode(prompt, clipLength).cut);
        if (t5Tokenizer) cuts.push(t5Tokenizer.encode(prompt, length).cut);
        return cuts.reduce((shortest, cut) => (cut.length < shortest.length ? cut : shortest));
      },
      predict,
    };
  }

  return {
    kind: 'sd3',
    ...transformer,
    vae,
    latentShape: [config.in_channels, config.sample_size, config.sample_size],
    latentChannels: config.in_channels,
    latentSize: config.sample_size,
    open,
  };
}
