/** The engine's layers over weights under their names in a file. */
import {
  Conv2d,
  type Conv2dLayerOptions,
  Embedding,
  GroupNorm,
  LayerNorm,
  Linear,
  RMSNorm,
} from '../../engine/index.js';
import type { Parameters } from './parameters.js';

/** `NAME.weight` [out, in] and `NAME.bias` [out]. */
export function linear(
  parameters: Parameters,
  name: string,
  inFeatures: number,
  outFeatures: number,
  { bias = true } = {},
): Linear {
  const own = parameters.at(name);
  const weight = own.tensor('weight', [outFeatures, inFeatures]);
  return parameters.addLinear(name, new Linear(weight, bias ? own.tensor('bias', [outFeatures]) : null));
}

/** `NAME.weight` [out, in, kernel, kernel] and `NAME.bias` [out]. */
export function conv2d(
  parameters: Parameters,
  name: string,
  inChannels: number,
  outChannels: number,
  kernel: number,
  { bias = true, ...options }: Conv2dLayerOptions = {},
): Conv2d {
  const own = parameters.at(name);
  const weight = own.tensor('weight', [outChannels, inChannels, kernel, kernel]);
  return new Conv2d(weight, bias ? own.tensor('bias', [outChannels]) : null, options);
}

/** `NAME.weight` and `NAME.bias` [channels]. */
export function groupNorm(
  parameters: Parameters,
  name: string,
  channels: number,
  options: { groups: number; eps: number },
): GroupNorm {
  const own = parameters.at(name);
  return new GroupNorm(own.tensor('weight', [channels]), own.tensor('bias', [channels]), options);
}

/** `NAME.weight` and `NAME.bias` [features]. */
export function layerNorm(parameters: Parameters, name: string, features: number, eps: number): LayerNorm {
  const own = parameters.at(name);
  return new LayerNorm(own.tensor('weight', [features]), own.tensor('bias', [features]), eps);
}

/** `NAME.weight` [features]. */
export function rmsNorm(parameters: Parameters, name: string, features: number, eps: number): RMSNorm {
  return new RMSNorm(parameters.at(name).tensor('weight', [features]), eps);
}

/** `NAME.weight` [entries, features]. */
export function embedding(parameters: Parameters, name: string, entries: number, features: number): Embedding {
  return new Embedding(parameters.at(name).tensor('weight', [entries, features]));
}
