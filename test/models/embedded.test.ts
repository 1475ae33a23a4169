import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../kernels/kernel.js';
import { checkScene } from '../../models/pretrain/scene_checker.js';
import { makeScene } from '../../models/pretrain/scenes.js';
import { loadVae, reconstructions } from '../../models/pretrain/vae.js';
import { testDevice } from '../check.js';

const device = await testDevice();

test('the autoencoder that ships keeps held-out scenes: above 28 dB, and the checker still reads them', async () => {
  const { vae, parameters } = await loadVae(device, join(packageRoot(), 'models', 'embedded', 'scenes-vae'));
  const { psnr, pictures, latentStd } = await reconstructions(device, vae, 32, 9);
  expect(psnr).toBeGreaterThan(28);
  const scaled = latentStd * 0.45488; // config.json's scaling_factor
  expect(scaled).toBeGreaterThan(0.9);
  expect(scaled).toBeLessThan(1.1);
  const right = Array.from({ length: 32 }, (_, i) =>
    checkScene(pictures[2 * i + 1]!, makeScene(9, i, 'heldOut').words),
  );
  expect(right.filter(({ correct }) => correct).length).toBeGreaterThanOrEqual(30);
  parameters.dispose();
});
