/** Tensors: a shape and an element type over a storage on the device, and where they came from on the tape. */
import type { DType } from '../../kernels/kernel.js';
import type { Device } from '../device/device.js';
import type { BufferRange } from '../device/encoder.js';
import { Storage } from '../device/memory.js';
import { check } from '../errors.js';
import { arrayOf, bytesOf, type TypedData, toBytes } from './dtype.js';
import { checkShape, formatShape, type Shape, sizeOf } from './shape.js';

/** Computes the gradient of one input, when it is wanted. */
export type Thunk = () => Tensor;

/** How an output was made, kept as long as the output itself. */
export interface Node {
  readonly id: number;
  readonly name: string;
  /** The op's arguments; only tensors among them can receive gradients. */
  readonly inputs: readonly unknown[];
  readonly outputs: readonly Tensor[];
  /** Maps the outputs' gradients (undefined where none arrived) to one thunk for each input. Undefined where the op has no gradient. */
  readonly pullback: ((dys: readonly (Tensor | undefined)[]) => readonly (Thunk | undefined)[]) | undefined;
  /** Storages saved for the pullback alone, freed with it. */
  readonly saved: readonly Storage[];
  consumed: boolean;
}

/**
 * Values on a device: a shape and an element type over a storage, and for backward() the op that made it. Made by `tensor`,
 * `empty` and the ops; a view shares the storage of another tensor.
 */
export class Tensor {
  readonly shape: Shape;
  /** The op that made this tensor, when a gradient can flow through it. */
  node: Node | undefined;

  constructor(
    /** Undefined until a declared tensor is allocated. */
    private home: Device | undefined,
    readonly storage: Storage,
    shape: Shape,
    readonly dtype: DType,
    /** A leaf whose gradient backward() may be asked for, or a value that depends on one. */
    public requiresGrad = false,
    /** Element of the storage where the values begin: other than 0 in a view of a part. */
    readonly offset = 0,
  ) {
    this.shape = Object.freeze([...shape]);
  }

  /** The device that holds the values. Throws for a tensor that is only declared. */
  get device(): Device {
    check(this.home !== undefined, () => `${this} is declared, but not allocated on a device yet`);
    return this.home;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  get rank(): number {
    return this.shape.length;
  }

  /** The bytes that the values take, for a binding. */
  get range(): BufferRange {
    return { storage: this.storage, offset: bytesOf(this.dtype, this.offset), bytes: this.bytes };
  }

  /** Bytes of the data, without padding. */
  get bytes(): number {
    return bytesOf(this.dtype, this.size);
  }

  get disposed(): boolean {
    return this.storage.disposed;
  }

  /** The sizes, after checking that there are `rank` of them. */
  dims<N extends number>(
    rank: N,
  ): N extends 1
    ? [number]
    : N extends 2
      ? [number, number]
      : N extends 3
        ? [number, number, number]
        : N extends 4
          ? [number, number, number, number]
          : number[] {
    check(this.rank === rank, () => `expected ${rank} axes, found ${this.rank}: ${formatShape(this.shape)}`);
    return [...this.shape] as ReturnType<typeof this.dims<N>>;
  }

  /** Gives a tensor that declare() made its memory on a device. The values are anything until they are written. */
  allocate(device: Device): void {
    check(!this.home && !this.disposed, () => `allocate(): ${this} has had its memory already`);
    device.place(this.storage);
    this.home = device;
  }

  /** Reads the values back; f16 comes as f32. Waits for everything dispatched so far and throws its errors. */
  async data(): Promise<TypedData> {
    check(!this.device.recorder, 'data() reads back inside a captured step; return the tensor and read it after run()');
    check(!this.disposed, () => `data(): ${this} was disposed`);
    check(this.storage.buffer !== undefined, () => `data(): ${this} is made by a captured step that has no run() yet`);
    return arrayOf(this.dtype, await this.device.read(this.range));
  }

  /** Reads the value of a tensor of one element. */
  async item(): Promise<number> {
    check(this.size === 1, () => `item(): expected one element, found ${formatShape(this.shape)}`);
    return (await this.data())[0]!;
  }

  /** Overwrites the values, in place, after everything dispatched so far. */
  write(values: ArrayLike<number>): this {
    check(!this.device.recorder, 'write() inside a captured step; write to tensors made outside, before run()');
    check(!this.disposed, () => `write(): ${this} was disposed`);
    check(values.length === this.size, () => `write(): ${this} holds ${this.size} elements, found ${values.length}`);
    this.device.write(this.storage, toBytes(this.dtype, values), this.range.offset);
    return this;
  }

  /** Marks a leaf as one whose gradient is wanted. */
  requireGrad(): this {
    check(!this.node, () => `requireGrad(): ${this} is the output of ${this.node?.name}, not a leaf`);
    check(isFloat(this), () => `requireGrad(): ${this} is not of a float type`);
    this.requiresGrad = true;
    return this;
  }

  /** The same values, cut off from the tape. */
  detach(): Tensor {
    return viewOf(this, this.shape);
  }

  /** Frees the memory, also of every view of it. A second call does nothing. */
  dispose(): void {
    if (!this.home) {
      this.storage.disposed = true;
      return;
    }
    check(!this.device.recorder, 'dispose() inside a captured step: the plan owns what is made there');
    check(!this.storage.owner, () => `dispose(): ${this} belongs to a captured step; dispose of the step`);
    this.device.release(this.storage);
  }

  toString(): string {
    return `${formatShape(this.shape)} ${this.dtype}`;
  }
}

/** Whether a tensor holds f32 or f16: what can have a gradient. */
export const isFloat = ({ dtype }: Pick<Tensor, 'dtype'>): boolean => dtype === 'f32' || dtype === 'f16';

/** The same memory under another shape, from element `start` on, off the tape. */
export const viewOf = ({ device, storage, dtype, offset }: Tensor, shape: Shape, start = 0): Tensor =>
  new Tensor(device, storage, shape, dtype, false, offset + start);

/** A tensor with the given values. `shape` defaults to one axis. Throws when the number of values does not match. */
export function tensor(
  device: Device,
  values: ArrayLike<number>,
  shape: Shape = [values.length],
  dtype: DType = 'f32',
): Tensor {
  checkShape(shape);
  check(
    values.length === sizeOf(shape),
    () => `tensor: shape ${formatShape(shape)} holds ${sizeOf(shape)} elements, found ${values.length} values`,
  );
  const storage = device.upload(toBytes(dtype, values), `tensor ${formatShape(shape)} ${dtype}`);
  return new Tensor(device, storage, shape, dtype);
}

/** A tensor of one value. */
export function scalar(device: Device, value: number, dtype: DType = 'f32'): Tensor {
  return tensor(device, [value], [], dtype);
}

/** A tensor whose elements a kernel is about to write; they hold anything until then. */
export function empty(device: Device, shape: Shape, dtype: DType = 'f32'): Tensor {
  checkShape(shape);
  const storage = device.allocate(
    bytesOf(dtype, sizeOf(shape)),
    `${device.opLabel || 'empty'} -> ${formatShape(shape)} ${dtype}`,
  );
  return new Tensor(device, storage, shape, dtype);
}

/** A tensor of which the shape and type are known, but no device yet: Tensor.allocate() gives it one. `label` is for reports. */
export function declare(shape: Shape, dtype: DType, label: string): Tensor {
  checkShape(shape);
  return new Tensor(undefined, new Storage(bytesOf(dtype, sizeOf(shape)), label), shape, dtype);
}

/** `empty` on the same device, by default with the same shape and dtype. */
export function emptyLike(x: Tensor, shape: Shape = x.shape, dtype: DType = x.dtype): Tensor {
  return empty(x.device, shape, dtype);
}
