/** Tensors that lie in one buffer, one after the other, so that a single dispatch reaches all of them. */
import type { Device } from '../device/device.js';
import { Storage } from '../device/memory.js';
import { check } from '../errors.js';
import { assign } from '../ops/elementwise.js';
import { owning } from '../owning.js';
import { type Shape, sizeOf } from './shape.js';
import { Tensor, tensor } from './tensor.js';

/** Bytes from the start of one part to a place where the next may start: any device can bind a part from there. */
const alignment = 256;

const placeAfter = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/**
 * New f32 tensors of zeros in one buffer. They are tensors like others, and the buffer is freed with the last of them; but
 * no dispatch can write one while it reads another. Null where the device can't bind so large a buffer.
 */
export function zerosTogether(device: Device, shapes: readonly Shape[]): Tensor[] | null {
  check(shapes.length > 0, 'zerosTogether: expected at least one shape');
  check(!device.recorder, 'zerosTogether: make the tensors outside the captured step');
  const sizes = shapes.map((shape) => 4 * sizeOf(shape));
  const bytes = sizes.reduce((sum, size) => sum + placeAfter(size), 0);
  if (bytes > device.limits.maxStorageBufferBindingSize) return null;
  // The whole stays out of the scope at hand: what lives on there are the parts.
  const { result: whole } = device.collect(() => tensor(device, new Float32Array(bytes / 4)).storage);
  let start = 0;
  const parts = shapes.map((shape, i) => {
    const part = Storage.partOf(whole, start, sizes[i]!, `part ${i} of ${shapes.length}`);
    start += placeAfter(sizes[i]!);
    return new Tensor(device, part, shape, 'f32');
  });
  device.keep(parts.map(({ storage }) => storage));
  return parts;
}

/**
 * Moves f32 tensors, with every view of them, into one buffer, where AdamW and EMA reach all of them at once. Steps that
 * were captured with them before refuse to run. Leaves them where they are when the device can't bind so large a buffer.
 */
export function moveTogether(tensors: readonly Tensor[]): void {
  const [first] = tensors;
  check(first !== undefined, 'moveTogether: expected at least one tensor');
  for (const each of tensors) {
    check(each.dtype === 'f32' && !each.node, () => `moveTogether: expected leaves of f32, found ${each}`);
    check(!each.storage.whole && each.offset === 0, () => `moveTogether: ${each} lies together with others already`);
  }
  const shapes = tensors.map(({ shape }) => shape);
  owning((own) => {
    // The parts stay out of the scope at hand: they become the storages of the tensors.
    const { result: parts } = first.device.collect(() => zerosTogether(first.device, shapes)?.map(own) ?? []);
    for (const [i, part] of parts.entries()) assign(part, tensors[i]!);
    for (const [i, part] of parts.entries()) first.device.move(tensors[i]!.storage, part.storage);
  });
}

/** The buffer of parts that are all of those that were made together, in order, as one tensor [elements]; otherwise null. */
export function wholeOf(parts: readonly Tensor[]): Tensor | null {
  const [first] = parts;
  const whole = first?.storage.whole;
  if (!whole || whole.parts.length !== parts.length) return null;
  const same = parts.every(({ storage }, i) => storage === whole.parts[i]);
  return same ? new Tensor(first.device, whole, [whole.bytes / 4], 'f32') : null;
}

/** The values of f32 tensors, one after the other without gaps; read by one copy where they lie together. */
export async function readTogether(tensors: readonly Tensor[]): Promise<Float32Array> {
  const values = new Float32Array(tensors.reduce((sum, { size }) => sum + size, 0));
  const whole = wholeOf(tensors);
  const all = whole ? ((await whole.data()) as Float32Array) : undefined;
  let start = 0;
  for (const tensor of tensors) {
    const from = tensor.storage.start / 4;
    values.set(all ? all.subarray(from, from + tensor.size) : ((await tensor.data()) as Float32Array), start);
    start += tensor.size;
  }
  return values;
}

/** Overwrites f32 tensors by values that lie one after the other, as readTogether() gives them. */
export function writeTogether(tensors: readonly Tensor[], values: Float32Array): void {
  const size = tensors.reduce((sum, each) => sum + each.size, 0);
  check(values.length === size, `writeTogether: expected ${size} values, found ${values.length}`);
  const whole = wholeOf(tensors);
  const padded = whole && new Float32Array(whole.size);
  let start = 0;
  for (const tensor of tensors) {
    const own = values.subarray(start, start + tensor.size);
    if (padded) padded.set(own, tensor.storage.start / 4);
    else tensor.write(own);
    start += tensor.size;
  }
  if (padded) whole.write(padded);
}
