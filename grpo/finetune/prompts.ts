/** Prompts: from a user's files, or drawn from the grammar of the scenes. */
import { readFile } from 'node:fs/promises';
import { FileError } from '../../engine/errors.js';
import { isWritten, kindOf, remedyOf } from '../../engine/file_kinds.js';
import { reading } from '../../engine/files.js';
import { wordsOf, writeCaption } from '../../models/scenes/caption.js';
import { randomStream } from '../../models/scenes/random.js';
import { linesOf, strip } from '../../models/text/unicode.js';
import type { Prompt } from '../model.js';

/** Which captions the name `scenes` stands for: those that models are trained on, or those held out. */
export type Split = 'train' | 'test';

/** What `prompts.train` and `prompts.test` name: a file, or `scenes`. Throws a FileError with the line of what is wrong. */
export async function readPrompts(source: string, split: Split): Promise<Prompt[]> {
  return source === 'scenes' ? scenePrompts(split) : readPromptFile(source);
}

/** All captions of the scenes of a split, each once, in an order that is shuffled but always the same. */
export function scenePrompts(split: Split): Prompt[] {
  const random = randomStream({ train: 1, test: 2 }[split]);
  const captions = wordsOf[split === 'train' ? 'train' : 'heldOut'].map(writeCaption);
  for (let i = captions.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [captions[i], captions[j]] = [captions[j]!, captions[i]!];
  }
  return captions.map((prompt) => ({ prompt, meta: {} }));
}

/**
 * Reads a file of prompts: `.jsonl` with an object a line, `{"prompt": ..., ...meta}`, or else a prompt a line, without the
 * white space at its ends (Python's). The file ends with its last line or with a line break. Throws a FileError, `prompts.txt:118: empty prompt`.
 */
export async function readPromptFile(path: string): Promise<Prompt[]> {
  return parsePrompts(path, await reading(path, expected, () => readFile(path)));
}

const expected = 'prompts, .txt or .jsonl';

/** The prompts of a file's bytes; `name` is the file's, for its form and for messages. */
export function parsePrompts(name: string, bytes: Uint8Array): Prompt[] {
  const kind = kindOf(bytes);
  if (kind && !isWritten(kind)) throw new FileError(`${name}: ${kind}, expected ${expected}${remedyOf(kind)}`);
  const lines = decodeLines(name, bytes);
  if (lines.length === 0) throw new FileError(`${name}: no prompts in it`);
  return lines.map((line, i) => {
    const fail = (what: string): never => {
      throw new FileError(`${name}:${i + 1}: ${what}`);
    };
    const { prompt, ...meta } = name.endsWith('.jsonl') ? parseObject(line, fail) : { prompt: line };
    if (typeof prompt !== 'string') return fail(`prompt is ${JSON.stringify(prompt) ?? 'missing'}, expected a text`);
    if (strip(prompt) === '') return fail('empty prompt');
    return { prompt: strip(prompt), meta };
  });
}

function decodeLines(name: string, bytes: Uint8Array): string[] {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text: string;
  try {
    text = decoder.decode(bytes); // without a byte order mark
  } catch (error) {
    throw new FileError(`${name}:${lineOfError(bytes)}: not UTF-8`, { cause: error });
  }
  const lines = linesOf(text);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** The first line that is not UTF-8: no sequence of bytes spans a line break. */
function lineOfError(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const isWrong = (line: string): boolean => {
    try {
      decoder.decode(Buffer.from(line, 'latin1'));
      return false;
    } catch {
      return true;
    }
  };
  return linesOf(Buffer.from(bytes).toString('latin1')).findIndex(isWrong) + 1; // a character a byte
}

function parseObject(line: string, fail: (what: string) => never): Readonly<Record<string, unknown>> {
  if (strip(line) === '') return fail('empty line, expected {"prompt": ...}');
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return fail(`not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return fail(`found ${strip(line).slice(0, 40)}, expected an object, {"prompt": ...}`);
  return value as Record<string, unknown>; // an object and no list, as checked above
}
