/** A tokenizer folder in CLIP's layout for the words of the captions: byte-pair encoding that makes each word one token. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../engine/files.js';
import { writeJson } from '../files/weight_files.js';
import { colors, shapes } from './caption.js';

/** Every word of the grammar. */
const words: readonly string[] = ['a', 'an', 'on', ...colors, ...shapes];

const endOfWord = '</w>';

/** A text's tokens at most, beginning and end among them: every caption has so many. */
export const captionLength = 7;

/** The 256 bytes as letters: printable ones stand for themselves, the others for letters from 256 on (GPT-2's table). */
function byteLetters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const shown = bytes.filter(printable).map((byte) => String.fromCharCode(byte));
  const hidden = bytes.filter((byte) => !printable(byte)).map((_, i) => String.fromCharCode(256 + i));
  return [...shown, ...hidden];
}

/** The merges, in order, after which every word is one token (Sennrich et al. 2016): the commonest pair first. */
export function learnMerges(texts: readonly string[]): [string, string][] {
  const merges: [string, string][] = [];
  let parts = texts.map((text) => [...text.slice(0, -1), text.at(-1)! + endOfWord]);
  for (;;) {
    const counts = new Map<string, number>();
    for (const word of parts) {
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1));
    if (!best) return merges;
    const [left, right] = best[0].split(' ') as [string, string];
    merges.push([left, right]);
    parts = parts.map((word) => mergePair(word, left, right));
  }
}

function mergePair(word: readonly string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (let i = 0; i < word.length; i++) {
    const meets = word[i] === left && word[i + 1] === right;
    merged.push(meets ? left + right : word[i]!);
    if (meets) i++;
  }
  return merged;
}

const start = '<|startoftext|>';
const end = '<|endoftext|>';

/** The tokenizer: its vocabulary, merges, and the ids that a config names. */
export function captionVocabulary(): {
  readonly vocabulary: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
  readonly bos: number;
  readonly eos: number;
} {
  const letters = byteLetters();
  const merges = learnMerges(words);
  const tokens = [
    ...letters,
    ...letters.map((letter) => letter + endOfWord),
    ...merges.map(([left, right]) => left + right),
    start,
    end,
  ];
  const vocabulary = Object.fromEntries(tokens.map((token, id) => [token, id]));
  return { vocabulary, merges, bos: vocabulary[start]!, eos: vocabulary[end]! };
}

/** Writes vocab.json, merges.txt and the configs that transformers' CLIPTokenizer reads. */
export async function saveTokenizer(folder: string): Promise<void> {
  const { vocabulary, merges } = captionVocabulary();
  const special = { bos_token: start, eos_token: end, pad_token: end, unk_token: end };
  const config = { ...special, model_max_length: captionLength, tokenizer_class: 'CLIPTokenizer' };
  await makeFolder(folder);
  await writeJson(join(folder, 'vocab.json'), vocabulary);
  await writeFile(join(folder, 'merges.txt'), `#version: 0.2\n${merges.map((pair) => pair.join(' ')).join('\n')}\n`);
  await writeJson(join(folder, 'tokenizer_config.json'), config);
  await writeJson(join(folder, 'special_tokens_map.json'), special);
}
