/** GPU time of each dispatch of a step, by timestamps, and the printed dispatch list. */
import { kernelName } from '../../kernels/kernel.js';
import { check, formatBytes } from '../errors.js';
import type { Device } from './device.js';
import type { Dispatch, Encoded } from './encoder.js';
import type { Storage } from './memory.js';

/** GPU nanoseconds of each dispatch, in order. */
export type DispatchTimes = readonly number[];

const queriesAtMost = 4096; // WebGPU's limit of a query set

/** Runs each dispatch in a pass of its own between two timestamps. Throws without the feature timestamp-query. */
export async function timeDispatches(device: Device, encoded: readonly Encoded[]): Promise<DispatchTimes> {
  check(device.features.timestamps, 'profile: this adapter has no timestamp-query');
  const times: number[] = [];
  const perBatch = queriesAtMost / 2;
  for (let start = 0; start < encoded.length; start += perBatch) {
    times.push(...(await timeBatch(device, encoded.slice(start, start + perBatch))));
  }
  return times;
}

async function timeBatch(device: Device, batch: readonly Encoded[]): Promise<number[]> {
  const { gpu } = device;
  const count = 2 * batch.length;
  const querySet = gpu.createQuerySet({ label: 'profile', type: 'timestamp', count });
  const resolved = gpu.createBuffer({
    label: 'profile',
    size: 8 * count,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const staging = gpu.createBuffer({
    label: 'profile',
    size: 8 * count,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    const encoder = gpu.createCommandEncoder({ label: 'profile' });
    batch.forEach(({ pipeline, group, grid }, i) => {
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass({ label: 'profile', timestampWrites });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
      pass.end();
    });
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 8 * count);
    gpu.queue.submit([encoder.finish()]);
    await device.wait(staging.mapAsync(GPUMapMode.READ));
    device.throwFailure();
    const stamps = new BigUint64Array(staging.getMappedRange());
    return batch.map((_, i) => Number(stamps[2 * i + 1]! - stamps[2 * i]!));
  } finally {
    querySet.destroy();
    resolved.destroy();
    staging.destroy();
  }
}

/** The dispatch list as text, one line each, then slots, and with times the sum for each kernel. */
export function formatDispatches(
  dispatches: readonly Dispatch[],
  slotOf: ReadonlyMap<Storage, number>,
  slotBytes: readonly number[],
  times?: DispatchTimes,
): string {
  const lines = dispatches.map(({ plan, label, buffers }, i) => {
    const ranges = Object.entries(buffers).flatMap(([name, range]) => (range ? [{ name, range }] : []));
    const bytes = ranges.reduce((sum, { range }) => sum + range.bytes, 0);
    const slots = ranges.map(({ name, range }) => `${name}:${slotOf.get(range.storage) ?? 'outside'}`).join(' ');
    const time = times ? `${(times[i]! / 1000).toFixed(1).padStart(10)} us` : '';
    return `${String(i).padStart(5)}${time}  ${kernelName(plan.kernel).padEnd(24)} [${plan.grid.join(', ')}]  ${formatBytes(bytes)}  ${slots}  (${label})`;
  });
  const total = slotBytes.reduce((sum, bytes) => sum + bytes, 0);
  lines.push(`${dispatches.length} dispatches, ${slotBytes.length} slots, ${formatBytes(total)}`);
  if (times) {
    const byKernel = new Map<string, number>();
    dispatches.forEach(({ plan }, i) => {
      byKernel.set(plan.kernel, (byKernel.get(plan.kernel) ?? 0) + times[i]!);
    });
    const all = times.reduce((sum, time) => sum + time, 0);
    for (const [kernel, time] of [...byKernel].sort(([, a], [, b]) => b - a)) {
      lines.push(
        `${(time / 1e6).toFixed(3).padStart(10)} ms  ${((100 * time) / all).toFixed(1).padStart(5)} %  ${kernelName(kernel)}`,
      );
    }
  }
  return lines.join('\n');
}
