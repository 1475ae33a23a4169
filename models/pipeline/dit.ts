/** Class-conditional DiT (Peebles and Xie 2023): a transformer that predicts noise, for a class instead of a text. */
import { CheckError } from '../../engine/errors.js';
import { type Device, slice, tensor } from '../../engine/index.js';
import { vaeKeys } from '../files/key_layouts.js';
import { DiTTransformer2DModel, ditConfig } from '../networks/dit.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(latents, timestep, classLabels). */
export type DiTPipeline = PipelineNetworks<'dit', DiTTransformer2DModel, typeof ditConfig> & LoadedPipeline;

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareDiT(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'dit', DiTTransformer2DModel, typeof ditConfig>> {
  const transformer = await folder.component('transformer', DiTTransformer2DModel, ditConfig);
  const { network: vae } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  const { network, config } = transformer;
  const names = (folder.index.id2label ?? {}) as Readonly<Record<string, string>>; // "207": "golden retriever, ..."
  return {
    kind: 'dit',
    ...transformer,
    vae,
    latentChannels: config.in_channels,
    latentSize: config.sample_size,
    open: async (device: Device): Promise<PipelineCalls> => ({
      encode(prompts) {
        const labels = prompts.map((prompt) => classOf(prompt, names, config.num_embeds_ada_norm));
        return [tensor(device, labels, [labels.length], 'u32')];
      },
      cut: () => '',
      // The network may predict a variance as well; samplers with a variance of their own use the first half.
      predict: (latents, timestep, [labels], options) =>
        slice(network.forward(latents, timestep, labels!, options), 1, 0, latents.shape[1]!),
    }),
  };
}

/** A class by its number or by one of its names; the empty prompt is the class of no condition. */
function classOf(prompt: string, names: Readonly<Record<string, string>>, nullClass: number): number {
  if (prompt === '') return nullClass;
  const number = Number(prompt);
  if (Number.isInteger(number) && number >= 0 && number < nullClass) return number;
  const found = Object.entries(names).find(([, text]) => text.split(/,\s*/).includes(prompt));
  if (found) return Number(found[0]);
  throw new CheckError(`class "${prompt}": expected a number below ${nullClass} or a name from model_index.json`);
}
