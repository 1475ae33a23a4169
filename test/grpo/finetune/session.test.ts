import { expect, test } from 'vitest';
import { cutPrompts } from '../../../grpo/finetune/session.js';

const cut = (prompt: string): string => (prompt.startsWith('long') ? `end of ${prompt}` : '');

const warnings = (...prompts: string[]): string[] =>
  cutPrompts(
    { cut },
    prompts.map((prompt) => ({ prompt, meta: {} })),
  );

test('prompts that are read to their end need no warning', () => {
  expect(warnings('a', 'b')).toEqual([]);
});

test('a prompt that is not is told of once, with what is left out', () => {
  expect(warnings('a', 'long 1', 'long 1')).toEqual([
    'the model does not read the end of the prompt "long 1...": «end of long 1»',
  ]);
});

test('of many, three are shown and the others counted', () => {
  const lines = warnings('long 1', 'long 2', 'a', 'long 3', 'long 4', 'long 5');
  expect(lines).toHaveLength(4);
  expect(lines[3]).toBe('and of 2 other prompts, which are too long as well');
});
