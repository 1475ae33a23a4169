import { join } from 'node:path';
import { expect, test } from 'vitest';
import { nounsOf } from '../../../models/pretrain/attributes.js';
import { readCaption } from '../../../models/pretrain/caption.js';
import { type PretrainClipOptions, pretrainClip } from '../../../models/pretrain/clip.js';
import { saveTokenizer } from '../../../models/pretrain/vocabulary.js';
import { loadTokenizer } from '../../../models/tokenizer.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();

test('the nouns of a caption are found among its tokens, with what is said of them', async () => {
  await saveTokenizer(folder);
  const tokenizer = await loadTokenizer(folder);
  const nouns = (caption: string) => nounsOf(readCaption(caption)!, tokenizer.encode(caption).ids);
  // Tokens: the beginning, a, small, red, circle, above, a, blue, ring.
  expect(nouns('a small red circle above a blue ring')).toEqual([
    { position: 4, labels: { shape: 0, color: 0, size: 0, count: 0, relation: 1, order: 0 } },
    { position: 8, labels: { shape: 4, color: 5, size: 1, count: 0, relation: 1, order: 1 } },
  ]);
  expect(nouns('three white crosses')).toEqual([
    { position: 3, labels: { shape: 3, color: 7, size: 1, count: 2, relation: 0, order: 0 } },
  ]);
  // The comma is a token of its own.
  expect(nouns('a red ring, a cyan square and a red ring').map(({ position }) => position)).toEqual([3, 7, 11]);
});

test('a training that is stopped and resumed ends with the bits of one that was not, and its loss falls', async () => {
  const checkpoint = { path: join(folder, 'checkpoint.safetensors'), resume: false, every: 100 };
  const train = async (options: Partial<PretrainClipOptions>) => {
    const losses: number[] = [];
    const onStep = (_: number, loss: number): void => void losses.push(loss);
    const { parameters, done } = await pretrainClip(device, folder, {
      steps: 8,
      seed: 3,
      batch: 4,
      onStep,
      ...options,
    });
    const { tensor } = parameters.all.find(({ name }) => name.endsWith('token_embedding.weight'))!;
    const embedding = [...(await tensor.data())];
    parameters.dispose();
    return { losses, done, embedding };
  };
  const whole = await train({});
  expect(whole.losses.at(-1)!).toBeLessThan(whole.losses[0]!);

  const stop = new AbortController();
  const first = await train({ checkpoint, signal: stop.signal, onStep: (step) => void (step === 3 && stop.abort()) });
  expect(first.done).toBe(3);
  const second = await train({ checkpoint: { ...checkpoint, resume: true } });
  expect(second.losses).toEqual(whole.losses.slice(3));
  expect(second.embedding).toEqual(whole.embedding);
});
