/** Whole folders as diffusers saves them: the same pictures from the same latents. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import { noGrad } from '../../../engine/tensor/tape.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { packageRoot } from '../../../engine/version.js';
import { scheduleOf } from '../../../grpo/finetune/policy.js';
import { Sampler } from '../../../grpo/sampling/sampler.js';
import { odeStepsOf } from '../../../grpo/sampling/transitions.js';
import { loadPipeline, measurePipeline, pipelineKinds } from '../../../models/index.js';
import { testDevice } from '../../check.js';
import { readFixture } from '../../fixtures.js';
import { winnow } from '../../grpo/cli/output.js';
import { temporaryFolder } from '../../temporary.js';
import { change, spoiled } from './spoiled.js';

const device = await testDevice();
const folderOf = (name: string): string => join(packageRoot(), 'test', 'fixtures', 'pipelines', name);
const temporary = temporaryFolder();

const cases = [
  { name: 'sd1', prompts: ['a red circle', 'the blue cat'], maxSequenceLength: 256 },
  { name: 'sd3', prompts: ['a red circle', 'the blue cat'], maxSequenceLength: 5 },
  { name: 'dit', prompts: ['0', '3'], maxSequenceLength: 256 },
];

describe('pictures', () => {
  for (const { name, prompts, maxSequenceLength } of cases) {
    test(`${name} draws what diffusers draws, to five digits`, async () => {
      const { tensors } = await readFixture(`pipelines/${name}/expected`);
      const { shape, values } = tensors.get('latents')!;
      const pipeline = await loadPipeline(device, folderOf(name), { maxSequenceLength });
      const [condition, unconditional] = [pipeline.encode(prompts), pipeline.encode(['', ''])];
      const guidance = { scale: 3, unconditional };
      const sampler = await Sampler.create(device, pipeline.predict, shape, condition, guidance);
      const initial = tensor(device, values, shape);
      const latents = await sampler.sample(initial, odeStepsOf(scheduleOf(pipeline, 6)));
      const image = scope(device, () => pipeline.vae.decode(pipeline.vae.unscaled(latents)));
      const actual = Float32Array.from(await image.data(), (value) => Math.min(1, Math.max(0, (value + 1) / 2)));
      const expected = tensors.get('image')!;
      expect(image.shape).toEqual(expected.shape);
      const worst = Math.max(...Array.from(actual, (value, i) => Math.abs(value - expected.values[i]!)));
      expect(worst).toBeLessThanOrEqual(1e-5);
      for (const thing of [image, initial, sampler, pipeline, ...condition, ...unconditional]) thing.dispose();
    });
  }
});

const words = (count: number): string => Array(count).fill('cat').join(' ');

describe('the end of a prompt that no text encoder reads', () => {
  const cutOf = async (name: string, prompt: string): Promise<string> => {
    const pipeline = await loadPipeline(device, folderOf(name), { maxSequenceLength: 5 });
    pipeline.dispose();
    return pipeline.cut(prompt);
  };

  test('is empty for prompts as long as the tokens', async () => {
    expect(await cutOf('sd1', 'a red circle')).toBe('');
    expect(await cutOf('sd3', 'a red circle')).toBe('');
    expect(await cutOf('dit', '3')).toBe('');
  });

  test('is what comes after them', async () => {
    expect(await cutOf('sd1', `${words(90)} blue`)).toMatch(/cat cat blue$/);
  });

  test('is counted from the encoder that reads most', async () => {
    const cut = await cutOf('sd3', `${words(90)} blue`);
    expect(cut).toMatch(/cat cat blue$/);
    expect(cut.length).toBeLessThan(words(90).length);
  });
});

describe('the command', () => {
  /** Draws by `winnow sample` into a folder; the paths of its pictures. */
  const sample = async (out: string, ...more: string[]): Promise<string[]> => {
    const args = ['sample', folderOf('sd1'), '--steps', '2', '--out', join(temporary, out), ...more];
    const { status, stdout, stderr } = await winnow(...args);
    expect(status, stderr).toBe(0);
    return stdout.trim().split('\n');
  };

  test('writes each picture, the same whatever the batch', async () => {
    const prompt = ['--prompt', 'a red circle'];
    const paths = await sample('out', ...prompt, '--n', '3', '--seed', '5', '--batch', '2');
    expect(paths.map((path) => path.slice(-8))).toEqual(['0000.png', '0001.png', '0002.png']);
    const [alone] = await sample('alone', ...prompt, '--seed', '7', '--batch', '1');
    expect(await readFile(alone!)).toEqual(await readFile(paths[2]!));
  });

  test('refuses to run without a prompt', async () => {
    const { status, stderr } = await winnow('sample', folderOf('sd1'));
    expect([status, stderr]).toEqual([2, expect.stringContaining('sample: give --prompt TEXT or --prompts FILE')]);
  });
});

describe('a class', () => {
  test('is named as diffusers reads its names: stripped, and the last that has one', async () => {
    const names = { 1: 'crane, bird', 2: ' tench ,\u0085Tinca', 3: 'crane' };
    const folder = await spoiled('dit', change('model_index.json', { id2label: names }));
    const pipeline = await loadPipeline(device, folder);
    const condition = pipeline.encode(['crane', 'tench', 'Tinca', '7', '']);
    expect([...(await condition[0]!.data())]).toEqual([3, 2, 2, 7, 1000]);
    for (const other of [' ', '\ufeff', '0x1', '1e1', '1000', 'birds'])
      expect(() => pipeline.encode([other])).toThrow();
    for (const thing of [...condition, pipeline]) thing.dispose();
  });
});

describe('the network', () => {
  test('is called by itself, as the class that its kind has', async () => {
    const pipeline = await loadPipeline(device, folderOf('sd1'));
    if (pipeline.kind !== 'sd1') expect.fail(`found ${pipeline.kind}`);
    const { network, config } = pipeline; // a UNet2DConditionModel, by its type
    const shape = [1, config.in_channels, pipeline.latentSize, pipeline.latentSize];
    const sample = tensor(device, new Float32Array(shape.reduce((size, n) => size * n)).fill(0.5), shape);
    const timestep = tensor(device, [500]);
    const condition = pipeline.encode(['a red circle']);
    const [direct, predicted] = scope(device, () =>
      noGrad(() => [
        network.forward(sample, timestep, condition[0]!, { recompute: true }),
        pipeline.predict(sample, timestep, condition),
      ]),
    );
    expect(direct!.shape).toEqual([1, config.out_channels, pipeline.latentSize, pipeline.latentSize]);
    expect(await direct!.data()).toEqual(await predicted!.data());
    for (const thing of [sample, timestep, ...condition, direct!, predicted!, pipeline]) thing.dispose();
  });

  test('has the type of the kind that is asked for', async () => {
    const before = device.memory().liveBytes;
    const { network, dispose, encode } = await loadPipeline(device, folderOf('sd3'), { kind: 'sd3' });
    const [context, pooled] = encode(['a red circle']);
    const latents = tensor(device, new Float32Array(4 * 8 * 8), [1, 4, 8, 8]);
    const timestep = tensor(device, [1000]);
    const velocity = scope(device, () => noGrad(() => network.forward(latents, timestep, context!, pooled!)));
    expect(velocity.shape).toEqual([1, 4, 8, 8]);
    for (const thing of [latents, timestep, context!, pooled!, velocity]) thing.dispose();
    dispose();
    expect(device.memory().liveBytes).toBe(before);
  });

  test('of another kind than the one that is asked for is refused', async () => {
    await expect(loadPipeline(device, folderOf('dit'), { kind: 'sd1' })).rejects.toThrow(
      'model_index.json\n  _class_name is "DiTPipeline", expected StableDiffusionPipeline',
    );
  });
});

describe('without a device', () => {
  test.each(['sd1', 'sd3', 'dit'])('%s is measured as it is loaded', async (name) => {
    const { components, parameters, ...sizes } = await measurePipeline(folderOf(name));
    const pipeline = await loadPipeline(device, folderOf(name));
    expect(components.get(pipelineKinds[pipeline.kind].component)).toBe(parameters);
    expect(parameters.bytes).toBe(pipeline.parameters.bytes);
    expect(sizes).toEqual({
      kind: name,
      latentShape: pipeline.latentShape,
      latentChannels: pipeline.latentChannels,
      latentSize: pipeline.latentSize,
      factor: pipeline.vae.factor,
      scheduler: pipeline.scheduler,
    });
    pipeline.dispose();
  });
});
