/**
 * From text to the ids that a text encoder reads, by the files of its own folder: byte pairs for CLIP, a unigram model for
 * T5. Every text becomes the same number of tokens, as the models were trained.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { ModelFileError } from '../files/errors.js';
import { readable, readJson, shown } from '../files/weight_files.js';
import {
  type AddedToken,
  defaultTokens,
  readTokenizerFile,
  type TokenEntry,
  type TokenizerFile,
} from './tokenizer_file.js';
import { rustNormalizer, rustPreTokenizer, strip } from './unicode.js';

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

/**
 * What is used of the library. Its own types are named nowhere in what this package declares, as they do not resolve in
 * projects with `moduleResolution: nodenext`.
 */
interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(ids: number[], options: { clean_up_tokenization_spaces: boolean }): string;
}

/** Made by loadTokenizer. */
export class Tokenizer {
  constructor(
    private readonly library: Library,
    private readonly specials: Specials,
    /** Tokens a text becomes unless asked otherwise: the config's model_max_length. */
    readonly length: number,
    /** The largest id that a text may become, and the token that has it. */
    readonly largest: { readonly id: number; readonly text: string },
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
    const cut = rest.length === 0 ? '' : strip(this.library.decode(rest, { clean_up_tokenization_spaces: false }));
    return { ids: [...kept, ...Array<number>(length - kept.length).fill(pad)], cut };
  }
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
  const described = {
    ...file,
    normalizer: rustNormalizer(file.normalizer),
    pre_tokenizer: rustPreTokenizer(file.pre_tokenizer),
    added_tokens: [...added.values()],
    post_processor: null,
  };
  const library = build(path, described, eos!.content);
  const specials = { bos: byPairs ? idOf(bos!) : undefined, eos: idOf(eos!), pad: idOf(pad!) };
  let largest = { id: -1, text: '' };
  for (const [text, id] of vocabulary) if (id > largest.id) largest = { id, text };
  return new Tokenizer(library, specials, lengthOf(config, byPairs), largest);
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
    return new LibraryTokenizer(file, { eos_token: eos });
  } catch (error) {
    throw new ModelFileError(path, [(error as Error).message], { cause: error });
  }
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
