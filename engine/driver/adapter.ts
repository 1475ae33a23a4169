/** Finding a WebGPU adapter: Dawn's entry point, the choice by name or kind, and what the adapter can do. */
import { create, globals } from 'webgpu';
import type { Features } from '../../kernels/kernel.js';
import { deviceNameOf } from '../environment.js';
import { harmlessLines, withoutLines } from './quiet_start.js';
import { driverHint, lacksVulkanLoader, provideVulkan, tuneSoftwareDrivers } from './vulkan.js';

/** Dawn toggles: without the second, NVIDIA on Linux hides f16; the last gives exact timestamps. Unknown ones are ignored. */
const toggles = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia',
  'disable-dawn-features=timestamp_quantization',
];

/** What an adapter says of itself. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** The adapter is a CPU. */
  readonly software: boolean;
}

/** An adapter with the Dawn instance it belongs to. */
export interface FoundAdapter {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly info: AdapterInfo;
}

/** Which adapter to open, and what may be done where there is none. */
export interface AdapterOptions {
  /** Part of the adapter's name; default `WINNOW_DEVICE`, else the first real GPU, else a software adapter. */
  readonly name?: string | undefined;
  /**
   * Where there is no driver, provide a software one, as `provideVulkan` says: it installs packages, or fetches one into the
   * user's cache folder. For programs that own their machine, such as commands and tests. Default false.
   */
  readonly provideDriver?: boolean;
  /** Receives the lines that say which driver is provided. Default: they go to stderr. */
  readonly log?: ((line: string) => void) | undefined;
  /**
   * Leave out Dawn's warnings at the start that say nothing. For programs that own their process: its stderr is another one
   * for some milliseconds. Default false.
   */
  readonly quiet?: boolean;
}

/** No adapter: there is no Vulkan, Metal or D3D12, or no adapter of the name asked for. The message says what to do. */
export class NoAdapterError extends Error {
  override name = 'NoAdapterError';
}

/**
 * Opens Dawn and asks for an adapter; where there is none and `provideDriver` is set, provides a software Vulkan driver and
 * asks again. Rejects with NoAdapterError where it stays so.
 */
export async function findAdapter({
  name = deviceNameOf(),
  provideDriver = false,
  log = (line) => process.stderr.write(`${line}\n`),
  quiet = false,
}: AdapterOptions = {}): Promise<FoundAdapter> {
  Object.assign(globalThis, globals);
  tuneSoftwareDrivers();
  // Without a loader Dawn finds no more than a warning to print.
  let present = lacksVulkanLoader() ? undefined : await tryAdapter(quiet);
  if (!present && !provideDriver) throw new NoAdapterError(`no WebGPU adapter. ${driverHint()}`);
  if (!present) {
    const { ok, message } = await provideVulkan(log);
    present = ok ? await tryAdapter(quiet) : undefined;
    if (!present) throw new NoAdapterError(`no WebGPU adapter. ${ok ? `${message}, but it gives none` : message}`);
  }
  if (!name) return present;
  return (await tryAdapter(quiet, name))!;
}

/** The adapter named like `name`, or the best one; undefined where there is none. Throws on a name that fits none. */
async function tryAdapter(quiet: boolean, name?: string): Promise<FoundAdapter | undefined> {
  const gpu = create(name ? [`adapter=${name}`, ...toggles] : toggles);
  const request = (): Promise<GPUAdapter | null> => gpu.requestAdapter({ powerPreference: 'high-performance' });
  const adapter = await (quiet ? withoutLines(harmlessLines, request) : request()).catch((error: unknown) => {
    if (!name) throw error;
    throw new NoAdapterError(`no WebGPU adapter named like "${name}": ${(error as Error).message}`);
  });
  if (!adapter) return undefined;
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const info = Object.freeze({ vendor, architecture, device, description, software: isFallbackAdapter });
  return { gpu, adapter, info };
}

const wantedFeatures = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix'];

/** Asks for the device with all of the adapter's limits and every feature the kernels can use. */
export async function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const limit in adapter.limits) {
    const value = adapter.limits[limit as keyof GPUSupportedLimits];
    if (typeof value === 'number') requiredLimits[limit] = Math.min(value, Number.MAX_SAFE_INTEGER);
  }
  const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  return adapter.requestDevice({ label: 'winnow', requiredLimits, requiredFeatures });
}

/** What Dawn adds to the adapter's info. */
interface DawnAdapterInfo {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig>;
}

interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** The one kind of matrix that lib/matrix_subgroup.wgsl is written for. */
function isMatrixOfKernels({ componentType, resultComponentType, M, N, K }: SubgroupMatrixConfig): boolean {
  return componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16;
}

/** The features a kernel's plan may look at. Subgroups count only with one fixed size: a kernel's layout depends on it. */
export function readFeatures(device: GPUDevice, adapterInfo: GPUAdapterInfo, software: boolean): Features {
  const { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs } = adapterInfo as DawnAdapterInfo;
  const has = (name: string): boolean => device.features.has(name as GPUFeatureName);
  const subgroups = has('subgroups') && subgroupMinSize !== undefined && subgroupMinSize === subgroupMaxSize;
  const matrices = has('chromium-experimental-subgroup-matrix') ? [...(subgroupMatrixConfigs ?? [])] : [];
  return Object.freeze({
    f16: has('shader-f16'),
    subgroups,
    subgroupSize: subgroups ? subgroupMinSize : 0,
    subgroupMatrix: matrices.some(isMatrixOfKernels) ? 'native' : null,
    timestamps: has('timestamp-query'),
    software,
  });
}
