/** Tensors of given values, written by a kernel, so that a captured step makes them anew in each run. */
import { planFill } from '../../kernels/fill.js';
import type { DType } from '../../kernels/kernel.js';
import type { Device } from '../device/device.js';
import { CheckError, check, withPrefix } from '../errors.js';
import { dispatch } from '../tensor/op.js';
import type { Shape } from '../tensor/shape.js';
import { empty, type Tensor } from '../tensor/tensor.js';

/** A new tensor of start + step i. Errors carry the name of the function that was called. */
function filled(name: string, device: Device, shape: Shape, dtype: DType, start: number, step = 0): Tensor {
  try {
    const integer = dtype === 'u32' || dtype === 'i32';
    for (const value of [start, step]) {
      check(Number.isFinite(value), `expected a finite value, found ${value}`);
      check(!integer || Number.isInteger(value), `expected an integer for ${dtype}, found ${value}`);
    }
    check(dtype !== 'f16' || device.features.f16, 'this adapter has no shader-f16');
    // Collected, so that nothing is left of a tensor that the device can't bind.
    const { result, made } = device.collect(() => {
      const y = empty(device, shape, dtype);
      dispatch(planFill(y.size, dtype, start, step), { y });
      return y;
    });
    device.keep(made);
    return result;
  } catch (error) {
    if (error instanceof CheckError) throw withPrefix(name, error);
    throw error;
  }
}

/** A tensor whose elements are all `value`, which must be finite. */
export function full(device: Device, shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  return filled('full', device, shape, dtype, value);
}

/** A tensor whose elements are all 0. */
export function zeros(device: Device, shape: Shape, dtype: DType = 'f32'): Tensor {
  return filled('zeros', device, shape, dtype, 0);
}

/** A tensor whose elements are all 1. */
export function ones(device: Device, shape: Shape, dtype: DType = 'f32'): Tensor {
  return filled('ones', device, shape, dtype, 1);
}

/** Zeros of x's shape and dtype, on its device. */
export function zerosLike(x: Tensor): Tensor {
  return filled('zerosLike', x.device, x.shape, x.dtype, 0);
}

/** Options of arange. */
export interface ArangeOptions {
  readonly start?: number;
  readonly step?: number;
  readonly dtype?: DType;
}

/** [start, start + step, ...], `count` numbers; by default 0, 1, 2, ... in f32. */
export function arange(
  device: Device,
  count: number,
  { start = 0, step = 1, dtype = 'f32' }: ArangeOptions = {},
): Tensor {
  return filled('arange', device, [count], dtype, start, step);
}
