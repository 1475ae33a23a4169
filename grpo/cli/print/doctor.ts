/** What a machine offers, as lines for a person. */
import { formatBytes } from '../../../engine/errors.js';
import type { DoctorReport } from '../../finetune/doctor.js';

/** The report as lines for a person. */
export function formatReport({ winnow, node, platform, cpu, cores, memoryBytes, device }: DoctorReport): string {
  const rows: [string, string][] = [
    ['winnow', winnow],
    ['node', node],
    ['platform', platform],
    ['cpu', `${cpu}, ${cores} cores, ${formatBytes(memoryBytes)} of memory`],
  ];
  if (device) {
    const { adapter, features, subgroupSize, limits, memoryBudget, kernels, checks, peaks } = device;
    const flag = (name: string): string => (features.includes(name) ? 'yes' : 'no');
    const matrix = flag('chromium-experimental-subgroup-matrix');
    rows.push(
      [
        'adapter',
        `${adapter.device} (${adapter.vendor}, ${adapter.architecture}), ${adapter.software ? 'software' : 'GPU'}`,
      ],
      ['driver', adapter.description],
      [
        'features',
        `f16 ${flag('shader-f16')}   subgroups ${subgroupSize ? `yes, ${subgroupSize} lanes` : 'no'}   subgroup matrix ${matrix}   timestamps ${flag('timestamp-query')}`,
      ],
      ['memory', memoryBudget === null ? 'no budget' : `budget ${formatBytes(memoryBudget)}`],
    );
    Object.entries(limits).forEach(([name, value], i) => {
      rows.push([
        i === 0 ? 'limits' : '',
        `${name} ${/BindingSize|BufferSize|StorageSize/.test(name) ? formatBytes(value) : value}`,
      ]);
    });
    rows.push([
      'kernels',
      kernels ? Object.values(kernels).join(' ') : 'by their tables; `winnow tune` measures them on this adapter',
    ]);
    checks.forEach(({ kernel, maxError, ok }, i) => {
      rows.push([
        i === 0 ? 'check' : '',
        `${kernel} against the CPU: max error ${maxError.toExponential(1)}, ${ok ? 'ok' : 'WRONG'}`,
      ]);
    });
    rows.push([
      'peak',
      `${peaks.fma.toPrecision(3)} GFLOP/s multiply-add in f32, ${peaks.copy.toPrecision(3)} GB/s copy`,
    ]);
  }
  return rows.map(([label, text]) => `${label.padEnd(9)} ${text}`.trimEnd()).join('\n');
}
