/** Tokenised texts on the GPU. */
import { check } from '../../engine/errors.js';
import { type Device, type Tensor, tensor } from '../../engine/index.js';

export interface TokenIdsOptions {
  /** Number of tokens known to the model. The GPU would read an id beyond as the last one. */
  readonly vocabulary: number;
  /** The longest text the model reads. Default: any. */
  readonly positions?: number;
}

/** Uploads texts of one length T as u32 [B, T]. Throws for ids outside the vocabulary and for a text that is too long. */
export function uploadTokenIds(
  device: Device,
  texts: readonly (readonly number[])[],
  { vocabulary, positions = Number.POSITIVE_INFINITY }: TokenIdsOptions,
): Tensor {
  const length = texts[0]?.length ?? 0;
  check(length > 0 && length <= positions, `token ids: expected 1 to ${positions} a text, found ${length}`);
  for (const [i, ids] of texts.entries()) {
    check(ids.length === length, `token ids: text ${i} has ${ids.length}, text 0 has ${length}`);
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    check(wrong === undefined, () => `token ids: text ${i} has token ${wrong}; the vocabulary has ${vocabulary}`);
  }
  return tensor(device, texts.flat(), [texts.length, length], 'u32');
}
