/** The tiny folders in other ways than the usual: not square, under negative prompts, from given conditions. */
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FileTensor, writeSafetensors } from '../../../engine/safetensors.js';
import { scope } from '../../../engine/tensor/scope.js';
import { noGrad } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { loadModel, type Model } from '../../../grpo/finetune/model.js';
import { frozenModel, scheduleOf } from '../../../grpo/finetune/policy.js';
import { Sampler } from '../../../grpo/sampling/sampler.js';
import { odeStepsOf } from '../../../grpo/sampling/transitions.js';
import { loadPipeline } from '../../../models/pipeline/pipeline.js';
import { readPromptEmbeds } from '../../../models/pipeline/prompt_embeds.js';
import { expectClose, testDevice } from '../../check.js';
import { readFixture } from '../../fixtures.js';
import { winnow } from '../../grpo/cli/output.js';
import { tinyFolder } from '../../grpo/tiny.js';
import { temporaryFolder } from '../../temporary.js';
import { change, spoiled } from './spoiled.js';

const device = await testDevice();
const temporary = temporaryFolder();

const prompts = ['a red circle', 'the blue cat'];
const negative = 'a small green square';
const close = 1e-5; // of the largest value
const casesOf = async (name: string) => (await readFixture(`pipelines/${name}/cases`)).tensors;

describe.each(['sd1', 'sd3'])('%s', (name) => {
  test('draws what diffusers draws that is not square, under a negative prompt', async () => {
    const tensors = await casesOf(name);
    const pipeline = await loadPipeline(device, tinyFolder(name), { maxSequenceLength: 5 });
    const model = frozenModel(pipeline, { resolution: [16, 24], negative_prompt: negative });
    expect([model.latentShape, model.pictureSize]).toEqual([
      [4, 8, 12],
      [16, 24],
    ]);
    const { shape, values } = tensors.get('latents')!;
    const [condition, unconditional] = [model.encode(prompts), model.encode([negative, negative])];
    const sampler = await Sampler.create(device, model.predict, shape, condition, { scale: 3, unconditional });
    const initial = tensor(device, values, shape);
    const latents = await sampler.sample(initial, odeStepsOf(scheduleOf(pipeline, 4)));
    const image = scope(device, () => noGrad(() => model.decode(latents)));
    const drawn = Float32Array.from(await image.data(), (value) => Math.min(1, Math.max(0, (value + 1) / 2)));
    expect(image.shape).toEqual(tensors.get('image')!.shape);
    expectClose(drawn, tensors.get('image')!.values, close, 'picture');
    for (const thing of [image, initial, sampler, pipeline, ...condition, ...unconditional]) thing.dispose();
  });

  test('encodes prompts as diffusers does, and reads the conditions that diffusers makes', async () => {
    const tensors = await casesOf(name);
    const pipeline = await loadPipeline(device, tinyFolder(name), { maxSequenceLength: 5 });
    const path = join(temporary, `${name}.safetensors`);
    await writeEmbeds(path, tensors);
    const embeds = await readPromptEmbeds(pipeline, path);
    expect(embeds.count).toBe(2);
    const [given, encoded] = [embeds.encode([1, 0]), pipeline.encode([prompts[1]!, prompts[0]!])];
    const [none, encodedNone] = [embeds.negative!(2), pipeline.encode([negative, negative])];
    for (const [i, each] of [...encoded, ...encodedNone].entries()) {
      const other = [...given, ...none][i]!;
      expect(other.shape).toEqual(each.shape);
      expectClose(await each.data(), await other.data(), close, `condition ${i}`);
    }
    for (const thing of [pipeline, ...given, ...encoded, ...none, ...encodedNone]) thing.dispose();
  });
});

/** Writes the embeddings among some tensors, changed. */
async function writeEmbeds(
  path: string,
  tensors: Awaited<ReturnType<typeof casesOf>>,
  changes: Readonly<Record<string, FileTensor | undefined>> = {},
): Promise<void> {
  const own = [...tensors].filter(([key]) => key.includes('prompt_embeds'));
  const all = own.map(([key, { shape, values }]): [string, FileTensor] => [key, { dtype: 'F32', shape, data: values }]);
  const merged = Object.entries({ ...Object.fromEntries(all), ...changes });
  const kept = merged.filter((entry): entry is [string, FileTensor] => entry[1] !== undefined);
  await writeSafetensors(path, Object.fromEntries(kept), { format: 'pt' });
}

test('sides that are no multiples of the factor are encoded as in diffusers', async () => {
  const tensors = await casesOf('sd1');
  const pipeline = await loadPipeline(device, tinyFolder('sd1'));
  const { shape, values } = tensors.get('picture')!;
  const picture = tensor(device, values, shape);
  const moments = scope(device, () => noGrad(() => pipeline.vae.encode(picture)));
  expect(moments.shape).toEqual(tensors.get('moments')!.shape);
  expectClose(await moments.data(), tensors.get('moments')!.values, close, 'moments');
  for (const thing of [picture, moments, pipeline]) thing.dispose();
});

describe('given conditions', () => {
  let model: Model;
  const path = join(temporary, 'embeds.safetensors');
  beforeAll(async () => {
    model = await loadModel(tinyFolder('sd1'), { device, resolution: [16, 24] });
    const encoded = model.pipeline.encode(prompts);
    const none = model.pipeline.encode([negative]);
    await write({ prompt_embeds: encoded[0]!, negative_prompt_embeds: none[0]! });
    for (const each of [...encoded, ...none]) each.dispose();
  });
  afterAll(() => model.close());

  const write = async (tensors: Readonly<Record<string, Tensor>>): Promise<void> => {
    const files: Record<string, FileTensor> = {};
    for (const [key, each] of Object.entries(tensors))
      files[key] = { dtype: 'F32', shape: each.shape, data: await each.data() };
    await writeSafetensors(path, files, { format: 'pt' });
  };

  test('draw the pictures of their prompts, bit for bit', async () => {
    const options = { steps: 2, seed: 3 };
    const own = await model.sample(prompts, { ...options, negativePrompt: negative });
    const given = await model.sample({ promptEmbeds: path }, options);
    expect(given.map(({ prompt }) => prompt)).toEqual([`${path} 0`, `${path} 1`]);
    expect(given.map(({ width, height }) => [width, height])).toEqual(Array(2).fill([24, 16]));
    for (const [i, { rgb }] of given.entries()) expect(rgb).toEqual(own[i]!.rgb);
    const plain = await model.sample(prompts, options);
    expect(plain.map(({ rgb }) => rgb)).not.toEqual(own.map(({ rgb }) => rgb));
  });

  test('are drawn by a folder without text encoders, by the command', async () => {
    const folder = await spoiled('sd1', async (copy) => {
      await change('model_index.json', { text_encoder: [null, null], tokenizer: [null, null] })(copy);
      for (const name of ['text_encoder', 'tokenizer']) await rm(join(copy, name), { recursive: true });
    });
    const common = ['--steps', '2', '--n', '2'];
    const out = (name: string) => ['--out', join(temporary, name)];
    const given = await winnow('sample', folder, '--prompt-embeds', path, ...common, ...out('given'));
    expect([given.status, given.stderr]).toEqual([0, expect.stringContaining('the folder has no text_encoder')]);
    const args = prompts.flatMap((prompt) => ['--prompt', prompt]);
    const own = await winnow(
      'sample',
      tinyFolder('sd1'),
      ...args,
      '--negative-prompt',
      negative,
      ...common,
      ...out('own'),
    );
    expect(own.status).toBe(0);
    for (const i of [0, 1, 2, 3])
      expect(await pixels(join(temporary, 'given', `000${i}.png`))).toEqual(
        await pixels(join(temporary, 'own', `000${i}.png`)),
      );
    const refused = await winnow('sample', folder, '--prompt', 'a red circle', ...common);
    expect([refused.status, refused.stderr]).toEqual([6, expect.stringContaining('give --prompt-embeds')]);
    const both = await winnow('sample', folder, '--prompt', 'a', '--prompt-embeds', path);
    expect([both.status, both.stderr]).toEqual([2, expect.stringContaining('in the place of --prompt and --prompts')]);
  });

  test.each<[string, Readonly<Record<string, FileTensor | undefined>>, string]>([
    ['nothing', { prompt_embeds: undefined }, 'prompt_embeds is missing, expected [prompts, tokens, 12]'],
    [
      'another width',
      { prompt_embeds: zeros([2, 7, 13]) },
      'prompt_embeds is [2, 7, 13], expected [prompts, tokens, 12]',
    ],
    ['another name', { embeds: zeros([1]) }, 'embeds is in the file, expected prompt_embeds, negative_prompt_embeds'],
    [
      'integers',
      { prompt_embeds: { dtype: 'I32', shape: [1, 7, 12], data: new Int32Array(84) } },
      'is I32, expected F32',
    ],
    [
      'NaN',
      { prompt_embeds: { ...zeros([1, 1, 12]), data: new Float32Array(12).fill(Number.NaN) } },
      'holds NaN at element 0',
    ],
    [
      'other tokens',
      { negative_prompt_embeds: zeros([1, 9, 12]) },
      'negative_prompt_embeds is [1, 9, 12], expected [1, 77, 12]',
    ],
    [
      'different negative ones',
      { negative_prompt_embeds: { ...zeros([2, 77, 12]), data: Float32Array.from({ length: 1848 }, (_, i) => i) } },
      'negative_prompt_embeds: row 1 differs from row 0',
    ],
  ])('with %s are refused', async (_name, changes, message) => {
    const wrong = join(temporary, 'wrong.safetensors');
    await writeEmbeds(wrong, await casesOf('sd1'), changes);
    await expect(readPromptEmbeds(model.pipeline, wrong)).rejects.toThrow(message);
  });

  test('of another number of tokens than those of no prompt need negative ones, or no guidance', async () => {
    const short = join(temporary, 'short.safetensors');
    await writeSafetensors(short, { prompt_embeds: zeros([1, 5, 12]) }, { format: 'pt' });
    await expect(model.sample({ promptEmbeds: short }, { steps: 1 })).rejects.toThrow(
      'give negative ones in the file too',
    );
    expect(await model.sample({ promptEmbeds: short }, { steps: 1, guidance: 1 })).toHaveLength(1);
  });
});

function zeros(shape: readonly number[]): FileTensor {
  return { dtype: 'F32', shape, data: new Float32Array(shape.reduce((size, n) => size * n, 1)) };
}

/** A PNG's data: the texts beside it differ by the prompts. */
const pixels = async (path: string): Promise<Buffer> => {
  const bytes = await readFile(path);
  return bytes.subarray(bytes.indexOf('IDAT'));
};

test('a variant is read where it is asked for', async () => {
  const unet = 'diffusion_pytorch_model';
  const folder = await spoiled('sd1', async (copy) => {
    const at = (name: string) => join(copy, 'unet', name);
    await copyFile(at(`${unet}.safetensors`), at(`${unet}.fp16.safetensors`));
    await copyFile(join(copy, 'vae', `${unet}.safetensors`), at(`${unet}.non_ema.safetensors`)); // of another network
    await rm(at(`${unet}.safetensors`));
  });
  await mkdir(join(temporary, 'variants'));
  const args = ['sample', folder, '--prompt', 'a red circle', '--steps', '1', '--out', join(temporary, 'variants')];
  const none = await winnow(...args);
  expect([none.status, none.stderr]).toEqual([6, expect.stringContaining('(fp16, non_ema): say which one (--variant')]);
  const half = await winnow(...args, '--variant', 'fp16');
  expect([half.status, half.stderr]).toEqual([0, expect.stringContaining('no file of the variant fp16: vae/')]);
  const plain = await winnow('sample', tinyFolder('sd1'), ...args.slice(2, -1), join(temporary, 'plain'));
  expect(plain.status).toBe(0);
  const picture = (name: string) => pixels(join(temporary, name, '0000.png'));
  expect(await picture('variants')).toEqual(await picture('plain'));
  expect((await winnow(...args, '--variant', 'non_ema')).status).toBe(6);
});

test('adapters of a text encoder are counted on stderr', async () => {
  const layer = 'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q';
  const path = join(temporary, 'lora.safetensors');
  const pair = (key: string, width: number) => ({
    [`${key}.lora_A.weight`]: zeros([2, width]),
    [`${key}.lora_B.weight`]: zeros([width, 2]),
  });
  const text = 'text_encoder.text_model.encoder.layers.0.self_attn.q_proj';
  await writeSafetensors(path, { ...pair(layer, 8), ...pair(text, 12) }, { format: 'pt' });
  const out = join(temporary, 'adapted');
  const run = await winnow('sample', tinyFolder('sd1'), '--prompt', 'a', '--steps', '1', '--lora', path, '--out', out);
  expect([run.status, run.stderr]).toEqual([
    0,
    expect.stringContaining('not applied: 1 adapter of text_encoder (2 tensors)'),
  ]);
});
