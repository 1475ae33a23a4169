/** Reads the fixtures that the scripts in test/reference make from PyTorch. */
import { fileURLToPath } from 'node:url';
import type { Device } from '../engine/device/device.js';
import { type FileDType, openSafetensors } from '../engine/safetensors.js';
import type { TypedData } from '../engine/tensor/dtype.js';
import { type Tensor, tensor } from '../engine/tensor/tensor.js';
import type { DType } from '../kernels/kernel.js';

export interface FixtureTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: TypedData;
}

/** A fixture file in memory. */
export interface Fixture {
  readonly tensors: ReadonlyMap<string, FixtureTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** An op's case: arguments in the order of its signature, expected outputs, and gradients of sum(output * seed). */
export interface OpCase {
  readonly name: string;
  readonly op: string;
  /** Plain JSON, where {"tensor": key} stands for a tensor. */
  readonly args: readonly unknown[];
  readonly outputs: readonly string[];
  readonly seeds: readonly string[];
  /** From the key of an input to the key of its expected gradient. */
  readonly gradients: Readonly<Record<string, string>>;
  /** Length of the longest sum behind a value. */
  readonly terms: number;
}

const dtypes: Partial<Record<FileDType, DType>> = { F32: 'f32', F16: 'f16', I32: 'i32', U32: 'u32' };

/** Reads `test/fixtures/<name>.safetensors`. */
export async function readFixture(name: string): Promise<Fixture> {
  const file = await openSafetensors(fileURLToPath(new URL(`./fixtures/${name}.safetensors`, import.meta.url)));
  try {
    const tensors = new Map<string, FixtureTensor>();
    for (const { name: key, dtype: stored, shape } of file.entries.values()) {
      const dtype = dtypes[stored];
      if (!dtype) throw new Error(`${file.path}: ${key}: ${stored} has no GPU type`);
      tensors.set(key, {
        dtype,
        shape,
        values: (await file.read(key)) as TypedData,
      });
    }
    return { tensors, metadata: file.metadata };
  } finally {
    await file.close();
  }
}

/** The tensor stored under `key`. */
export function fixtureTensor(fixture: Fixture, key: string): FixtureTensor {
  const found = fixture.tensors.get(key);
  if (!found) throw new Error(`the fixture has no tensor ${key}`);
  return found;
}

/** Uploads the tensor stored under `key`. */
export function upload(device: Device, fixture: Fixture, key: string): Tensor {
  const { values, shape, dtype } = fixtureTensor(fixture, key);
  return tensor(device, values, shape, dtype);
}

/** The arguments of a case with every {"tensor": key} replaced by what `make` gives for the key, once a key. */
export function fillArguments(
  args: readonly unknown[],
  make: (key: string) => Tensor,
): { filled: unknown[]; inputs: Map<string, Tensor> } {
  const inputs = new Map<string, Tensor>();
  const fill = (arg: unknown): unknown => {
    if (Array.isArray(arg)) return arg.map(fill);
    if (typeof arg !== 'object' || arg === null) return arg;
    if ('tensor' in arg && typeof arg.tensor === 'string') {
      const value = inputs.get(arg.tensor) ?? make(arg.tensor);
      inputs.set(arg.tensor, value);
      return value;
    }
    return Object.fromEntries(Object.entries(arg).map(([key, value]) => [key, fill(value)]));
  };
  return { filled: args.map(fill), inputs };
}
