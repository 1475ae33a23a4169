/** Low-rank adapters on a network's linear layers: the only weights of a fine-tuning that learn (Hu et al. 2021). */
import { check } from '../../engine/errors.js';
import {
  type Device,
  Initializer,
  type Linear,
  moveTogether,
  scalar,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import type { Parameters } from '../blocks/parameters.js';

/** Names of layers: as in PEFT those that equal an entry or end in "." and an entry, or those that a pattern matches whole. */
export type LoraTargets = readonly string[] | RegExp;

/** The usual targets. */
export const loraTargets = {
  /** Every attention projection of a UNet2DConditionModel or DiT. */
  attention: ['to_q', 'to_k', 'to_v', 'to_out.0'],
  /** The projections of SD3's joint attention, of image and text, as flow_grpo trains them; its second attention stays as it is. */
  jointAttention: [
    'attn.add_k_proj',
    'attn.add_q_proj',
    'attn.add_v_proj',
    'attn.to_add_out',
    'attn.to_k',
    'attn.to_out.0',
    'attn.to_q',
    'attn.to_v',
  ],
  /** Every linear layer of the transformer blocks: attention, feed-forward and AdaLN. */
  blocks: /(?:.*\.)?transformer_blocks\.\d+\..*/,
} as const satisfies Record<string, LoraTargets>;

/** The targets that a configuration names: `attention` or `blocks` among the layers of a network, or the ends of names. */
export function targetsNamed(targets: string | readonly string[], layers: Iterable<string>): LoraTargets {
  if (targets === 'blocks') return loraTargets.blocks;
  if (targets !== 'attention') return [targets].flat();
  // SD3's joint attention has projections that the others lack.
  const joint = [...layers].some((name) => name.endsWith('.attn.add_k_proj'));
  return joint ? loraTargets.jointAttention : loraTargets.attention;
}

export interface LoraOptions {
  readonly targets: LoraTargets;
  /** Width of the adapters. */
  readonly rank: number;
  /** What they add is scaled by alpha / rank. Default: rank. */
  readonly alpha?: number;
  /** Seed of the initial weights, an integer of 32 bits. Default 0. */
  readonly seed?: number;
}

/** One adapted layer; its name is that of diffusers: `transformer_blocks.0.attn.to_out.0`. */
export interface LoraModule {
  readonly name: string;
  readonly layer: Linear;
  /** "A" of the paper, [rank, inFeatures]. */
  readonly down: Tensor;
  /** "B" of the paper, [outFeatures, rank]. */
  readonly up: Tensor;
}

/** Values for the adapter of one layer. */
export interface LoraValues {
  readonly rank: number;
  readonly down: Float32Array;
  readonly up: Float32Array;
}

/** Adapters on a network. Its own weights stay frozen: backward() with respect to `parameters` leaves them out. */
export class Lora {
  private constructor(
    readonly modules: readonly LoraModule[],
    readonly rank: number,
    readonly alpha: number,
    /** f32 []: alpha / rank; 0 makes the network the one it was, bit for bit. A captured step reads it at each run. */
    readonly scale: Tensor,
  ) {
    moveTogether(this.parameters);
    for (const { layer, down, up } of modules) layer.lora = { down: down.requireGrad(), up: up.requireGrad(), scale };
  }

  /** Puts adapters on layers that have none. Where one can't be made, nothing of them stays. */
  private static on(
    device: Device,
    layers: readonly (readonly [string, Linear])[],
    { rank, alpha }: { readonly rank: number; readonly alpha: number },
    halvesOf: (name: string, layer: Linear, own: Own) => Pick<LoraModule, 'down' | 'up'>,
  ): Lora {
    const taken = layers.find(([, { lora }]) => lora);
    check(!taken, () => `LoRA: ${taken?.[0]} has an adapter already`);
    return owning((own) => {
      const modules = layers.map(([name, layer]) => ({ name, layer, ...halvesOf(name, layer, own) }));
      return new Lora(modules, rank, alpha, own(scalar(device, alpha / rank)));
    });
  }

  /**
   * Adapts the layers that `targets` name: "A" is normal with standard deviation 1 / rank (PEFT's `gaussian`), "B" zero, so
   * that the network starts as it was. Throws when an entry of `targets` names no layer, or a layer has an adapter.
   */
  static inject({ device, linears }: Parameters, { targets, rank, alpha = rank, seed = 0 }: LoraOptions): Lora {
    check(Number.isInteger(rank) && rank > 0, `LoRA: rank: expected a positive integer, found ${rank}`);
    check(alpha > 0 && Number.isFinite(alpha), `LoRA: alpha: expected a positive number, found ${alpha}`);
    for (const target of targets instanceof RegExp ? [targets] : targets.map((entry) => [entry])) {
      const hit = [...linears.keys()].some((name) => isTarget(name, target));
      check(hit, `LoRA: no linear layer of the ${linears.size} is named by ${target}`);
    }
    const chosen = [...linears].filter(([name]) => isTarget(name, targets));
    const init = new Initializer(device, seed);
    return Lora.on(device, chosen, { rank, alpha }, (_, layer, own) => {
      const [outFeatures, inFeatures] = layer.weight.dims(2);
      return {
        down: own(init.normal([rank, inFeatures], 1 / rank)),
        up: own(init.constant([outFeatures, rank], 0)),
      };
    });
  }

  /** Adapters with given values, by name of the layer; their sizes must fit. */
  static of(
    { device, linears }: Parameters,
    { rank, alpha, values }: { rank: number; alpha: number; values: ReadonlyMap<string, LoraValues> },
  ): Lora {
    const chosen = [...values.keys()].map((name) => {
      const layer = linears.get(name);
      check(layer !== undefined, `LoRA: the network has no linear layer ${name}`);
      return [name, layer] as const;
    });
    return Lora.on(device, chosen, { rank, alpha }, (name, layer, own) => {
      const [outFeatures, inFeatures] = layer.weight.dims(2);
      const { rank: width, down, up } = values.get(name)!;
      return {
        down: own(tensor(device, down, [width, inFeatures])),
        up: own(tensor(device, up, [outFeatures, width])),
      };
    });
  }

  /** What an optimizer trains: "A" and "B" of each module in turn. */
  get parameters(): Tensor[] {
    return this.modules.flatMap(({ down, up }) => [down, up]);
  }

  /** Switches the adapters on or off from here on, also in captured steps: off is the reference policy. */
  enable(on: boolean): void {
    this.scale.write([on ? this.alpha / this.rank : 0]);
  }

  /** Runs `body` on the network without its adapters: the reference policy beside the other in one captured step. */
  without<R>(body: () => R): R {
    const adapters = this.modules.map(({ layer }) => layer.lora);
    for (const { layer } of this.modules) layer.lora = null;
    try {
      return body();
    } finally {
      this.modules.forEach(({ layer }, i) => {
        layer.lora = adapters[i]!;
      });
    }
  }

  /** Takes the adapters off and frees them. */
  dispose(): void {
    for (const { layer } of this.modules) layer.lora = null;
    for (const each of this.parameters) each.dispose();
    this.scale.dispose();
  }
}

/** Whether `targets` name the layer. */
export function isTarget(name: string, targets: LoraTargets): boolean {
  if (targets instanceof RegExp)
    return new RegExp(`^(?:${targets.source})$`, targets.flags.replace(/[gy]/g, '')).test(name);
  return targets.some((target) => name === target || name.endsWith(`.${target}`));
}
