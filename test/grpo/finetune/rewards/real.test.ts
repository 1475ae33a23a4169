import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readAestheticHead } from '../../../../grpo/finetune/rewards/aesthetic.js';
import { dot } from '../../../../grpo/finetune/rewards/image_encoder.js';
import { openAnyWeights } from '../../../../grpo/finetune/rewards/single_file.js';
import { lacking, realFile } from '../../../real.js';

const absent = lacking('aesthetic.json');

test(`LAION's own head rates as in PyTorch${absent ? ` (${absent})` : ''}`, async (context) => {
  if (absent) return context.skip(absent);
  const file = await openAnyWeights(realFile('sac+logos+ava1-l14-linearMSE.pth'));
  const { weight, bias } = await readAestheticHead(file, 768).finally(() => file.close());
  const { embeddings, ratings } = JSON.parse(await readFile(realFile('aesthetic.json'), 'utf8')) as {
    readonly embeddings: readonly (readonly number[])[];
    readonly ratings: readonly number[];
  };
  expect(ratings.length).toBe(3);
  for (const [i, rating] of ratings.entries())
    expect(Math.abs(dot(weight, Float64Array.from(embeddings[i]!)) + bias - rating)).toBeLessThan(1e-6);
});
