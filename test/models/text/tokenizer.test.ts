import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { ModelFileError } from '../../../models/files/errors.js';
import { readSentencePiece } from '../../../models/text/sentencepiece.js';
import { loadTokenizer } from '../../../models/text/tokenizer.js';

interface Expected {
  readonly text: string;
  readonly ids: readonly number[];
  readonly cut: string;
}

const fixture = (...path: string[]): string =>
  fileURLToPath(new URL(`../../fixtures/tokenizers/${path.join('/')}`, import.meta.url));
const expected = JSON.parse(await readFile(fixture('expected.json'), 'utf8')) as Record<string, readonly Expected[]>;

describe.each([
  ['clip', 'clip', 77],
  ['clip_pad_zero', 'clip_pad_zero', 77],
  ['clip_json', 'clip', 77],
  ['t5', 't5', 128],
  ['t5_json', 't5', 128],
])('%s', async (folder, cases, length) => {
  const tokenizer = await loadTokenizer(fixture(folder));

  test.each(expected[cases]!)('encodes $text as transformers does', ({ text, ids, cut }) => {
    const encoding = tokenizer.encode(text, length);
    expect(encoding.ids).toEqual(ids);
    expect(encoding.cut).toBe(cut.trim());
  });
});

test('without a length, a text has as many tokens as the config says', async () => {
  expect((await loadTokenizer(fixture('clip'))).encode('a red circle').ids.length).toBe(77);
  expect((await loadTokenizer(fixture('t5'))).encode('a red circle').ids.length).toBe(512);
});

test('a length without room for the marks is an error', async () => {
  const tokenizer = await loadTokenizer(fixture('clip'));
  expect(tokenizer.encode('', 2).ids.length).toBe(2);
  expect(() => tokenizer.encode('', 1)).toThrow('more than 1 tokens');
});

const temporary: string[] = [];
afterAll(() => Promise.all(temporary.map((folder) => rm(folder, { recursive: true }))));

/** A copy of a fixture folder in which some files are replaced, or left out where null. */
async function changed(from: string, files: Readonly<Record<string, string | Uint8Array | null>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-tokenizer-'));
  temporary.push(folder);
  await cp(fixture(from), folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    if (content === null) await rm(join(folder, name));
    else await writeFile(join(folder, name), content);
  }
  return folder;
}

test('a folder of the two CLIP files alone has the usual special tokens', async () => {
  const folder = await changed('clip', { 'tokenizer_config.json': null, 'special_tokens_map.json': null });
  const { text, ids } = expected.clip![1]!;
  expect((await loadTokenizer(folder)).encode(text).ids).toEqual(ids);
});

test('added_tokens.json adds tokens', async () => {
  const folder = await changed('clip', { 'added_tokens.json': '{"<winnow>": 700, "!": 0}' });
  expect((await loadTokenizer(folder)).encode('a <winnow>!').ids.slice(1, 5)).toEqual([320, 700, 0, 673]);
});

test('the map of special tokens yields to a config that lists added tokens', async () => {
  const config = JSON.parse(await readFile(fixture('clip/tokenizer_config.json'), 'utf8')) as object;
  const newer = JSON.stringify({ ...config, added_tokens_decoder: {}, pad_token: '!' });
  const tokenizer = await loadTokenizer(await changed('clip', { 'tokenizer_config.json': newer }));
  expect(tokenizer.encode('').ids.at(-1)).toBe(0);
});

test('a config that lists added tokens says how special ones match', async () => {
  const ids = async (normalized: boolean): Promise<readonly number[]> => {
    const entry = { content: '<|endoftext|>', lstrip: false, rstrip: false, single_word: false, special: true };
    const config = { added_tokens_decoder: { 673: { ...entry, normalized } }, pad_token: '!', model_max_length: 77 };
    const folder = await changed('clip', { 'tokenizer_config.json': JSON.stringify(config) });
    return (await loadTokenizer(folder)).encode('a <|ENDOFTEXT|> wow!').ids;
  };
  expect((await ids(true)).slice(0, 8)).toEqual([672, 320, 673, 86, 553, 0, 673, 0]);
  const letters = [27, 347, 68, 77, 67, 78, 69, 83, 68, 87, 339, 91, 285];
  expect((await ids(false)).slice(0, 20)).toEqual([672, 320, ...letters, 86, 553, 0, 673, 0]);
});

test.each([
  ['no files', 'clip', { 'merges.txt': null }, 'no tokenizer: expected tokenizer.json'],
  ['a vocabulary that is no JSON', 'clip', { 'vocab.json': '{' }, 'not JSON'],
  ['an id that is no number', 'clip', { 'vocab.json': '{"a": "b"}' }, '"a" is "b", expected an id'],
  ['a merge of three', 'clip', { 'merges.txt': '#version: 0.2\na b\na b c\n' }, 'line 3 is "a b c"'],
  ['a special token outside the vocabulary', 'clip', { 'vocab.json': '{"a": 0}' }, 'is not in the vocabulary'],
  ['another kind of tokenizer', 'clip_json', { 'tokenizer.json': '{"model": {"type": "WordPiece"}}' }, 'model.type is'],
  ['no vocabulary', 'clip_json', { 'tokenizer.json': '{"model": {"type": "BPE"}}' }, 'expected a vocabulary'],
  ['a pointer to the file', 't5', { 'spiece.model': 'version https://git-lfs.github.com/spec/v1\n' }, 'git-lfs'],
  ['an empty model', 't5', { 'spiece.model': '' }, 'no pieces'],
])('%s is an error that names the file', async (_, from, files, message) => {
  const folder = await changed(from, files);
  const error = await loadTokenizer(folder).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  expect((error as ModelFileError).message).toContain(message);
  expect((error as ModelFileError).path).toContain(folder);
});

test('a SentencePiece model cut off anywhere is an error or loses whole fields', async () => {
  const bytes = await readFile(fixture('t5/spiece.model'));
  const whole = readSentencePiece(bytes);
  expect(whole).toMatchObject({ algorithm: 'unigram', normalizer: 'nmt_nfkc' });
  expect(whole.pieces.slice(0, 3).map(({ text, kind }) => [text, kind])).toEqual([
    ['<pad>', 'control'],
    ['</s>', 'control'],
    ['<unk>', 'unknown'],
  ]);
  for (let length = 1; length < 200; length++) {
    let pieces = 0;
    try {
      pieces = readSentencePiece(bytes.subarray(0, length)).pieces.length;
    } catch (error) {
      expect((error as Error).message).toMatch(/cut off|no pieces/);
    }
    expect(pieces).toBeLessThan(whole.pieces.length);
  }
});
