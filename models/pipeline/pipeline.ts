/** Whole model folders in diffusers' layout, from prompts to conditions and from latents to the network's prediction. */
import { type Device, noGrad, scope } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { Parameters } from '../blocks/parameters.js';
import { type DiTPipeline, declareDiT } from './dit.js';
import type { PipelineKind } from './kinds.js';
import { ModelFolder, type PipelineOptions } from './model_folder.js';
import type { Scheduler } from './scheduler.js';
import { declareStableDiffusion, type StableDiffusionPipeline } from './sd1.js';
import { declareStableDiffusion3, type StableDiffusion3Pipeline } from './sd3.js';

export type { PipelineOptions } from './model_folder.js';

/** A model folder in memory. Its `kind` says of which class `network` is, and so how it is called. */
export type Pipeline = StableDiffusionPipeline | StableDiffusion3Pipeline | DiTPipeline;

const declarations = { sd1: declareStableDiffusion, sd3: declareStableDiffusion3, dit: declareDiT } as const;

/** Declares every network of a folder by its config.json, in the order: the one that denoises, text encoders, autoencoder. */
const declareNetworks = (folder: ModelFolder) => declarations[folder.kind](folder);

/**
 * Loads a model folder. Of which kind it is stands in model_index.json; with `kind` another is refused, and the type of the
 * network is known:
 *
 *     const { network } = await loadPipeline(device, folder, { kind: 'sd1' });
 *     const noise = network.forward(latents, timestep, context);
 *
 * Every config and tokenizer is read before anything is put on the device. Throws a ModelFileError for files that are missing
 * or do not fit; nothing stays in memory then.
 */
export async function loadPipeline<K extends PipelineKind = PipelineKind>(
  device: Device,
  path: string,
  { kind, ...options }: PipelineOptions & { readonly kind?: K } = {},
): Promise<Extract<Pipeline, { readonly kind: K }>> {
  const folder = await ModelFolder.open(path, options, kind);
  const { open, ...networks } = await declareNetworks(folder);
  const { encode, ...calls } = await open(device);
  await folder.findFiles();
  return owning(async (own) => {
    for (const component of folder.components) {
      own(component.parameters);
      await folder.load(device, component);
    }
    const pipeline = {
      ...networks,
      ...calls,
      encode: (prompts: readonly string[]) => scope(device, () => noGrad(() => encode(prompts))),
      device,
      scheduler: folder.scheduler,
      dispose(): void {
        for (const { parameters } of folder.components) parameters.dispose();
      },
    };
    return pipeline as Extract<Pipeline, { readonly kind: K }>; // of the kind that ModelFolder.open() let pass
  });
}

/** What of a folder's networks is known without a device. */
export interface PipelineSizes {
  readonly kind: PipelineKind;
  /** Weights of each component by its subfolder, declared without memory: `bytes` of each is what loading it takes. */
  readonly components: ReadonlyMap<string, Parameters>;
  /** Those of the network that denoises. */
  readonly parameters: Parameters;
  /** [channels, height, width] of the latents, height and width unless asked otherwise. */
  readonly latentShape: readonly [number, number, number];
  readonly latentChannels: number;
  readonly latentSize: number;
  /** Pixels of a picture for one of the latents, in each direction. */
  readonly factor: number;
  readonly scheduler: Scheduler;
}

/** Declares the networks of a folder without loading them. Throws a ModelFileError for files that are missing or do not fit. */
export async function measurePipeline(path: string, options: PipelineOptions = {}): Promise<PipelineSizes> {
  const folder = await ModelFolder.open(path, options);
  const { kind, parameters, latentShape, latentChannels, latentSize, vae } = await declareNetworks(folder);
  const components = new Map(folder.components.map((component) => [component.name, component.parameters]));
  const { scheduler } = folder;
  return { kind, components, parameters, latentShape, latentChannels, latentSize, factor: vae.factor, scheduler };
}
