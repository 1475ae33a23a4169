/** Captured steps: a function's dispatches recorded once, their memory planned, then replayed in one submit. */
import { packParams } from '../../kernels/kernel.js';
import { CheckError, check, withPrefix } from '../errors.js';
import { owning } from '../owning.js';
import { tensorsIn } from '../tensor/scope.js';
import { elideCopies, type WrittenBy } from './copies.js';
import type { Device } from './device.js';
import type { Dispatch, Encoded, Replay } from './encoder.js';
import { type Lifetime, planSlots, type Storage } from './memory.js';
import { type DispatchTimes, formatDispatches, timeDispatches } from './profiler.js';

/** A recorded step. What was made outside is its input or state, what it made its intermediates, what it returned is kept. */
export class Step<R> implements Replay {
  private disposed = false;

  /** @internal Made by capture(). */
  constructor(
    private readonly device: Device,
    /** What the captured function returned; its tensors hold the values of the last run(). */
    readonly outputs: R,
    /** The dispatch list, in order. */
    readonly dispatches: readonly Dispatch[],
    private readonly encoded: readonly Encoded[],
    private readonly owned: readonly Storage[],
    private readonly inputs: ReadonlyMap<Storage, GPUBuffer | undefined>,
    private readonly slots: readonly GPUBuffer[],
    private readonly params: GPUBuffer | undefined,
    private readonly slotOf: ReadonlyMap<Storage, number>,
    /** Bytes of the slots, shared by all intermediates and outputs. */
    readonly bytes: number,
  ) {}

  /** Replays the step: one command buffer, nothing allocated. Does not wait. */
  run(): void {
    this.checkReady();
    const { device } = this;
    device.flush();
    device.onStep?.(this);
    const encoder = device.gpu.createCommandEncoder({ label: 'step' });
    const pass = encoder.beginComputePass({ label: 'step' });
    let current: GPUComputePipeline | undefined;
    for (const { pipeline, group, grid } of this.encoded) {
      if (pipeline !== current) pass.setPipeline(pipeline);
      current = pipeline;
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    }
    pass.end();
    device.gpu.queue.submit([encoder.finish()]);
  }

  /** Runs the step once, each dispatch in a pass of its own, and returns each one's GPU time. Needs timestamps. */
  async profile(): Promise<DispatchTimes> {
    this.checkReady();
    this.device.flush();
    return timeDispatches(this.device, this.encoded);
  }

  /**
   * The dispatch list: label, kernel, grid, bytes bound, slot written. With `timed` the step runs once, with its effects
   * on state, and the list shows the time of each dispatch and the sum for each kernel.
   */
  async explain({ timed = false }: { timed?: boolean } = {}): Promise<string> {
    const times = timed ? await this.profile() : undefined;
    return formatDispatches(
      this.dispatches,
      this.slotOf,
      this.slots.map(({ size }) => size),
      times,
    );
  }

  /** Frees the step's memory, its outputs included. A second call does nothing. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const storage of this.owned) {
      if (this.slotOf.has(storage)) storage.disposed = true;
      else this.device.pool.release(storage);
    }
    for (const buffer of this.slots) this.device.pool.releasePlanned(buffer);
    if (this.params) this.device.pool.releasePlanned(this.params);
  }

  private checkReady(): void {
    check(!this.disposed, 'step: it was disposed');
    check(!this.device.recorder, 'step: run() inside a captured step');
    for (const [storage, buffer] of this.inputs) {
      check(!storage.disposed, () => `step: ${storage.label}, which it uses, was disposed after the capture`);
      check(storage.buffer === buffer, () => `step: ${storage.label}, which it uses, was moved after the capture`);
    }
    this.device.throwFailure();
  }
}

/**
 * Records the dispatches of `body` without any GPU work, compiles their kernels in parallel, plans their memory, and
 * returns the step to replay. Shapes are fixed, and so is every JavaScript number `body` uses: what changes from run to
 * run must be a tensor made outside. Values can't be read inside.
 */
export async function capture<R>(device: Device, body: () => R): Promise<Step<R>> {
  const dispatches: Dispatch[] = [];
  const owned = new Set<Storage>();
  const owner = {};
  check(!device.recorder, 'capture: already capturing');
  device.flush();
  device.recorder = {
    record: (dispatch) => dispatches.push(dispatch),
    adopt: (storage) => {
      storage.owner = owner;
      owned.add(storage);
    },
  };
  const abandon = (): void => {
    for (const storage of owned) device.pool.release(storage);
  };
  let outputs: R;
  try {
    outputs = body();
    check(!(outputs instanceof Promise), 'the captured function returned a promise; it must be synchronous');
  } catch (error) {
    device.recorder = undefined;
    abandon();
    if (error instanceof CheckError) throw withPrefix('capture', error);
    throw error;
  }
  device.recorder = undefined;

  try {
    await device.pipelines.compile(dispatches.map(({ plan }) => plan)).finally(() => device.throwFailure());
    const kept = new Set(tensorsIn(outputs).map(({ storage }) => storage));
    for (const storage of kept) {
      const unwritten =
        owned.has(storage) && !storage.buffer && !dispatches.some((dispatch) => uses(dispatch, storage));
      check(!unwritten, () => `capture: ${storage.label} is returned but never written`);
    }
    const isIntermediate = (storage: Storage): boolean => owned.has(storage) && !storage.buffer && !kept.has(storage);
    return assemble(device, outputs, elideCopies(dispatches, isIntermediate, writtenBy(device)), owned, kept);
  } catch (error) {
    abandon();
    throw error;
  }
}

const storagesOf = (dispatch: Dispatch): Storage[] =>
  Object.values(dispatch.buffers).flatMap((range) => (range ? [range.storage] : []));
const uses = (dispatch: Dispatch, storage: Storage): boolean => storagesOf(dispatch).includes(storage);

const writtenBy =
  (device: Device): WrittenBy =>
  ({ plan, key }) =>
    device.pipelines
      .get(plan, key)
      .source.bindings.flatMap(({ name, access }) => (access === 'read_write' ? [name] : []));

/** Places the storages in slots, and makes every bind group and the one buffer that holds all parameters. */
function assemble<R>(
  device: Device,
  outputs: R,
  dispatches: readonly Dispatch[],
  owned: ReadonlySet<Storage>,
  kept: ReadonlySet<Storage>,
): Step<R> {
  const lifetimes = new Map<Storage, { bytes: number; first: number; last: number }>();
  const inputs = new Set<Storage>();
  dispatches.forEach((dispatch, i) => {
    for (const storage of storagesOf(dispatch)) {
      const life = lifetimes.get(storage);
      if (life) life.last = kept.has(storage) ? Number.POSITIVE_INFINITY : i;
      else if (!owned.has(storage)) inputs.add(storage);
      else if (!storage.buffer) {
        lifetimes.set(storage, {
          bytes: storage.bytes,
          first: i,
          last: kept.has(storage) ? Number.POSITIVE_INFINITY : i,
        });
      }
    }
  });
  const planned = [...lifetimes.keys()];
  const { slotOf, slotBytes } = planSlots([...lifetimes.values()] satisfies Lifetime[]);
  return owning((own) => {
    const allocate = (...request: Parameters<typeof device.pool.allocatePlanned>): GPUBuffer => {
      const buffer = device.pool.allocatePlanned(...request);
      own({ dispose: () => device.pool.releasePlanned(buffer) });
      return buffer;
    };
    const slots = slotBytes.map((bytes, i) => allocate(bytes, `slot ${i}`));
    planned.forEach((storage, i) => {
      storage.buffer = slots[slotOf[i]!];
    });
    const alignment = device.limits.minUniformBufferOffsetAlignment;
    const packed = dispatches.map(({ plan, key }) => packParams(device.pipelines.get(plan, key).source, plan.params));
    const offsets: number[] = [];
    let total = 0;
    for (const bytes of packed) {
      offsets.push(total);
      total += Math.ceil(bytes.byteLength / alignment) * alignment;
    }
    const block = new Uint8Array(total);
    packed.forEach((bytes, i) => {
      block.set(bytes, offsets[i]!);
    });
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const params = total > 0 ? allocate(total, 'params of a step', usage) : undefined;
    if (params) device.gpu.queue.writeBuffer(params, 0, block);
    const encoded = dispatches.map(({ plan, key, buffers, label }, i): Encoded => {
      const pipeline = device.pipelines.get(plan, key);
      const group = device.encoder.bindGroup(
        pipeline,
        buffers,
        params && { buffer: params, offset: offsets[i]! },
        label,
      );
      return { pipeline: pipeline.gpu, group, grid: plan.grid };
    });
    const bytes = slots.reduce((sum, { size }) => sum + size, 0);
    const slotByStorage = new Map(planned.map((storage, i) => [storage, slotOf[i]!]));
    const places = new Map([...inputs].map((storage) => [storage, storage.buffer]));
    return new Step(device, outputs, dispatches, encoded, [...owned], places, slots, params, slotByStorage, bytes);
  });
}
