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

/** AutoencoderKL: attention of files from before diffusers 0.18, as SD1's folders have it. */
export const vaeKeys: KeyLayout = {
  otherNames: (name) => {
    const match = /^(.*\.attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)(\.\w+)$/.exec(name);
    return match ? [`${match[1]}${legacyAttention[match[2]!]}${match[3]}`] : [];
  },
};

const textPrefix = 'text_model.';

/**
 * CLIPTextModel, with projection or without: newer transformers leave `text_model.` out. A whole CLIPModel's file may serve,
 * whose pictures are passed over.
 */
export const clipTextKeys: KeyLayout = {
  otherNames: (name) => [name.startsWith(textPrefix) ? name.slice(textPrefix.length) : textPrefix + name],
  ignore: [/(^|\.)position_ids$/, /^vision_model\./, /^visual_projection\./, /^text_projection\./, /^logit_scale$/],
};

/** CLIPVisionModelWithProjection; a whole CLIPModel's file may serve, whose texts are passed over. */
export const clipVisionKeys: KeyLayout = {
  ignore: [/(^|\.)position_ids$/, /^text_model\./, /^text_projection\./, /^logit_scale$/],
};

/** CLIPModel. */
export const clipKeys: KeyLayout = { ignore: [/(^|\.)position_ids$/] };

const t5Embeddings = ['shared.weight', 'encoder.embed_tokens.weight'];

/** T5EncoderModel: one table under either name, or both; a whole T5's file may serve, whose decoder is passed over. */
export const t5Keys: KeyLayout = {
  otherNames: (name) => (t5Embeddings.includes(name) ? t5Embeddings.filter((other) => other !== name) : []),
  ignore: [/^decoder\./, /^lm_head\./],
};
