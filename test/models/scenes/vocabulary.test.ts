import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { allWords, writeCaption } from '../../../models/scenes/caption.js';
import { captionLength, captionVocabulary, learnMerges, saveTokenizer } from '../../../models/scenes/vocabulary.js';
import { loadTokenizer } from '../../../models/text/tokenizer.js';

test('merges follow the counts: the commonest pair first, ties by the alphabet', () => {
  expect(learnMerges(['abc', 'abd'])).toEqual([
    ['a', 'b'],
    ['ab', 'c</w>'],
    ['ab', 'd</w>'],
  ]);
});

test('every word of every caption is one token, and the longest caption fits', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-vocabulary-'));
  await saveTokenizer(folder);
  const tokenizer = await loadTokenizer(folder);
  const { bos, eos } = captionVocabulary();
  let longest = 0;
  for (const own of allWords) {
    const caption = writeCaption(own);
    const words = caption.split(' ').length;
    const { ids, cut } = tokenizer.encode(caption);
    expect(cut).toBe('');
    expect(ids).toHaveLength(captionLength);
    expect(ids[0]).toBe(bos);
    expect(ids.indexOf(eos), caption).toBe(words + 1);
    longest = Math.max(longest, words + 2);
  }
  expect(longest).toBe(captionLength);
  await rm(folder, { recursive: true });
});
