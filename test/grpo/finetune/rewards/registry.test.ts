import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../../../engine/version.js';
import { defaults, type RewardConfig, type RunConfig } from '../../../../grpo/config.js';
import { loadReward, loadRewards, rewardNames } from '../../../../grpo/finetune/rewards/registry.js';
import { CombinedReward, RewardError, type RewardImage } from '../../../../grpo/rewards/reward.js';
import { readCaption, varyWords, wordsOf, writeCaption } from '../../../../models/scenes/caption.js';
import { randomStream } from '../../../../models/scenes/random.js';
import { drawScene, makeScene, type Style, sceneSize } from '../../../../models/scenes/scenes.js';
import { expectClose, testDevice } from '../../../check.js';
import { temporaryFolder } from '../../../temporary.js';
import { pictureByRule, plainPicture } from '../../rewards/pictures.js';

const device = await testDevice();
const fixtures = join(packageRoot(), 'test', 'fixtures', 'rewards');
const scratch = temporaryFolder();

/** What transformers and PyTorch make of the three pictures and the two texts. */
interface Expected {
  readonly texts: readonly string[];
  readonly cosines: readonly (readonly number[])[];
  readonly scaled: readonly (readonly number[])[];
  readonly aesthetic: readonly number[];
}

const expectedOf = (name: string): Expected =>
  JSON.parse(readFileSync(join(fixtures, name, 'expected.json'), 'utf8')) as Expected;

const sizes = [
  [64, 64],
  [40, 52],
  [28, 28],
] as const;

/** Every picture with every text, in the order of `cosines`. */
const pairs = (texts: readonly string[]): RewardImage[] =>
  sizes.flatMap(([width, height], i) => texts.map((text) => pictureByRule(`reward ${i}`, width, height, text)));

/** The checkpoints' weights are exact in f16, so what is left is rounding of f32 in the networks. */
const closeness = 2e-5;

describe.each([
  ['clip', 'clip', 'cosines'],
  ['scenes-clip', 'clip', 'cosines'],
  ['pickscore', 'clip', 'scaled'],
  ['hpsv2', 'hpsv2', 'cosines'],
] as const)('%s', (name, folder, scores) => {
  test('scores are those of transformers', async () => {
    const reward = await loadReward(device, name, { path: join(fixtures, folder) });
    expect(reward.name).toBe(name);
    const expected = expectedOf(folder);
    const images = pairs(expected.texts);
    const found = await reward.score(images);
    expectClose(found, expected[scores].flat(), closeness, name);
    // In another order and in more batches than one, the same bits.
    const mixed = [...images, ...images, ...images].reverse();
    expect((await reward.score(mixed)).reverse()).toEqual([...found, ...found, ...found]);
    reward.dispose?.();
  });
});

describe('aesthetic', () => {
  test('scores are those of transformers and PyTorch', async () => {
    const reward = await loadReward(device, 'aesthetic', { path: join(fixtures, 'clip') });
    const found = await reward.score(pairs(['anything']));
    expectClose(found, expectedOf('clip').aesthetic, closeness, 'aesthetic');
    reward.dispose?.();
  });

  test('a head that does not fit', async () => {
    const folder = join(scratch, 'aesthetic');
    cpSync(join(fixtures, 'clip'), folder, { recursive: true });
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object;
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, projection_dim: 16 }));
    const loading = loadReward(device, 'aesthetic', { path: folder });
    await expect(loading).rejects.toMatchObject({ name: 'ModelFileError', path: join(folder, 'aesthetic.pth') });
    await expect(loading).rejects.toThrow('layers.0.weight is [10,12], expected [10,16]');
    cpSync(join(folder, 'aesthetic.pth'), join(folder, 'aesthetic_2.pth'));
    await expect(loadReward(device, 'aesthetic', { path: folder })).rejects.toThrow(
      'aesthetic.pth, aesthetic_2.pth: more than one file of weights, expected sac+logos+ava1-l14-linearMSE.pth',
    );
  });
});

describe('folders that can not be used', () => {
  const spoiled = (name: string, from: string, spoil: (folder: string) => void): string => {
    const folder = join(scratch, name);
    cpSync(join(fixtures, from), folder, { recursive: true });
    spoil(folder);
    return folder;
  };
  test.each([
    ['clip', 'clip', 'model.safetensors', 'no weights: expected'],
    ['clip', 'clip', 'vocab.json', 'no tokenizer: expected'],
    ['pickscore', 'clip', 'config.json', 'no such file or folder'],
    ['hpsv2', 'hpsv2', 'HPS_v2.1_compressed.pt', 'no file of weights, expected HPS_v2.1_compressed.pt or'],
    ['hpsv2', 'hpsv2', 'merges.txt', 'no tokenizer: expected'],
    ['aesthetic', 'clip', 'aesthetic.pth', 'no file of weights, expected sac+logos+ava1-l14-linearMSE.pth'],
  ])('%s without %s/%s', async (name, from, file, message) => {
    const folder = spoiled(`${name} ${file}`, from, (path) => rmSync(join(path, file)));
    const error = await loadReward(device, name, { path: folder }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'ModelFileError' });
    expect((error as Error).message).toContain(folder);
    expect((error as Error).message).toContain(message);
  });

  test('weights of another size are listed under the names of transformers', async () => {
    const folder = spoiled('hpsv2 wide', 'hpsv2', (path) => {
      const file = join(path, 'open_clip_config.json');
      const { model_cfg } = JSON.parse(readFileSync(file, 'utf8'));
      const wide = { ...model_cfg, text_cfg: { ...model_cfg.text_cfg, mlp_ratio: 4 } };
      writeFileSync(file, JSON.stringify({ model_cfg: wide }));
    });
    await expect(loadReward(device, 'hpsv2', { path: folder })).rejects.toThrow(
      'text_model.encoder.layers.0.mlp.fc1.weight is [32, 16], expected [64, 16]',
    );
  });

  test('a tokenizer of another network', async () => {
    const folder = spoiled('clip of others', 'clip', (path) => {
      const file = join(path, 'vocab.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace(/("<\|endoftext\|>": *)\d+/, '$15000'));
    });
    const error = await loadReward(device, 'clip', { path: folder }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'ModelFileError', path: folder });
    expect((error as Error).message).toMatch(/the tokenizer has a token 5000, the network's vocabulary \d+/);
  });

  test('a config that makes no network', async () => {
    const folder = spoiled('hpsv2 odd', 'hpsv2', (path) => {
      const cfg = { vision_cfg: { width: 16 }, text_cfg: { width: 0 } };
      writeFileSync(join(path, 'open_clip_config.json'), JSON.stringify({ model_cfg: cfg }));
    });
    await expect(loadReward(device, 'hpsv2', { path: folder })).rejects.toThrow(
      [
        'model_cfg.text_cfg.width is 0, expected a positive integer',
        'model_cfg.text_cfg.layers is missing, expected a positive integer',
      ].join('\n  '),
    );
  });
});

const imageOf = (pixels: Float32Array, prompt: string): RewardImage => {
  const plane = sceneSize ** 2;
  const rgb = Uint8Array.from({ length: 3 * plane }, (_, i) =>
    Math.round(255 * pixels[(i % 3) * plane + Math.floor(i / 3)]!),
  );
  return { rgb, width: sceneSize, height: sceneSize, prompt, meta: {} };
};

test('scenes-clip that ships prefers the caption of a scene to that of its twin', async () => {
  const reward = await loadReward(device, 'scenes-clip');
  const scenes = Array.from({ length: 64 }, (_, i) => makeScene(4, i, 'heldOut'));
  const own = await reward.score(scenes.map(({ pixels, caption }) => imageOf(pixels, caption)));
  const random = randomStream(5);
  const twins = scenes.map(({ pixels, words }) => imageOf(pixels, writeCaption(varyWords(words, random))));
  const other = await reward.score(twins);
  expect(own.filter((score, i) => score > other[i]!).length).toBeGreaterThanOrEqual(54);
  reward.dispose?.();
});

describe('the preferences that ship', () => {
  const base: Style = { size: 0.5, vivid: 0.5, clean: 0.5, sharp: 0.5, dark: 0.5, x: 16, y: 16 };
  /** How often a reward likes a style better than the middle one, on 64 scenes. */
  const preferred = async (name: string, better: Partial<Style>): Promise<number> => {
    const reward = await loadReward(device, name);
    const scores = async (style: Style): Promise<number[]> =>
      reward.score(
        Array.from({ length: 64 }, (_, i) => {
          const words = wordsOf.heldOut[i % wordsOf.heldOut.length]!;
          return imageOf(drawScene(words, style, randomStream(i)), writeCaption(words));
        }),
      );
    const [usual, liked] = [await scores(base), await scores({ ...base, ...better })];
    reward.dispose?.();
    return liked.filter((score, i) => score > usual[i]!).length / 64;
  };

  // What the synthetic person behind each weighs the most: models/scenes/judge.ts.
  test.each([
    ['scenes-pick', { size: 1 }],
    ['scenes-pick', { vivid: 1 }],
    ['scenes-pick', { clean: 1 }],
    ['scenes-hps', { vivid: 1 }],
    ['scenes-hps', { clean: 1 }],
    ['scenes-aesthetic', { vivid: 1 }],
    ['scenes-aesthetic', { clean: 1 }],
  ] as const)('%s likes %j', async (name, better) => {
    expect(await preferred(name, better)).toBeGreaterThan(0.8);
  });
});

describe('the scene checker', () => {
  test('gives 1 to scenes as they are drawn, and the share that is right to others', async () => {
    const reward = await loadReward(device, 'scene-checker');
    const scenes = Array.from({ length: 8 }, (_, i) => makeScene(3, i, 'heldOut'));
    const own = await reward.score(scenes.map(({ pixels, caption }) => imageOf(pixels, caption)));
    expect(own.filter((score) => score === 1).length).toBeGreaterThanOrEqual(7);
    const style: Style = { size: 0.6, vivid: 0.8, clean: 0.9, sharp: 0.8, dark: 0.6, x: 14, y: 17 };
    const picture = drawScene(readCaption('a red circle on blue')!, style, randomStream(1));
    const prompts = [
      'a red circle on blue', // all three claims hold
      'a red square on blue', // all but the shape
      'a blue circle on red', // only the shape
      'a green ring on white', // none
    ];
    const scores = await reward.score(prompts.map((prompt) => imageOf(picture, prompt)));
    expectClose(scores, [1, 2 / 3, 1 / 3, 0], 1e-12, 'scores');
    const images = prompts.map((prompt) => imageOf(picture, prompt));
    for (const [part, right] of [
      ['color', [1, 1, 0, 0]],
      ['shape', [1, 0, 1, 0]],
      ['ground', [1, 1, 0, 0]],
    ] as const)
      expect(await (await loadReward(device, `scene-checker-${part}`)).score(images), part).toEqual(right);
  });

  test('refuses prompts that are no captions, and pictures of another size', async () => {
    const reward = await loadReward(device, 'scene-checker');
    await expect(reward.score([plainPicture([0, 0, 0], 'an astronaut')])).rejects.toThrow(
      'reward "scene-checker" can\'t read the prompt "an astronaut" as a scene for 1 image',
    );
    await expect(reward.score([plainPicture([0, 0, 0], 'a red circle on blue')])).rejects.toThrow(
      'found a picture of 4 x 4, expected 32 x 32, for 1 image',
    );
  });
});

describe('modules', () => {
  const module = (name: string, text: string): string => {
    const path = join(scratch, name);
    writeFileSync(path, text);
    return path;
  };

  test('the default export scores, and what it throws is a RewardError with the path', async () => {
    const path = module(
      'good.mjs',
      'export default (images) => images.map(({ width, prompt }) => width + prompt.length);',
    );
    const reward = await loadReward(device, 'mine', { module: path });
    expect(await reward.score([plainPicture([1, 2, 3], 'abc')])).toEqual([7]);
    const bad = module('bad.mjs', 'export default () => { throw new Error("no luck"); };');
    const error = await (await loadReward(device, 'mine', { module: bad }))
      .score([plainPicture([1, 2, 3])])
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RewardError);
    expect((error as Error).message).toBe(`reward "mine" threw for 1 image (${bad}): no luck`);
    const slow = module('slow.mjs', 'export default () => new Promise(() => {});');
    const late = await loadReward(device, 'mine', { module: slow, timeout_s: 0.01 });
    await expect(late.score([plainPicture([1, 2, 3])])).rejects.toThrow('took more than 0.01 s');
  });

  test('a module that can not be imported, or has no function, is a bad file', async () => {
    const fails = async (path: string, message: string): Promise<void> => {
      const error = await loadReward(device, 'mine', { module: path }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'ModelFileError', path });
      expect((error as Error).message).toContain(message);
    };
    await fails(join(scratch, 'none.mjs'), "can't be imported: ");
    await fails(module('syntax.mjs', 'export default ('), "can't be imported: ");
    await fails(module('named.mjs', 'export const reward = 1;'), 'no default export, expected a function');
    await fails(module('number.mjs', 'export default 5;'), 'a default export of type number, expected a function');
  });
});

describe('names', () => {
  test.each([
    [
      'brightnes',
      {},
      'reward.brightnes: no reward is called so (did you mean "brightness"?)\n  Built in: scene-checker, ',
    ],
    ['constructor', {}, 'reward.constructor: no reward is called so'],
    ['clip', {}, 'reward.clip.path is missing: expected the folder of a CLIP'],
    ['color', { path: 'x' }, 'reward.color.path: this reward reads no files'],
    ['x', { module: 'a', http: 'b' }, 'reward.x: has a module and an http address, expected one of them'],
    ['x', { http: 'localhost:80' }, 'reward.x.http is "localhost:80", expected an address such as http://'],
  ] as [string, Partial<RewardConfig>, string][])('%s %j', async (name, config, message) => {
    const error = await loadReward(device, name, config).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'UsageError' });
    expect((error as Error).message).toContain(message);
  });

  test('those that need no files load by name alone', async () => {
    const images = [pictureByRule('a', 16, 16), pictureByRule('b', 16, 24)];
    const names = rewardNames.filter((each) => /bright|^color|compress/.test(each));
    expect(names).toHaveLength(4);
    for (const name of names) {
      const reward = await loadReward(device, name);
      const scores = await reward.score(images);
      expect(scores.every(Number.isFinite), name).toBe(true);
      expect(scores.length).toBe(2);
    }
  });
});

describe('the rewards of a run', () => {
  const run = (reward: Record<string, Partial<RewardConfig>>): Pick<RunConfig, 'reward'> => ({
    reward: Object.fromEntries(
      Object.entries(reward).map(([name, config]) => [name, { ...defaults.reward, ...config }]),
    ),
  });

  test('are summed by weight, or normalised first', async () => {
    const images = [0, 51, 255].map((level) => plainPicture([level, level, level]));
    const sum = new CombinedReward(await loadRewards(device, run({ brightness: { weight: 2 }, color: { weight: 1 } })));
    expect(await sum.score(images)).toEqual({
      total: [0, 0.4, 2],
      byReward: { brightness: [0, 0.2, 1], color: [0, 0, 0] },
    });
    const normalised = new CombinedReward(await loadRewards(device, run({ brightness: {} })), {
      combine: 'normalised',
    });
    const { total } = await normalised.score(images);
    expect(total.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
  });

  test('one that can not be loaded frees those before it', async () => {
    const config = run({ clip: { path: join(fixtures, 'clip') }, nothing: {} });
    const { liveBytes } = device.memory();
    await expect(loadRewards(device, config)).rejects.toThrow('reward.nothing: no reward is called so');
    expect(device.memory().liveBytes).toBe(liveBytes);
  });
});
