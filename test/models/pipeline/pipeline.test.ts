/** Whole folders as diffusers saves them: the same pictures from the same latents. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { packageRoot } from '../../../engine/version.js';
import { scheduleOf } from '../../../grpo/finetune/policy.js';
import { Sampler } from '../../../grpo/sampling/sampler.js';
import { odeStepsOf } from '../../../grpo/sampling/transitions.js';
import { loadPipeline } from '../../../models/pipeline/pipeline.js';
import { testDevice } from '../../check.js';
import { readFixture } from '../../fixtures.js';
import { winnow } from '../../grpo/cli/output.js';
import { temporaryFolder } from '../../temporary.js';

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

describe('folders that lack something', () => {
  const broken = async (name: string, spoil: (folder: string) => Promise<unknown>): Promise<string> => {
    const folder = join(temporary, `broken-${Math.random().toString(36).slice(2)}`);
    await cp(folderOf(name), folder, { recursive: true });
    await spoil(folder);
    const before = device.memory().liveBytes;
    const message = await loadPipeline(device, folder).then(
      () => 'no error',
      (error: Error) => error.message,
    );
    expect(device.memory().liveBytes).toBe(before);
    return message.replaceAll(folder, 'FOLDER');
  };

  test('all missing parts are named together', async () => {
    const message = await broken('sd3', async (folder) => {
      await rm(join(folder, 'text_encoder_2'), { recursive: true });
      await rm(join(folder, 'vae'), { recursive: true });
    });
    expect(message).toBe('FOLDER\n  no folder text_encoder_2/\n  no folder vae/');
  });

  test('an unknown pipeline', async () => {
    const message = await broken('sd1', (folder) =>
      writeFile(join(folder, 'model_index.json'), '{"_class_name": "FluxPipeline"}'),
    );
    expect(message).toContain(
      '_class_name is "FluxPipeline", expected one of StableDiffusionPipeline, StableDiffusion3Pipeline, DiTPipeline',
    );
  });

  test('a config of another network', async () => {
    const message = await broken('sd1', (folder) =>
      writeFile(join(folder, 'unet', 'config.json'), '{"block_out_channels": []}'),
    );
    expect(message).toContain('FOLDER/unet/config.json\n  in_channels is missing, expected an integer');
  });

  test('weights that are not there', async () => {
    const message = await broken('dit', (folder) =>
      rm(join(folder, 'transformer', 'diffusion_pytorch_model.safetensors')),
    );
    expect(message).toContain('FOLDER/transformer');
  });

  test('no model_index.json at all', async () => {
    const message = await broken('sd1', (folder) => rm(join(folder, 'model_index.json')));
    expect(message).toBe('FOLDER/model_index.json\n  no such file or folder');
  });
});
