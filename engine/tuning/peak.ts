/** The measured peaks of a device, against which kernels are judged. */
import type { Plan } from '../../kernels/kernel.js';
import { peakFmaSize, planPeakCopy, planPeakFma } from '../../kernels/peak.js';
import { capture } from '../device/capture.js';
import type { Device } from '../device/device.js';
import type { BufferRange } from '../device/encoder.js';
import type { Storage } from '../device/memory.js';

export interface Peaks {
  /** f32 multiply-adds from registers, GFLOP/s (two operations each). */
  readonly fma: number;
  /** A copy by a shader, GB/s, bytes read and written together. */
  readonly copy: number;
}

/** Measures both peaks: by timestamps where the adapter has them, else by the clock. Takes about half a second. */
export async function measurePeaks(device: Device): Promise<Peaks> {
  const { result: storages } = device.collect(() => {
    const most = Math.min(device.limits.maxStorageBufferBindingSize, device.features.software ? 2 ** 26 : 2 ** 28);
    const copyBytes = Math.floor(most / 16) * 16; // larger than the caches
    return {
      sums: device.allocate(4 * peakFmaSize, 'peak_fma'),
      x: device.upload(new Uint8Array(copyBytes), 'peak_copy'),
      y: device.allocate(copyBytes, 'peak_copy'),
    };
  });
  try {
    const seconds = await bestTime(device, planPeakFma(4), { result: storages.sums });
    const many = planPeakFma(Math.max(4, Math.round((4 * 0.04) / seconds)));
    const copy = planPeakCopy(storages.x.bytes / 16);
    return {
      fma: many.flops / (await bestTime(device, many, { result: storages.sums })) / 1e9,
      copy: copy.bytes / (await bestTime(device, copy, { x: storages.x, y: storages.y })) / 1e9,
    };
  } finally {
    for (const storage of Object.values(storages)) device.release(storage);
  }
}

/** Seconds of the fastest of four runs of a dispatch, after one that compiles it. */
async function bestTime(device: Device, plan: Plan, storages: Readonly<Record<string, Storage>>): Promise<number> {
  const buffers: Record<string, BufferRange> = {};
  for (const [name, storage] of Object.entries(storages)) buffers[name] = { storage, offset: 0, bytes: storage.bytes };
  const step = await capture(device, () => device.dispatch(plan, buffers));
  const time = async (): Promise<number> => {
    if (device.features.timestamps) return (await step.profile())[0]! / 1e9;
    const start = performance.now();
    step.run();
    await device.sync();
    return (performance.now() - start) / 1000;
  };
  try {
    await time();
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 4; run++) best = Math.min(best, await time());
    return best;
  } finally {
    step.dispose();
  }
}
