/** What the config.json of a UNet2DConditionModel may hold. */
import { formatShape } from '../../engine/tensor/shape.js';
import {
  type ConfigOf,
  configTable,
  count,
  countOrCounts,
  counts,
  epsilon,
  flag,
  limits,
  number,
  only,
  type ResolvedConfig,
  words,
} from '../files/config.js';

const network = 'UNet2DConditionModel';

/** config.json of a UNet2DConditionModel. The defaults are those of diffusers. */
export const unetConfig = configTable({
  network,
  classes: [network],
  keys: {
    /** Edge of the latents, unless a caller wants another. */
    sample_size: countOrCounts(64, { most: limits.edge }),
    /** Channels of the sample. */
    in_channels: count(4, { required: true }),
    /** Channels of the prediction. */
    out_channels: count(4),
    /** Channels of each level, from the finest. */
    block_out_channels: counts([320, 640, 1280, 1280], { required: true }),
    /** 'CrossAttnDownBlock2D' or 'DownBlock2D' for each level. By default all but the last have cross attention. */
    down_block_types: words(),
    /** 'CrossAttnUpBlock2D' or 'UpBlock2D' for each level, from the coarsest. By default all but the first have cross attention. */
    up_block_types: words(),
    /** Residual blocks of a level on the way down; there is one more on the way up. */
    layers_per_block: count(2, { most: limits.layers }),
    /** Transformer blocks after each residual block. */
    transformer_layers_per_block: count(1, { most: limits.layers }),
    /** The number of attention heads, in spite of its name: one for all levels, or one for each. */
    attention_head_dim: countOrCounts(8),
    /** Features of the context. */
    cross_attention_dim: count(1280, { required: true }),
    /** Whether proj_in and proj_out are matrices instead of 1x1 convolutions. */
    use_linear_projection: flag(false),
    /** Groups of every group norm. */
    norm_num_groups: count(32),
    /** Added to the variance in the residual blocks' norms; those of the transformers have 1e-6. */
    norm_eps: epsilon(1e-5),
    /** Whether the timestep's cosines come before its sines. */
    flip_sin_to_cos: flag(true),
    /** Taken from half the width in the denominator of the timestep's frequencies. */
    freq_shift: number(0),
    act_fn: only('silu'),
    addition_embed_type: only(null),
    addition_time_embed_dim: only(null),
    attention_type: only('default'),
    center_input_sample: only(false),
    class_embed_type: only(null),
    class_embeddings_concat: only(false),
    conv_in_kernel: only(3),
    conv_out_kernel: only(3),
    cross_attention_norm: only(null),
    downsample_padding: only(1),
    dropout: only(0),
    dual_cross_attention: only(false),
    encoder_hid_dim: only(null),
    encoder_hid_dim_type: only(null),
    mid_block_only_cross_attention: only(null),
    mid_block_scale_factor: only(1),
    mid_block_type: only('UNetMidBlock2DCrossAttn'),
    num_attention_heads: only(null),
    num_class_embeds: only(null),
    only_cross_attention: only(false),
    projection_class_embeddings_input_dim: only(null),
    resnet_out_scale_factor: only(1),
    resnet_skip_time_act: only(false),
    resnet_time_scale_shift: only('default'),
    reverse_transformer_layers_per_block: only(null),
    time_cond_proj_dim: only(null),
    time_embedding_act_fn: only(null),
    time_embedding_dim: only(null),
    time_embedding_type: only('positional'),
    timestep_post_act: only(null),
  },
  *across(config) {
    const { block_out_channels: channels, norm_num_groups: groups, attention_head_dim: found } = config;
    if (channels.length > limits.levels)
      yield { key: 'block_out_channels', found: channels, expected: `at most ${limits.levels} levels` };
    if (channels.some((n) => n % groups !== 0) || channels[0]! % 2 !== 0)
      yield { key: 'block_out_channels', found: channels, expected: `multiples of norm_num_groups ${groups}` };
    const heads = headsOf(config);
    if (heads.length !== channels.length || channels.some((n, i) => n % heads[i]! !== 0))
      yield { key: 'attention_head_dim', found, expected: `numbers of heads that divide ${formatShape(channels)}` };
    for (const [key, { cross, plain }] of Object.entries(blockTypes)) {
      const types = config[key as keyof typeof blockTypes]; // its keys, by definition
      if (types && (types.length !== channels.length || types.some((type) => type !== cross && type !== plain)))
        yield { key, found: types, expected: `${channels.length} times ${cross} or ${plain}` };
    }
  },
});

/** A config as callers write it. */
export type UNet2DConditionConfig = ConfigOf<typeof unetConfig>;

/** A config with every key, checked. */
export type ResolvedUNetConfig = ResolvedConfig<typeof unetConfig>;

/** Names of the levels with and without cross attention. */
const blockTypes = {
  down_block_types: { cross: 'CrossAttnDownBlock2D', plain: 'DownBlock2D' },
  up_block_types: { cross: 'CrossAttnUpBlock2D', plain: 'UpBlock2D' },
} as const;

/** The number of heads of each level. */
export const headsOf = ({
  attention_head_dim: heads,
  block_out_channels: channels,
}: {
  readonly attention_head_dim: number | readonly number[];
  readonly block_out_channels: readonly number[];
}): readonly number[] => (typeof heads === 'number' ? channels.map(() => heads) : heads);

/** Whether each level has cross attention; by default all but `without`. */
export const crossAttention = (
  config: ResolvedUNetConfig,
  key: keyof typeof blockTypes,
  without: number,
): readonly boolean[] =>
  config[key]?.map((type) => type === blockTypes[key].cross) ?? config.block_out_channels.map((_, i) => i !== without);
