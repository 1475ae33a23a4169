import { join } from 'node:path';
import { expect, test } from 'vitest';
import { labelsOf } from '../../../models/scenes/attributes.js';
import { readCaption } from '../../../models/scenes/caption.js';
import { type PretrainClipOptions, pretrainClip } from '../../../models/scenes/clip.js';
import type { SeenPicture } from '../../../models/scenes/pictures.js';
import { makeScene } from '../../../models/scenes/scenes.js';
import { saveTokenizer } from '../../../models/scenes/vocabulary.js';
import { loadTokenizer } from '../../../models/text/tokenizer.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();

/** Scenes as they are drawn, without an autoencoder. */
const pictures: SeenPicture[] = Array.from({ length: 64 }, (_, i) => {
  const { words, style, pixels } = makeScene(3, i, 'train');
  return { words, style, damage: 0, pixels: Uint8Array.from(pixels, (value) => Math.round(255 * value)) };
});

test('a caption is read at its words: tokens 2, 3 and 5 are colour, shape and ground', async () => {
  await saveTokenizer(folder);
  const tokenizer = await loadTokenizer(folder);
  const one = (word: string): number => tokenizer.encode(word).ids[1]!;
  const { ids } = tokenizer.encode('a red circle on blue');
  expect([2, 3, 5].map((place) => ids[place])).toEqual([one('red'), one('circle'), one('blue')]);
  expect(labelsOf(readCaption('a red circle on blue')!)).toEqual({ color: 0, shape: 0, ground: 5 });
});

test('a training that is stopped and resumed ends with the bits of one that was not, and its loss falls', async () => {
  const checkpoint = { path: join(folder, 'checkpoint.safetensors'), resume: false, every: 100 };
  const train = async (options: Partial<PretrainClipOptions>) => {
    const losses: number[] = [];
    const onStep = (_: number, loss: number): void => void losses.push(loss);
    const { parameters, done } = await pretrainClip(device, folder, pictures, {
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
