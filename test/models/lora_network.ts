/** The tiny reference networks with adapters on them: weights, adapters and inputs by the rule of golden.ts. */
import type { Device, Tensor } from '../../engine/index.js';
import { Parameters } from '../../models/blocks/parameters.js';
import type { LoraComponent } from '../../models/lora/layouts.js';
import { Lora, loraTargets } from '../../models/lora/lora.js';
import { SD3Transformer2DModel } from '../../models/networks/mmdit.js';
import { UNet2DConditionModel } from '../../models/networks/unet.js';
import { fillByRule, type Golden, goldenInput, readConfig, readGolden } from './golden.js';

interface SD3Golden extends Golden {
  readonly 'pos_embed.pos_embed': { readonly data: readonly number[] };
}

/** Rank and strength of the adapters of the golden file. */
const strength = { rank: 4, alpha: 8 };

export const loraOptions = {
  transformer: { targets: loraTargets.jointAttention, ...strength },
  unet: { targets: loraTargets.attention, ...strength },
} as const;

/** A network without adapters: its weights, its inputs, and a function that runs it. */
export interface TinyNetwork {
  readonly parameters: Parameters;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly forward: (recompute?: boolean) => Tensor;
  readonly dispose: () => void;
}

export function tinyNetwork(
  device: Device,
  component: LoraComponent,
  { storage = 'f32' as 'f32' | 'f16' } = {},
): TinyNetwork {
  const name = component === 'unet' ? 'tiny_unet_conv' : 'tiny_sd3_transformer';
  const golden = readGolden(name);
  const parameters = new Parameters({ storage });
  const inputs = Object.fromEntries(Object.keys(golden.inputs).map((key) => [key, goldenInput(device, golden, key)]));
  const {
    sample,
    hidden_states: latents,
    timestep,
    encoder_hidden_states: context,
    pooled_projections: pooled,
  } = inputs;
  let forward: TinyNetwork['forward'];
  if (component === 'unet') {
    const unet = new UNet2DConditionModel(parameters, readConfig(name));
    parameters.allocate(device);
    fillByRule(parameters.all);
    forward = (recompute = false) => unet.forward(sample!, timestep!, context!, { recompute });
  } else {
    const transformer = new SD3Transformer2DModel(parameters, readConfig(name));
    parameters.allocate(device);
    fillByRule(parameters.all, { 'pos_embed.pos_embed': (golden as SD3Golden)['pos_embed.pos_embed'].data });
    forward = (recompute = false) => transformer.forward(latents!, timestep!, context!, pooled!, { recompute });
  }
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  return { parameters, inputs, forward, dispose };
}

/** The adapters as parameters under PEFT's names. */
export const namedAdapters = ({ modules }: Lora) =>
  modules.flatMap(({ name, down, up }) => [
    { name: `base_model.model.${name}.lora_A.weight`, shape: down.shape, tensor: down },
    { name: `base_model.model.${name}.lora_B.weight`, shape: up.shape, tensor: up },
  ]);

/** Adapters by the rule, on the targets of the component. */
export function adaptersByRule(parameters: Parameters, component: LoraComponent): Lora {
  const lora = Lora.inject(parameters, loraOptions[component]);
  fillByRule(namedAdapters(lora));
  return lora;
}
