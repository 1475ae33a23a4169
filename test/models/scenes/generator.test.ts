import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { loadPipeline } from '../../../models/pipeline/pipeline.js';
import { pretrainGenerator } from '../../../models/scenes/generator.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();

test('pretraining leaves a whole pipeline folder, resumes to the bit', async () => {
  const seen: number[] = [];
  const losses: number[] = [];
  const options = {
    steps: 6,
    seed: 3,
    batch: 4,
    scenes: 8,
    from: join(packageRoot(), 'models', 'embedded'),
    lr: 1e-2,
    levelOf: (uniform: number) => ({
      timestep: 1000 * uniform,
      data: 1 - uniform,
      noise: uniform,
      weight: 1 + uniform,
    }),
  };
  const weightsOf = (name: string): Promise<Buffer> =>
    readFile(join(folder, name, 'transformer', 'diffusion_pytorch_model.safetensors'));
  const before = device.memory();
  const done = await pretrainGenerator(device, 'scenes-flow', join(folder, 'whole'), {
    ...options,
    onStep: (_, loss) => void losses.push(loss),
    onScenes: (count) => void seen.push(count),
  });
  expect(done).toBe(6);
  const rest = device.memory();
  expect([rest.liveBytes, rest.plannedBytes]).toEqual([before.liveBytes, before.plannedBytes]);
  expect(seen).toEqual([8]);
  expect(losses.at(-1)!).toBeLessThan(losses[0]!);

  const onScenes = (): void => {
    throw new Error('no more');
  };
  await expect(
    pretrainGenerator(device, 'scenes-flow', join(folder, 'failed'), { ...options, onScenes }),
  ).rejects.toThrow('no more');
  const left = device.memory();
  expect([left.liveBytes, left.plannedBytes]).toEqual([before.liveBytes, before.plannedBytes]);

  const checkpoint = { path: join(folder, 'checkpoint.safetensors'), every: 100 };
  const stop = new AbortController();
  const onStep = (step: number): void => {
    if (step === 2) stop.abort();
  };
  const parts = join(folder, 'parts');
  const first = { ...options, onStep, signal: stop.signal, checkpoint: { ...checkpoint, resume: false } };
  expect(await pretrainGenerator(device, 'scenes-flow', parts, first)).toBe(2);
  const second = { ...options, checkpoint: { ...checkpoint, resume: true } };
  expect(await pretrainGenerator(device, 'scenes-flow', parts, second)).toBe(6);
  expect((await weightsOf('parts')).equals(await weightsOf('whole'))).toBe(true);

  const pipeline = await loadPipeline(device, parts);
  expect(pipeline.kind).toBe('sd3');
  const [context, pooled] = pipeline.encode(['a red circle on blue']);
  expect(context!.shape).toEqual([1, 7, 128]); // no tokens in the place of T5's
  for (const thing of [context!, pooled!, pipeline]) thing.dispose();
});
