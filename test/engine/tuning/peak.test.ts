import { afterAll, beforeAll, expect, test } from 'vitest';
import { Device } from '../../../engine/device/device.js';
import { sourceOf } from '../../../engine/device/kernel_source.js';
import { measurePeaks } from '../../../engine/tuning/peak.js';
import { peakFmaSize, planPeakFma } from '../../../kernels/peak.js';

let device: Device;
beforeAll(async () => {
  device = await Device.create({ provideDriver: true });
});
afterAll(() => device?.close());

test('the counted operations are those in the text of the kernel', () => {
  const inText = sourceOf({ kernel: 'peak_fma', variant: {} }).code.match(/= fma\(/g)!.length;
  expect(planPeakFma(3).flops).toBe(3 * 2 * inText * peakFmaSize);
});

test('the peaks are positive, and measuring them leaves no memory behind', async () => {
  const before = device.memory();
  const { fma, copy } = await measurePeaks(device);
  expect(fma).toBeGreaterThan(0);
  expect(copy).toBeGreaterThan(0);
  expect(device.memory().liveBytes).toBe(before.liveBytes);
});
