/**
 * From text to the ids that a text encoder reads, by the files of its own folder: byte pairs for CLIP, a unigram model for
 * T5. Every text becomes the same number of tokens, as the models were trained.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { ModelFileError } from '../files/errors.js';
import { readable, readJson, shown } from '../files/weight_files.js';
import { readSentencePiece, type SentencePieceModel } from './sentencepiece.js';

export interface Encoding {
  /** As many as asked for: the text's between the marks of its beginning and end, then padding. */
  readonly ids: readonly number[];
  /** The end of the text that had no place, as the tokenizer spells it; usually empty. */
  readonly cut: string;
}

/** The special tokens of a folder. CLIP has a beginning of text, T5 none. */
interface Specials {
  readonly bos: number | undefined;
  readonly eos: number;
  readonly pad: number;
}

/** Made by loadTokenizer. */
export class Tokenizer {
  constructor(
    private readonly library: Library,
    private readonly specials: Specials,
    /** Tokens a text becomes unless asked otherwise: the config's model_max_length. */
    readonly length: number,
  ) {}

  /** Encodes a text, padded or cut to `length` tokens; the end of text is always among them. */
  encode(text: string, length = this.length): Encoding {
    const { bos, eos, pad } = this.specials;
    const { ids } = this.library.encode(text, { add_special_tokens: false });
    const start = bos === undefined ? [] : [bos];
    const room = length - start.length - 1;
    if (room < 0) throw new Error(`a text needs more than ${length} tokens for its beginning and end alone`);
    const kept = [...start, ...ids.slice(0, room), eos];
    const rest = ids.slice(room);
    const cut = rest.length === 0 ? '' : this.library.decode(rest, { clean_up_tokenization_spaces: false }).trim();
    return { ids: [...kept, ...Array<number>(length - kept.length).fill(pad)], cut };
  }
}

/** A token as JSON files have it: its text, or an object with how it is matched. */
interface TokenEntry {
  readonly content: string;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
  readonly single_word?: boolean;
}

interface AddedToken extends TokenEntry {
  readonly id: number;
  readonly special: boolean;
}

/** A tokenizer.json, as far as it is looked into. */
interface TokenizerFile {
  readonly model: { readonly type: string; readonly [field: string]: unknown };
  readonly added_tokens: readonly AddedToken[];
  readonly [section: string]: unknown;
}

/**
 * Loads a tokenizer from `tokenizer.json`, or else from `vocab.json` and `merges.txt` (CLIP), or `spiece.model` (T5), with
 * the special tokens of `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`. Throws a ModelFileError
 * for what is missing or can't be read.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const names = new Set(await readable(folder, () => readdir(folder)));
  const optional = async (name: string): Promise<Record<string, unknown>> =>
    names.has(name) ? readJson(join(folder, name)) : {};
  const config = await optional('tokenizer_config.json');
  const { path, file } = await readTokenizerFile(folder, names);
  const byPairs = file.model.type === 'BPE';
  const added = new Map(file.added_tokens.map((token) => [token.content, token]));
  for (const token of listedTokens(config, await optional('added_tokens.json'))) {
    added.set(token.content, { ...added.get(token.content), ...token });
  }
  const vocabulary = vocabularyOf(path, file, added.values());

  // Where the config lists its added tokens it is of the newer kind, which the map does not overrule.
  const map = 'added_tokens_decoder' in config ? {} : await optional('special_tokens_map.json');
  const special = (name: keyof typeof defaultTokens.clip): TokenEntry | undefined =>
    entryOf(map[name] ?? config[name] ?? (byPairs ? defaultTokens.clip : defaultTokens.t5)[name]);
  const [bos, eos, unk, pad] = (['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const).map(special);
  const idOf = ({ content }: TokenEntry): number => {
    const id = vocabulary.get(content);
    if (id !== undefined) return id;
    throw new ModelFileError(path, [`the special token ${shown(content)} is not in the vocabulary`]);
  };
  // A special token is matched in the text too, `!` where it is the padding: as listed, or else as the last of equals says.
  const listed = new Map(added);
  for (const token of [...(byPairs ? [bos] : []), eos, unk, pad]) {
    if (!token) continue;
    const { content } = token;
    added.set(content, { normalized: false, ...token, ...listed.get(content), id: idOf(token), special: true });
  }
  const library = build(path, { ...file, added_tokens: [...added.values()], post_processor: null }, eos!.content);
  const specials = { bos: byPairs ? idOf(bos!) : undefined, eos: idOf(eos!), pad: idOf(pad!) };
  return new Tokenizer(library, specials, lengthOf(config, byPairs));
}

/** The tokens that a folder adds to its vocabulary: ids by text in added_tokens.json, or in the config with how they match. */
function listedTokens({ added_tokens_decoder }: Record<string, unknown>, ids: Record<string, unknown>): AddedToken[] {
  const older = Object.entries(ids).map(([content, id]) => ({ content, id: Number(id), special: false }));
  const newer = Object.entries(added_tokens_decoder ?? {}).flatMap(([id, value]: [string, unknown]) => {
    const entry = entryOf(value);
    return entry ? [{ special: false, ...entry, id: Number(id) }] : [];
  });
  return [...older, ...newer];
}

const defaultTokens = {
  clip: {
    bos_token: '<|startoftext|>',
    eos_token: '<|endoftext|>',
    unk_token: '<|endoftext|>',
    pad_token: '<|endoftext|>',
  },
  t5: { bos_token: undefined, eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' },
} as const;

function entryOf(value: unknown): TokenEntry | undefined {
  if (typeof value === 'string') return { content: value };
  const isEntry = typeof value === 'object' && value !== null && 'content' in value;
  return isEntry && typeof value.content === 'string' ? (value as TokenEntry) : undefined;
}

/** model_max_length; some configs say 1e30 there, for none. */
function lengthOf({ model_max_length: length }: Record<string, unknown>, byPairs: boolean): number {
  const usual = byPairs ? 77 : 512;
  return typeof length === 'number' && Number.isInteger(length) && length <= 1e6 ? length : usual;
}

function build(path: string, file: TokenizerFile, eos: string): Library {
  try {
    return new Library(file, { eos_token: eos });
  } catch (error) {
    throw new ModelFileError(path, [(error as Error).message], { cause: error });
  }
}

/** The tokenizer's description, and the file to name in messages. */
async function readTokenizerFile(
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
    if (bytes.toString('latin1', 0, 40).startsWith('version https://git-lfs')) {
      throw new ModelFileError(path, ['a pointer of git-lfs, expected the file it stands for: run `git lfs pull`']);
    }
    try {
      return { path, file: t5File(readSentencePiece(bytes)) };
    } catch (error) {
      throw new ModelFileError(path, [(error as Error).message], { cause: error });
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

/** Every token's id; what the vocabulary has, added tokens do not move. Throws where the file has no vocabulary. */
function vocabularyOf(path: string, { model }: TokenizerFile, added: Iterable<AddedToken>): Map<string, number> {
  const { vocab } = model;
  const entries = Array.isArray(vocab)
    ? vocab.map((entry: unknown, id): [unknown, unknown] => [Array.isArray(entry) ? entry[0] : entry, id])
    : Object.entries(vocab ?? {});
  if (entries.length === 0) throw new ModelFileError(path, [`model.vocab is ${shown(vocab)}, expected a vocabulary`]);
  return new Map([...Array.from(added, ({ content, id }) => [content, id]), ...entries] as [string, number][]);
}
