import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scheduledRate } from '../../../models/scenes/training.js';
import { loadVae, pretrainVae, reconstructions, saveVae } from '../../../models/scenes/vae.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

test('the learning rate rises, then falls like a cosine to nothing', () => {
  const rates = Array.from({ length: 100 }, (_, i) => scheduledRate(i, 100, 1));
  expect(rates[0]).toBe(0.5);
  expect(rates[2]).toBe(1);
  expect(rates[51]).toBeCloseTo(0.5, 5);
  expect(rates[99]).toBeLessThan(0.001);
});

test('a training that fails leaves nothing on the device', async () => {
  const before = device.memory();
  const onStep = (): void => {
    throw new Error('no more');
  };
  await expect(pretrainVae(device, { steps: 8, seed: 3, batch: 2, onStep })).rejects.toThrow('no more');
  const { liveBytes, plannedBytes } = device.memory();
  expect({ liveBytes, plannedBytes }).toEqual({ liveBytes: before.liveBytes, plannedBytes: before.plannedBytes });
});

test('the same seed trains the same autoencoder, better than none, and its folder holds it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-vae-'));
  const train = async (): Promise<{ losses: number[]; trained: Awaited<ReturnType<typeof pretrainVae>> }> => {
    const losses: number[] = [];
    const trained = await pretrainVae(device, {
      steps: 8,
      seed: 3,
      batch: 2,
      onStep: (_, loss) => void losses.push(loss),
    });
    return { losses, trained };
  };
  const first = await train();
  const second = await train();
  expect(first.losses).toHaveLength(8);
  expect(second.losses).toEqual(first.losses);
  expect(first.losses.at(-1)).toBeLessThan(0.8 * first.losses[0]!);
  second.trained.parameters.dispose();

  const { vae, parameters } = first.trained;
  await saveVae(device, folder, vae, parameters);
  const before = await reconstructions(device, vae, 2);
  parameters.dispose();
  const loaded = await loadVae(device, folder);
  const after = await reconstructions(device, loaded.vae, 2);
  loaded.parameters.dispose();
  expect(after.psnr).toBeCloseTo(before.psnr, 1); // f16 weights
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as { scaling_factor: number };
  expect(config.scaling_factor).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
});
