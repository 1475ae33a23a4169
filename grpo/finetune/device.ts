/** Opening the device of a command, with the kernels that are the fastest on it. */
import { cacheFolder, kernelsNameOf } from '../../engine/environment.js';
import { writing } from '../../engine/files.js';
import {
  CheckError,
  choicesOf,
  Device,
  type KernelChoices,
  type KernelTrial,
  measureKernels,
  parseKernels,
  storedKernels,
  storeKernels,
} from '../../engine/index.js';
import { preparing, UsageError } from './errors.js';

export interface DeviceChoice {
  /** Part of the adapter's name. */
  readonly device?: string | undefined;
  /** The kernels of a run that is gone on with: others would give other bits. */
  readonly kernels?: KernelChoices | undefined;
}

/**
 * Opens a device with the kernels that `WINNOW_KERNELS` names, else those of the run, else those measured on this adapter
 * before. Where nothing was, a GPU is measured now, which takes a second; on software adapters, which compile slowly, the
 * tables know what is fast. Throws a UsageError for kernels that are unknown.
 */
export async function openDevice({ device: name, kernels }: DeviceChoice = {}): Promise<Device> {
  const device = await Device.create({ name, provideDriver: true, quiet: true });
  try {
    const named = kernelsNameOf();
    const stored = kernels ?? storedKernels(device.info);
    if (named) device.useKernels(named === 'default' ? {} : choicesNamed(named, device));
    else if (stored) device.useKernels(stored);
    else if (!device.info.software && device.features.timestamps) await measureAtFirst(device);
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

function choicesNamed(text: string, device: Device): KernelChoices {
  try {
    return parseKernels(text, device.features);
  } catch (error) {
    if (error instanceof CheckError) throw new UsageError(`WINNOW_KERNELS: ${error.message}`, { cause: error });
    throw error;
  }
}

async function measureAtFirst(device: Device): Promise<void> {
  const trials = await measureKernels(device);
  try {
    storeKernels(device.info, choicesOf(trials));
  } catch {
    // Where nothing can be kept, it is measured again next time.
  }
}

/** Which kernels were measured to be the fastest, and where that is kept. */
export interface Tuning {
  /** The adapter with its driver. */
  readonly adapter: string;
  readonly trials: readonly KernelTrial[];
  readonly path: string;
}

/** Measures the kernels on an adapter anew and keeps the choice, which openDevice() takes from now on. */
export async function tune({ device: name }: Pick<DeviceChoice, 'device'> = {}): Promise<Tuning> {
  const device = await Device.create({ name, provideDriver: true, quiet: true });
  try {
    const trials = await preparing(() => measureKernels(device));
    const path = await writing(cacheFolder(), async () => storeKernels(device.info, choicesOf(trials)));
    return { adapter: device.info.description, trials, path };
  } finally {
    device.close();
  }
}
