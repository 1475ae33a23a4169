/** What this machine offers, whether a kernel computes what the CPU does, and how fast it is at best. */
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { Device } from '../../engine/device/device.js';
import { type AdapterInfo, NoAdapterError } from '../../engine/driver/adapter.js';
import { type KernelChoices, storedKernels } from '../../engine/index.js';
import { cast } from '../../engine/ops/elementwise.js';
import { matmul } from '../../engine/ops/products/matmul.js';
import { scope } from '../../engine/tensor/scope.js';
import { tensor } from '../../engine/tensor/tensor.js';
import { measurePeaks, type Peaks } from '../../engine/tuning/peak.js';
import { version } from '../../engine/version.js';

/** A kernel's result beside the CPU's. */
export interface KernelCheck {
  readonly kernel: string;
  readonly maxError: number;
  /** The largest error that rounding explains. */
  readonly tolerance: number;
  readonly ok: boolean;
}

export interface DeviceReport {
  readonly adapter: AdapterInfo;
  /** All features of the device, by their WebGPU names. */
  readonly features: readonly string[];
  /** Lanes of a subgroup; 0 where the device has none of one fixed size. */
  readonly subgroupSize: number;
  readonly limits: Readonly<Record<string, number>>;
  /** Bytes that tensors may take together; null without a limit. */
  readonly memoryBudget: number | null;
  /** Kernels measured by `winnow tune`; null where nothing was. */
  readonly kernels: KernelChoices | null;
  readonly checks: readonly KernelCheck[];
  /** f32 multiply-adds in GFLOP/s and a shader's copy in GB/s. */
  readonly peaks: Peaks;
}

export interface DoctorReport {
  readonly winnow: string;
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Absent where there is no adapter. */
  readonly device?: DeviceReport;
  readonly warnings: readonly string[];
}

/** The limits that decide what runs: sizes of bindings and workgroups. */
const limitsThatMatter = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'minStorageBufferOffsetAlignment',
] as const;

/** Looks at the machine and its adapter. Takes some seconds. An error is NoAdapterError where there is no adapter. */
export async function diagnose(): Promise<{ report: DoctorReport; error?: NoAdapterError }> {
  const host = {
    winnow: version,
    node: process.versions.node,
    platform: `${platform()} ${arch()} ${release()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
  };
  let device: Device;
  try {
    device = await Device.create({ provideDriver: true, quiet: true });
  } catch (error) {
    if (error instanceof NoAdapterError) return { report: { ...host, warnings: [] }, error };
    throw error;
  }
  try {
    const report = await examine(device);
    return { report: { ...host, device: report, warnings: warningsOf(report) } };
  } finally {
    device.close();
  }
}

async function examine(device: Device): Promise<DeviceReport> {
  const { budgetBytes } = device.memory();
  return {
    adapter: device.info,
    features: [...device.gpu.features].sort(),
    subgroupSize: device.features.subgroupSize,
    limits: Object.fromEntries(limitsThatMatter.map((name) => [name, device.limits[name]])),
    memoryBudget: Number.isFinite(budgetBytes) ? Math.floor(budgetBytes) : null,
    kernels: storedKernels(device.info) ?? null,
    checks: [await checkMatmul(device), ...(device.features.f16 ? [await checkF16(device)] : [])],
    peaks: await measurePeaks(device),
  };
}

/** Numbers in [-1, 1] that are the same on every machine. */
const sequence = (size: number, step: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => ((i * step) % 997) / 498 - 1);

/** A product with odd sizes against the plain loop in double precision. */
async function checkMatmul(device: Device): Promise<KernelCheck> {
  const [m, k, n] = [65, 130, 67];
  const a = sequence(m * k, 37);
  const b = sequence(k * n, 91);
  const product = scope(device, () => matmul(tensor(device, a, [m, k]), tensor(device, b, [k, n])));
  const found = await product.data();
  product.dispose();
  let maxError = 0;
  let largest = 0; // sum of absolute products, to which rounding is relative
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = 0;
      let absolute = 0;
      for (let i = 0; i < k; i++) {
        const term = a[row * k + i]! * b[i * n + column]!;
        sum += term;
        absolute += Math.abs(term);
      }
      largest = Math.max(largest, absolute);
      maxError = worse(maxError, Math.abs(found[row * n + column]! - sum));
    }
  }
  const tolerance = k * 2 ** -24 * largest; // k roundings, in any order of the sum
  return { kernel: `matmul [${m}, ${k}] x [${k}, ${n}]`, maxError, tolerance, ok: maxError <= tolerance };
}

/** Values between those of f16, stored as f16 and read back. */
async function checkF16(device: Device): Promise<KernelCheck> {
  const values = Array.from({ length: 1000 }, (_, i) => 1 + i / 1000);
  const stored = scope(device, () => cast(cast(tensor(device, values, [values.length]), 'f16'), 'f32'));
  const found = await stored.data();
  stored.dispose();
  const maxError = values.reduce((most, value, i) => worse(most, Math.abs(found[i]! - value)), 0);
  const tolerance = 2 ** -10; // the distance of two f16 from 1 to 2: adapters may round either way
  return { kernel: 'f16 storage [1000]', maxError, tolerance, ok: maxError <= tolerance };
}

/** The larger error; an error that is not a number is the worst. */
const worse = (a: number, b: number): number => (Number.isNaN(b) ? Number.POSITIVE_INFINITY : Math.max(a, b));

function warningsOf({ adapter, checks, features }: DeviceReport): string[] {
  const warnings: string[] = [];
  if (adapter.software)
    warnings.push('this adapter is a CPU: enough for tests and tiny models, not for Stable Diffusion');
  if (!features.includes('shader-f16')) warnings.push('no shader-f16: tensors can be stored as f32 only');
  for (const { kernel, maxError, tolerance, ok } of checks) {
    if (!ok)
      warnings.push(
        `${kernel} is wrong on this adapter: error ${maxError.toExponential(1)}, at most ${tolerance.toExponential(1)} expected`,
      );
  }
  return warnings;
}
