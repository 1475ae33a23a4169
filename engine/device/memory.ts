/** GPU memory: storages, the pool of buffers behind them, scopes that free them, and the slot plan of captured steps. */
import { formatBytes, OutOfMemoryError } from '../errors.js';

/** The bytes of one tensor (and of its reshaped views). Under capture `buffer` stays empty until the plan assigns a slot. */
export class Storage {
  buffer: GPUBuffer | undefined;
  disposed = false;
  /** The captured step that owns this storage; undefined for an eager one. */
  owner: object | undefined;
  /** Where in the buffer the bytes begin. */
  start = 0;
  /** The storage that this one is a part of, and the parts of such a storage: its buffer is freed with the last of them. */
  whole: Storage | undefined;
  readonly parts: Storage[] = [];

  constructor(
    /** Exact size of the data; the binding is this size rounded up to 4. */
    readonly bytes: number,
    /** What made it: op name and shape, for messages and memory(). */
    readonly label: string,
  ) {}

  /** The next part of an eager storage. */
  static partOf(whole: Storage, start: number, bytes: number, label: string): Storage {
    const part = new Storage(bytes, label);
    part.buffer = whole.buffer;
    part.start = start;
    part.whole = whole;
    whole.parts.push(part);
    return part;
  }
}

/** A device's memory at one moment. */
export interface MemoryReport {
  /** Bytes of buffers that hold a live tensor. */
  readonly liveBytes: number;
  /** Bytes of buffers kept for reuse. */
  readonly poolBytes: number;
  /** Bytes of the slots and parameters of captured steps. */
  readonly plannedBytes: number;
  readonly budgetBytes: number;
  /** The largest live tensors, largest first. */
  readonly largest: readonly { readonly label: string; readonly bytes: number }[];
}

const usage = 0x80 | 0x4 | 0x8; // GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, which exists only after the driver is loaded

const roundUp = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

/** Buffers by size, live or waiting for reuse, under one budget. Dawn's buffers are invisible to the garbage collector, so nothing here relies on it. */
export class BufferPool {
  private readonly free = new Map<number, GPUBuffer[]>();
  private readonly live = new Set<Storage>();
  private liveBytes = 0;
  private poolBytes = 0;
  private plannedBytes = 0;
  /** Called before buffers are destroyed, so that no pending dispatch still uses them. */
  beforeDestroy: () => void = () => {};

  constructor(
    private readonly gpu: GPUDevice,
    private readonly budgetBytes: number,
  ) {}

  /** Gives `storage` a buffer; its contents are whatever was there before. */
  allocate(storage: Storage): void {
    const size = roundUp(storage.bytes);
    const reused = this.free.get(size)?.pop();
    if (reused) {
      this.poolBytes -= size;
      reused.label = storage.label;
    }
    storage.buffer = reused ?? this.create(size, storage.label);
    this.liveBytes += size;
    this.live.add(storage);
  }

  /** Puts the storage's buffer back for reuse. A second call does nothing. */
  release(storage: Storage): void {
    if (storage.disposed) return;
    storage.disposed = true;
    const { whole } = storage;
    if (whole) {
      storage.buffer = undefined;
      if (whole.parts.every(({ disposed }) => disposed)) this.release(whole);
      return;
    }
    if (!storage.buffer || !this.live.delete(storage)) return;
    this.keepForReuse(storage.buffer);
    storage.buffer = undefined;
  }

  private keepForReuse(buffer: GPUBuffer): void {
    const { size } = buffer;
    const list = this.free.get(size);
    if (list) list.push(buffer);
    else this.free.set(size, [buffer]);
    this.liveBytes -= size;
    this.poolBytes += size;
  }

  /** Gives `storage` the place of `part`, which it becomes; its own buffer goes back for reuse. */
  move(storage: Storage, part: Storage): void {
    const { buffer, start, whole } = part;
    this.live.delete(storage);
    this.keepForReuse(storage.buffer!);
    Object.assign(storage, { buffer, start, whole });
    whole!.parts[whole!.parts.indexOf(part)] = storage;
  }

  /** A buffer that a captured step owns for its whole life. */
  allocatePlanned(bytes: number, label: string, bufferUsage = usage): GPUBuffer {
    const buffer = this.create(roundUp(bytes), label, bufferUsage);
    this.plannedBytes += buffer.size;
    return buffer;
  }

  releasePlanned(buffer: GPUBuffer): void {
    this.plannedBytes -= buffer.size;
    this.beforeDestroy();
    buffer.destroy();
  }

  /** Destroys the buffers kept for reuse. */
  trim(): void {
    if (this.poolBytes === 0) return;
    this.beforeDestroy();
    for (const list of this.free.values()) for (const buffer of list) buffer.destroy();
    this.free.clear();
    this.poolBytes = 0;
  }

  report(): MemoryReport {
    const { liveBytes, poolBytes, plannedBytes, budgetBytes } = this;
    const largest = [...this.live]
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, 10)
      .map(({ label, bytes }) => ({ label, bytes }));
    return { liveBytes, poolBytes, plannedBytes, budgetBytes, largest };
  }

  private create(size: number, label: string, bufferUsage = usage): GPUBuffer {
    const used = (): number => this.liveBytes + this.plannedBytes;
    if (used() + size > this.budgetBytes) {
      const top = this.report().largest[0];
      throw new OutOfMemoryError(
        `${label} needs ${formatBytes(size)}, ${formatBytes(used())} of the budget of ${formatBytes(this.budgetBytes)} ` +
          `are in use${top ? `, most by ${top.label} (${formatBytes(top.bytes)})` : ''}`,
      );
    }
    const most = this.gpu.limits.maxBufferSize;
    if (size > most) {
      throw new OutOfMemoryError(
        `${label} needs ${formatBytes(size)}; this device's buffers end at ${formatBytes(most)}`,
      );
    }
    if (used() + this.poolBytes + size > this.budgetBytes) this.trim();
    return this.gpu.createBuffer({ label, size, usage: bufferUsage });
  }
}

/** When a storage of a captured step is first written and last used, as indices into its dispatch list. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Assigns each lifetime to a slot so that no two that overlap share one: largest first, each into the smallest slot
 * that is free for its whole life (Pisarchyk and Lee 2020, "greedy by size"). Whole buffers rather than offsets into an
 * arena, because WebGPU forbids reading and writing one buffer in a dispatch.
 */
export function planSlots(lifetimes: readonly Lifetime[]): { slotOf: number[]; slotBytes: number[] } {
  const order = lifetimes.map((_, i) => i).sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || a - b);
  const slots: { bytes: number; used: Lifetime[] }[] = [];
  const slotOf: number[] = new Array(lifetimes.length);
  for (const i of order) {
    const life = lifetimes[i]!;
    let best = -1;
    slots.forEach((slot, s) => {
      const busy = slot.used.some((other) => life.first <= other.last && other.first <= life.last);
      if (!busy && (best < 0 || slot.bytes < slots[best]!.bytes)) best = s;
    });
    if (best < 0) best = slots.push({ bytes: life.bytes, used: [] }) - 1;
    slots[best]!.used.push(life);
    slotOf[i] = best;
  }
  return { slotOf, slotBytes: slots.map((slot) => slot.bytes) };
}
