/** The device: one adapter, its limits and features, the queue of eager dispatches, reading back, errors, the end. */
import { totalmem } from 'node:os';
import type { KernelChoices } from '../../kernels/choice.js';
import { type Features, kernelKey, kernelName, type Plan } from '../../kernels/kernel.js';
import { type AdapterInfo, type AdapterOptions, findAdapter, readFeatures, requestDevice } from '../driver/adapter.js';
import { checksFinite, memoryOf } from '../environment.js';
import { check, formatBytes } from '../errors.js';
import { type BufferRange, type Dispatch, Encoder, type Replay } from './encoder.js';
import { BufferPool, type MemoryReport, Storage } from './memory.js';
import { mapErrorLines, PipelineCache } from './pipelines.js';

/** What `Device.create` is to open, and how carefully. */
export interface DeviceOptions extends AdapterOptions {
  /** Most bytes of GPU memory to use. Default `WINNOW_MEMORY` (in GB), else 60 % of the machine's RAM on a software adapter, no limit on a GPU. */
  readonly memoryBudget?: number;
  /** Fill fresh tensors with NaN, so that a kernel that leaves an element unwritten is found. For tests. */
  readonly poison?: boolean;
  /** Look for NaN and infinity in every op's output, and name the first op at the next await. Default: DEBUG contains `finite`. */
  readonly checkFinite?: boolean;
}

/** Where dispatches and storages go while a step is captured. */
export interface Recorder {
  record(dispatch: Dispatch): void;
  adopt(storage: Storage): void;
}

/**
 * One adapter opened for work: its limits and features, the memory of its tensors, the queue of dispatches, and its errors, which
 * are thrown at the call that is awaited next. `Device.create()` opens one, `close()` frees all of it.
 */
export class Device {
  /** Set while capture() records. */
  recorder: Recorder | undefined;
  /** DEBUG=finite: ops have their outputs watched (finite.ts). */
  readonly checksFinite: boolean;
  /** Told of each run of a captured step: for profiles of what is made of many. */
  onStep: ((step: Replay) => void) | undefined;
  /** Awaited at the end of every read back and sync(). */
  afterWait: (() => Promise<void>) | undefined;
  readonly pipelines: PipelineCache;
  readonly pool: BufferPool;
  /** Alignment of the byte offset of a bound range. */
  readonly offsetAlignment: number;
  /** The op at work, with its shapes: the label of what is allocated and dispatched meanwhile. */
  opLabel = '';
  private failure: Error | undefined;
  private closed = false;
  private currentLabel = '';
  private scopes: Storage[][] = [];
  /** @internal Bind groups and the queue of eager dispatches. */
  readonly encoder: Encoder;

  private constructor(
    /** Dawn's entry object: it must stay reachable as long as the device lives, or the process crashes. */
    readonly instance: GPU,
    readonly gpu: GPUDevice,
    readonly info: AdapterInfo,
    /** What plans may look at. */
    public features: Features,
    readonly options: DeviceOptions,
    memoryBudget: number,
  ) {
    this.pipelines = new PipelineCache(gpu);
    this.pool = new BufferPool(gpu, memoryBudget);
    this.pool.beforeDestroy = () => this.flush();
    this.offsetAlignment = gpu.limits.minStorageBufferOffsetAlignment;
    gpu.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      const { message } = (event as GPUUncapturedErrorEvent).error;
      const { compiling } = this.pipelines;
      this.fail(compiling ? mapErrorLines(message, compiling) : message);
    });
    gpu.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed' || !this.closed) this.fail(`device lost: ${message || reason}`);
    });
    this.encoder = new Encoder(gpu, this.pipelines);
    this.checksFinite = options.checkFinite ?? checksFinite();
    // Dawn polls and would free the instance under a live device if only the device were reachable.
    Device.open.add(this);
  }

  private static readonly open = new Set<Device>();

  /** Opens a device. Rejects with NoAdapterError where there is no driver, and none was to be provided or none could be. */
  static async create(options: DeviceOptions = {}): Promise<Device> {
    const given = options.memoryBudget ?? memoryOf();
    check(given === undefined || given > 0, `memory budget: expected a positive number of bytes, found ${given}`);
    const { gpu, adapter, info } = await findAdapter(options);
    const fallback = info.software ? 0.6 * totalmem() : Number.POSITIVE_INFINITY;
    const budget = given ?? fallback;
    const adapterInfo = adapter.info;
    const device = await requestDevice(adapter);
    return new Device(gpu, device, info, readFeatures(device, adapterInfo, info.software), options, budget);
  }

  /** From here on plans take these kernels, in place of those chosen before; a captured step keeps its own. */
  useKernels(choices: KernelChoices): void {
    this.features = Object.freeze({ ...this.features, choices: Object.freeze({ ...choices }) });
  }

  get limits(): GPUSupportedLimits {
    return this.gpu.limits;
  }

  /** Live, pooled and planned bytes, and the largest tensors. */
  memory(): MemoryReport {
    return this.pool.report();
  }

  /** Memory for a tensor: a buffer at once, or under capture a storage that the plan places later. */
  allocate(bytes: number, label: string): Storage {
    return this.place(new Storage(bytes, label));
  }

  /** Gives a storage its memory. */
  place(storage: Storage): Storage {
    this.checkUsable();
    if (this.recorder) {
      this.recorder.adopt(storage);
      return storage;
    }
    this.pool.allocate(storage);
    this.scopes.at(-1)?.push(storage);
    if (this.options.poison) this.write(storage, new Uint8Array(Math.ceil(storage.bytes / 4) * 4).fill(0xff));
    return storage;
  }

  /** Memory that holds host data. Under capture it becomes a constant of the step. */
  upload(data: Uint8Array, label: string): Storage {
    this.checkUsable();
    const storage = new Storage(data.byteLength, label);
    this.pool.allocate(storage);
    if (this.recorder) this.recorder.adopt(storage);
    else this.scopes.at(-1)?.push(storage);
    this.write(storage, data);
    return storage;
  }

  /** Collects the storages that `body` makes; the caller decides which of them live on. */
  collect<R>(body: () => R): { result: R; made: Storage[] } {
    const made: Storage[] = [];
    this.scopes.push(made);
    try {
      return { result: body(), made };
    } catch (error) {
      for (const storage of made) this.pool.release(storage);
      throw error;
    } finally {
      this.scopes.pop();
    }
  }

  /** Runs `body` under a label of its own, and puts the one before back, also after an error. */
  withLabel<R>(label: string, body: () => R): R {
    const before = this.opLabel;
    this.opLabel = label;
    try {
      return body();
    } finally {
      this.opLabel = before;
    }
  }

  /** Hands storages to the enclosing scope, or makes them persistent where there is none. */
  keep(storages: Iterable<Storage>): void {
    this.scopes.at(-1)?.push(...storages);
  }

  release(storage: Storage): void {
    if (!this.recorder) this.pool.release(storage);
  }

  /** @internal Of moveTogether(). */
  move(storage: Storage, part: Storage): void {
    this.pool.move(storage, part);
  }

  /**
   * Runs a plan: recorded under capture, otherwise encoded now and submitted with the next flush. `op` is the label, by default
   * the kernel's name.
   */
  dispatch(plan: Plan, buffers: Readonly<Record<string, BufferRange | null>>, op = ''): void {
    const label = op || kernelName(plan.kernel);
    this.checkUsable();
    this.checkBindings(plan, buffers, label);
    const dispatch = { plan, key: kernelKey(plan), buffers, label };
    if (this.recorder) {
      this.recorder.record(dispatch);
      return;
    }
    this.currentLabel = label;
    this.encoder.add(dispatch);
  }

  /** Submits the pending eager dispatches. */
  flush(): void {
    this.encoder.flush();
  }

  /** Writes host bytes over a storage, from byte `offset` (a multiple of 4) on, after everything dispatched so far. */
  write(storage: Storage, data: Uint8Array, offset = 0): void {
    this.checkUsable();
    this.flush();
    const whole = data.byteLength % 4 === 0 ? data : new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
    if (whole !== data) whole.set(data);
    this.gpu.queue.writeBuffer(storage.buffer!, storage.start + offset, whole, 0, whole.byteLength);
  }

  /** Reads bytes back, after everything dispatched so far. Throws any error stored since the last await. */
  async read(range: BufferRange): Promise<Uint8Array> {
    const data = await this.readBytes(range);
    await this.afterWait?.();
    return data;
  }

  /** @internal read() without what is awaited after it. */
  async readBytes({ storage, offset, bytes }: BufferRange): Promise<Uint8Array> {
    check(!this.recorder, `reads back inside a captured step; return the tensor and read it after run()`);
    this.checkUsable();
    this.flush();
    const size = Math.ceil(bytes / 4) * 4;
    const staging = this.gpu.createBuffer({
      label: 'read back',
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    try {
      const encoder = this.gpu.createCommandEncoder({ label: 'read back' });
      encoder.copyBufferToBuffer(storage.buffer!, storage.start + offset, staging, 0, size);
      this.gpu.queue.submit([encoder.finish()]);
      try {
        await this.wait(staging.mapAsync(GPUMapMode.READ));
      } catch (error) {
        this.throwFailure();
        throw error;
      }
      this.throwFailure();
      return new Uint8Array(staging.getMappedRange().slice(0, bytes));
    } finally {
      staging.destroy();
    }
  }

  /** Waits until the GPU is done. Throws any error stored since the last await. */
  async sync(): Promise<void> {
    this.checkUsable();
    this.flush();
    await this.wait(this.gpu.queue.onSubmittedWorkDone());
    this.throwFailure();
    await this.afterWait?.();
  }

  /**
   * Waits for a promise of Dawn's. Dawn polls in a loop that takes a whole core; on a software adapter, which needs that
   * core, this thread sleeps in short naps after the first millisecond (measured 1.4 to 1.9 times faster on two cores).
   */
  async wait<R>(promise: Promise<R>): Promise<R> {
    if (!this.features.software) return promise;
    let done = false;
    const settled = promise.finally(() => {
      done = true;
    });
    settled.catch(() => {});
    const start = performance.now();
    while (!done) {
      if (performance.now() - start > 1) Atomics.wait(nap, 0, 0, 0.3);
      await new Promise(setImmediate);
    }
    return settled;
  }

  /** Destroys every buffer and the device. Later calls throw. A second close does nothing. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.encoder.discard();
    this.gpu.destroy();
    Device.open.delete(this);
  }

  /** Throws what the GPU reported since the last await, once. */
  throwFailure(): void {
    const { failure } = this;
    if (!failure) return;
    if (!failure.message.startsWith('device lost')) this.failure = undefined;
    throw failure;
  }

  private fail(message: string): void {
    const where = this.currentLabel ? ` (in ${this.currentLabel})` : '';
    this.failure ??= new Error(message.trim() + where);
  }

  private checkUsable(): void {
    if (this.closed) throw new Error('the device is closed');
    if (this.failure?.message.startsWith('device lost')) throw this.failure;
  }

  private checkBindings(plan: Plan, buffers: Readonly<Record<string, BufferRange | null>>, label: string): void {
    for (const [name, range] of Object.entries(buffers)) {
      if (!range) continue;
      check(!range.storage.disposed, `${name} (${range.storage.label}) was disposed; it can't be used in ${label}`);
      check(
        range.bytes <= this.gpu.limits.maxStorageBufferBindingSize,
        `${name} (${range.storage.label}) needs ${formatBytes(range.bytes)} in one binding; ` +
          `this device binds at most ${formatBytes(this.gpu.limits.maxStorageBufferBindingSize)} (adapter limit)`,
      );
    }
    const [x, y, z] = plan.grid;
    const limit = this.gpu.limits.maxComputeWorkgroupsPerDimension;
    check(
      x >= 1 && y >= 1 && z >= 1 && x <= limit && y <= limit && z <= limit,
      `${label}: grid [${plan.grid}] is outside 1 to ${limit} workgroups a dimension`,
    );
  }
}

const nap = new Int32Array(new SharedArrayBuffer(4));
