import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { loadTokenizer } from '../../../models/text/tokenizer.js';
import { lacking, realFile } from '../../real.js';

const absent = lacking('clip_tokens.json');

test(`573 prompts have the ids of transformers with CLIP's real byte pairs${absent ? ` (${absent})` : ''}`, async (context) => {
  if (absent) return context.skip(absent);
  const tokenizer = await loadTokenizer(realFile('clip_tokenizer'));
  const cases = JSON.parse(await readFile(realFile('clip_tokens.json'), 'utf8')) as {
    readonly prompt: string;
    readonly ids: readonly number[];
  }[];
  expect(cases.length).toBe(573);
  for (const { prompt, ids } of cases) expect(tokenizer.encode(prompt).ids, prompt).toEqual(ids);
});
