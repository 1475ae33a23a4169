/** A tokenizer's description as tokenizer.json has it, read from there or made of the older files of CLIP and T5. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOf } from '../../engine/file_kinds.js';
import { ModelFileError } from '../files/errors.js';
import { readable, readJson, shown, wrongKind } from '../files/weight_files.js';
import { readSentencePiece, type SentencePieceModel } from './sentencepiece.js';

/** A token as JSON files have it: its text, or an object with how it is matched. */
export interface TokenEntry {
  readonly content: string;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
  readonly single_word?: boolean;
}

export interface AddedToken extends TokenEntry {
  readonly id: number;
  readonly special: boolean;
}

/** A tokenizer.json, as far as it is looked into. */
export interface TokenizerFile {
  readonly model: { readonly type: string; readonly [field: string]: unknown };
  readonly added_tokens: readonly AddedToken[];
  readonly [section: string]: unknown;
}

/** The special tokens of a folder that names none. */
export const defaultTokens = {
  clip: {
    bos_token: '<|startoftext|>',
    eos_token: '<|endoftext|>',
    unk_token: '<|endoftext|>',
    pad_token: '<|endoftext|>',
  },
  t5: { bos_token: undefined, eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
} as const;

/** The tokenizer's description, and the file to name in messages. */
export async function readTokenizerFile(
  folder: string,
  names: ReadonlySet<string>,
): Promise<{ path: string; file: TokenizerFile }> {
  const at = (name: string): string => join(folder, name);
  if (names.has('tokenizer.json')) {
    const path = at('tokenizer.json');
    const file = await readJson(path);
    const { model } = file;
    const type = typeof model === 'object' && model !== null && 'type' in model ? model.type : undefined;
    if (type !== 'BPE' && type !== 'Unigram') {
      throw new ModelFileError(path, [`model.type is ${shown(type)}, expected "BPE" (CLIP) or "Unigram" (T5)`]);
    }
    const added = Array.isArray(file.added_tokens) ? file.added_tokens : [];
    return { path, file: { ...file, model: { ...(model as object), type }, added_tokens: added } };
  }
  if (names.has('vocab.json') && names.has('merges.txt')) {
    const path = at('vocab.json');
    const merges = await readable(at('merges.txt'), () => readFile(at('merges.txt'), 'utf8'));
    return { path, file: clipFile(await readVocabulary(path), readMerges(at('merges.txt'), merges)) };
  }
  if (names.has('spiece.model')) {
    const path = at('spiece.model');
    const bytes = await readable(path, () => readFile(path));
    try {
      return { path, file: t5File(readSentencePiece(bytes)) };
    } catch (error) {
      const kind = kindOf(bytes);
      const problem =
        kind && kind !== 'an empty file' ? wrongKind(kind, "SentencePiece's model") : (error as Error).message;
      throw new ModelFileError(path, [problem], { cause: error });
    }
  }
  throw new ModelFileError(folder, [
    'no tokenizer: expected tokenizer.json, vocab.json with merges.txt, or spiece.model',
  ]);
}

async function readVocabulary(path: string): Promise<Record<string, number>> {
  const vocabulary = await readJson(path);
  const wrong = Object.entries(vocabulary).find(([, id]) => !Number.isInteger(id) || (id as number) < 0);
  if (wrong) throw new ModelFileError(path, [`${shown(wrong[0])} is ${shown(wrong[1])}, expected an id`]);
  return vocabulary as Record<string, number>; // as checked above
}

/** The pairs of merges.txt, best first; a first line may give the version. */
function readMerges(path: string, text: string): [string, string][] {
  const lines = text.split(/\r?\n/).map((line, i) => ({ line, number: i + 1 }));
  return lines
    .filter(({ line, number }) => line !== '' && !(number === 1 && line.startsWith('#version')))
    .map(({ line, number }) => {
      const [left, right, ...rest] = line.split(' ');
      if (left && right && rest.length === 0) return [left, right];
      throw new ModelFileError(path, [`line ${number} is ${shown(line)}, expected two tokens with a space between`]);
    });
}

/** CLIP's tokenizer: lower case, words with their last letter marked, bytes as letters. */
const clipFile = (vocab: Record<string, number>, merges: readonly [string, string][]): TokenizerFile => ({
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'NFC' },
      { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
      { type: 'Lowercase' },
    ],
  },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      {
        type: 'Split',
        pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
        behavior: 'Removed',
        invert: true,
      },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    ],
  },
  decoder: { type: 'ByteLevel' },
  post_processor: null,
  model: { type: 'BPE', unk_token: defaultTokens.clip.unk_token, end_of_word_suffix: '</w>', vocab, merges },
  added_tokens: [],
});

/** T5's sentinels, which follow the pieces of the file in falling order. */
const sentinels = Array.from({ length: 100 }, (_, i) => `<extra_id_${99 - i}>`);

/** A unigram model over words that begin with a mark. Throws for models of other kinds. */
function t5File({ pieces, algorithm, normalizer }: SentencePieceModel): TokenizerFile {
  if (algorithm !== 'unigram') throw new Error(`the model is of kind ${algorithm}, expected unigram`);
  if (!['nmt_nfkc', 'identity'].includes(normalizer)) {
    throw new Error(`the text is normalised by ${shown(normalizer)}, expected "nmt_nfkc" or "identity"`);
  }
  const unknown = pieces.findIndex(({ kind }) => kind === 'unknown');
  if (unknown < 0) throw new Error('no piece stands for unknown text');
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true };
  const vocab = [...pieces.map(({ text, score }) => [text, score]), ...sentinels.map((text) => [text, 0])];
  return {
    // The library knows nmt_nfkc's rules by heart, and needs no table of them.
    normalizer: normalizer === 'identity' ? null : { type: 'Precompiled', precompiled_charsmap: '' },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
    decoder: metaspace,
    post_processor: null,
    model: { type: 'Unigram', unk_id: unknown, vocab },
    added_tokens: [
      ...pieces.flatMap(({ text, kind }, id) =>
        kind === 'control' || kind === 'user defined' ? [{ id, content: text, special: kind === 'control' }] : [],
      ),
      ...sentinels.map((content, i) => ({ id: pieces.length + i, content, special: true })),
    ],
  };
}
