/** The names that files of different ages and libraries give to the same weights. */

export interface KeyLayout {
  /** Other names under which a file may hold the weight called `name`, most likely first. */
  readonly otherNames?: (name: string) => readonly string[];
  /** Tensors a file may hold that are no weights of the network. */
  readonly ignore?: readonly RegExp[];
}

const legacyAttention: Readonly<Record<string, string>> = {
  to_q: 'query',
  to_k: 'key',
  to_v: 'value',
  'to_out.0': 'proj_attn',
};

/** Of AutoencoderKL: files from before diffusers 0.18, such as Stable Diffusion 1's, name its attention differently. */
export const vaeKeys: KeyLayout = {
  otherNames: (name) => {
    const match = /^(.*\.attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)(\.\w+)$/.exec(name);
    return match ? [`${match[1]}${legacyAttention[match[2]!]}${match[3]}`] : [];
  },
};

const textPrefix = 'text_model.';

/**
 * Of CLIPTextModel, with projection or without: newer transformers leave `text_model.` out. The file of a whole CLIPModel may
 * serve, whose image encoder is passed over.
 */
export const clipTextKeys: KeyLayout = {
  otherNames: (name) => [name.startsWith(textPrefix) ? name.slice(textPrefix.length) : textPrefix + name],
  ignore: [/(^|\.)position_ids$/, /^vision_model\./, /^visual_projection\./, /^text_projection\./, /^logit_scale$/],
};

/** Of CLIPVisionModelWithProjection. The file of a whole CLIPModel may serve, whose text encoder is passed over. */
export const clipVisionKeys: KeyLayout = {
  ignore: [/(^|\.)position_ids$/, /^text_model\./, /^text_projection\./, /^logit_scale$/],
};

/** Of CLIPModel. */
export const clipKeys: KeyLayout = { ignore: [/(^|\.)position_ids$/] };

const t5Embeddings = ['shared.weight', 'encoder.embed_tokens.weight'];

/** Of T5EncoderModel: one table has either name, or both. The file of a whole T5 may serve, whose decoder is passed over. */
export const t5Keys: KeyLayout = {
  otherNames: (name) => (t5Embeddings.includes(name) ? t5Embeddings.filter((other) => other !== name) : []),
  ignore: [/^decoder\./, /^lm_head\./],
};
