/** Files of prompts, and the captions that the name `scenes` stands for. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { FileError } from '../../../engine/errors.js';
import { parsePrompts, readPrompts, scenePrompts } from '../../../grpo/finetune/prompts.js';
import { isHeldOut, readCaption } from '../../../models/scenes/caption.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('files', () => {
  test('a prompt a line, with or without a last line break, of any platform', () => {
    const expected = [
      { prompt: 'a cat', meta: {} },
      { prompt: 'zwölf Bären', meta: {} },
    ];
    for (const text of ['a cat\nzwölf Bären', 'a cat\r\nzwölf Bären\r\n', '\ufeffa cat\n zwölf Bären \n'])
      expect(parsePrompts('p.txt', bytes(text))).toEqual(expected);
  });

  test('an object a line: what is not the prompt goes to the rewards', () => {
    expect(parsePrompts('p.jsonl', bytes('{"prompt": "a cat", "count": 2}\n{"prompt": "b"}\n'))).toEqual([
      { prompt: 'a cat', meta: { count: 2 } },
      { prompt: 'b', meta: {} },
    ]);
  });

  test('what is wrong is named with its line', () => {
    const cases: [string, string | Uint8Array, string][] = [
      ['p.txt', 'a\n\nb\n', 'p.txt:2: empty prompt'],
      ['p.txt', 'a\n \t\n', 'p.txt:2: empty prompt'],
      ['p.txt', '', 'p.txt: no prompts in it'],
      ['p.txt', 'a\n\x1c\x85\n', 'p.txt:2: empty prompt'],
      ['p.txt', 'a\r\rb', 'p.txt:2: empty prompt'],
      ['p.txt', Uint8Array.of(97, 10, 98, 10, 0xff, 10), 'p.txt:3: not UTF-8'],
      ['p.txt', Uint8Array.of(97, 13, 98, 13, 10, 0xff), 'p.txt:3: not UTF-8'],
      ['p.txt', Uint8Array.of(0xc3), 'p.txt:1: not UTF-8'],
      ['p.jsonl', '{"prompt": "a"}\n{"prompt": }\n', 'p.jsonl:2: not JSON: '],
      ['p.jsonl', '"a"\n', 'p.jsonl:1: found "a", expected an object'],
      ['p.jsonl', '[1]\n', 'p.jsonl:1: found [1], expected an object'],
      ['p.jsonl', '{"text": "a"}', 'p.jsonl:1: prompt is missing, expected a text'],
      ['p.jsonl', '{"prompt": 5}', 'p.jsonl:1: prompt is 5, expected a text'],
      ['p.jsonl', '{"prompt": "a"}\n{"prompt": " "}\n', 'p.jsonl:2: empty prompt'],
      ['p.jsonl', '{"prompt": "a"}\n\n', 'p.jsonl:2: empty line, expected {"prompt": ...}'],
    ];
    for (const [name, text, message] of cases) {
      const parse = () => parsePrompts(name, typeof text === 'string' ? bytes(text) : text);
      expect(parse, message).toThrow(FileError);
      expect(parse).toThrow(message);
    }
  });

  test('a file is read by its path; one that is missing is named', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'winnow-prompts-'));
    afterAll(() => rm(folder, { recursive: true }));
    const path = join(folder, 'p.txt');
    await writeFile(path, 'a cat\n');
    expect(await readPrompts(path, 'train')).toEqual([{ prompt: 'a cat', meta: {} }]);
    await expect(readPrompts(join(folder, 'none.txt'), 'test')).rejects.toThrow(
      /none\.txt: no such file or folder; expected prompts/,
    );
    await expect(readPrompts(folder, 'test')).rejects.toThrow(FileError);
  });
});

test('scenes are different captions, the same each time, and those of tests are held out', async () => {
  for (const [split, heldOut, count] of [
    ['train', false, 295],
    ['test', true, 41],
  ] as const) {
    const prompts = await readPrompts('scenes', split);
    expect(prompts).toEqual(scenePrompts(split));
    expect(new Set(prompts.map(({ prompt }) => prompt)).size).toBe(prompts.length);
    expect(prompts).toHaveLength(count);
    for (const { prompt } of prompts) {
      expect(isHeldOut(prompt), prompt).toBe(heldOut);
      expect(readCaption(prompt), prompt).toBeDefined();
    }
  }
});
