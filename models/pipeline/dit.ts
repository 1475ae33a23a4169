/** Class-conditional DiT (Peebles and Xie 2023): a transformer that predicts noise, for a class instead of a text. */
import { join } from 'node:path';
import { CheckError } from '../../engine/errors.js';
import { type Device, slice, tensor } from '../../engine/index.js';
import { ModelFileError } from '../files/errors.js';
import { vaeKeys } from '../files/key_layouts.js';
import { shown } from '../files/weight_files.js';
import { DiTTransformer2DModel, ditConfig } from '../networks/dit.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import { strip } from '../text/unicode.js';
import { equal, latentKeys, oneOf, saying } from './agreement.js';
import type { ModelFolder } from './model_folder.js';
import type { DeclaredPipeline, LoadedPipeline, PipelineCalls, PipelineNetworks } from './types.js';

/** Its network is called as forward(latents, timestep, classLabels). */
export type DiTPipeline = PipelineNetworks<'dit', DiTTransformer2DModel, typeof ditConfig> & LoadedPipeline;

/** Declares the networks of such a folder. Throws a ModelFileError for a config that can't be used. */
export async function declareDiT(
  folder: ModelFolder,
): Promise<DeclaredPipeline<'dit', DiTTransformer2DModel, typeof ditConfig>> {
  const transformer = await folder.component('transformer', DiTTransformer2DModel, ditConfig);
  const { network: vae, config: vaeSays } = await folder.component('vae', AutoencoderKL, vaeConfig, vaeKeys);
  const { network, config } = transformer;
  const [said, latents] = [saying('transformer', config), latentKeys(vaeSays)];
  const { in_channels: channels, out_channels, num_embeds_ada_norm: classes } = config;
  const halves = 'the noise, or the noise and its variance';
  folder.agree(
    equal(said('in_channels'), latents.channels),
    out_channels === null ? [] : oneOf(said('out_channels'), [channels, 2 * channels], halves),
    latents.ofPictures(),
    latents.withoutShift('DiTPipeline'),
  );
  const names = readLabels(folder, classes);
  return {
    kind: 'dit',
    ...transformer,
    vae,
    latentShape: [channels, config.sample_size, config.sample_size],
    latentChannels: channels,
    latentSize: config.sample_size,
    open: async (device: Device): Promise<PipelineCalls> => ({
      encode(prompts) {
        const labels = prompts.map((prompt) => classOf(prompt, names, classes));
        return [tensor(device, labels, [labels.length], 'u32')];
      },
      cut: () => '',
      // The network may predict a variance as well; samplers with a variance of their own use the first half.
      predict: (latents, timestep, [labels], options) =>
        slice(network.forward(latents, timestep, labels!, options), 1, 0, latents.shape[1]!),
    }),
  };
}

/** Names of classes by number: "207": "golden retriever, ...". Throws a ModelFileError for what is none. */
function readLabels({ path, index }: ModelFolder, classes: number): Readonly<Record<string, string>> {
  const { id2label: labels = {} } = index;
  const entries = typeof labels === 'object' && labels !== null ? Object.entries(labels) : undefined;
  const isRight = ([id, text]: [string, unknown]): boolean =>
    /^\d+$/.test(id) && Number(id) < classes && typeof text === 'string';
  const wrong = entries?.find((entry) => !isRight(entry));
  if (entries && !wrong) return labels as Readonly<Record<string, string>>; // as checked above
  const [found, expected] = wrong
    ? [
        `id2label.${wrong[0]} is ${shown(wrong[1])}`,
        `a text for a number below ${classes}, num_embeds_ada_norm of transformer/config.json`,
      ]
    : [`id2label is ${shown(labels)}`, 'an object of texts by number'];
  throw new ModelFileError(join(path, 'model_index.json'), [`${found}, expected ${expected}`]);
}

/** A class by its number or by one of its names, the last that has it; the empty prompt is the class of no condition. */
function classOf(prompt: string, names: Readonly<Record<string, string>>, nullClass: number): number {
  if (prompt === '') return nullClass;
  if (/^\d+$/.test(prompt) && Number(prompt) < nullClass) return Number(prompt);
  const found = Object.entries(names).findLast(([, text]) => text.split(',').map(strip).includes(prompt));
  if (found) return Number(found[0]);
  throw new CheckError(`class "${prompt}": expected a number below ${nullClass} or a name from model_index.json`);
}
