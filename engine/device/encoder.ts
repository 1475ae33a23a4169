/** Turns dispatches into commands: bind groups, and the queue of eager dispatches that one compute pass submits. */
import { type Plan, packParams } from '../../kernels/kernel.js';
import { check } from '../errors.js';
import type { Storage } from './memory.js';
import type { Pipeline, PipelineCache } from './pipelines.js';

/** A part of a storage: byte offset (a multiple of the device's `offsetAlignment`) and size. */
export interface BufferRange {
  readonly storage: Storage;
  readonly offset: number;
  readonly bytes: number;
}

/** One entry of a dispatch list, eager or recorded. */
export interface Dispatch {
  readonly plan: Plan;
  /** The pipeline's key. */
  readonly key: string;
  /** The buffers by binding name; null where an optional one is absent. */
  readonly buffers: Readonly<Record<string, BufferRange | null>>;
  /** Op and shapes, for messages and explain(). */
  readonly label: string;
}

/** One dispatch with everything the GPU needs, made once. */
export interface Encoded {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
}

/** A captured step, as those see it who watch a device. */
export interface Replay {
  /** Its dispatch list, in order. */
  readonly dispatches: readonly Dispatch[];
  /** Runs it once and gives the GPU nanoseconds of each dispatch. */
  profile(): Promise<readonly number[]>;
}

const paramsBytes = 1 << 16;
const maxPending = 256;

export class Encoder {
  private pending: Encoded[] = [];
  private readonly params: GPUBuffer;
  private readonly staging = new Uint8Array(paramsBytes);
  private stagingUsed = 0;
  /** Bound where an optional buffer is absent: one for each binding index, as no buffer may be bound twice when written. */
  private readonly absent: GPUBuffer[] = [];

  constructor(
    private readonly gpu: GPUDevice,
    private readonly pipelines: PipelineCache,
  ) {
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.params = gpu.createBuffer({ label: 'params', size: paramsBytes, usage });
  }

  /** Appends a dispatch; it is submitted by the next flush, or when enough have gathered. */
  add({ plan, key, buffers, label }: Dispatch): void {
    const pipeline = this.pipelines.get(plan, key);
    const offset = this.stageParams(packParams(pipeline.source, plan.params));
    const group = this.bindGroup(pipeline, buffers, { buffer: this.params, offset }, label);
    this.pending.push({ pipeline: pipeline.gpu, group, grid: plan.grid });
    if (this.pending.length >= maxPending) this.flush();
  }

  /** Submits the pending dispatches as one compute pass. */
  flush(): void {
    if (this.pending.length === 0) return;
    // Queue operations run in order, so one params buffer serves all passes.
    if (this.stagingUsed > 0) this.gpu.queue.writeBuffer(this.params, 0, this.staging, 0, this.stagingUsed);
    const encoder = this.gpu.createCommandEncoder({ label: 'eager' });
    const pass = encoder.beginComputePass({ label: 'eager' });
    for (const { pipeline, group, grid } of this.pending) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
    this.gpu.queue.submit([encoder.finish()]);
    this.discard();
  }

  /** Forgets the pending dispatches. */
  discard(): void {
    this.pending = [];
    this.stagingUsed = 0;
  }

  /** The bind group of one dispatch. Bindings have the tensors' exact sizes, so `arrayLength` is the tensor's. */
  bindGroup(
    { source, layout }: Pipeline,
    buffers: Dispatch['buffers'],
    params: { buffer: GPUBuffer; offset: number } | undefined,
    label: string,
  ): GPUBindGroup {
    const entries = source.bindings.map(({ name, index, access }): GPUBindGroupEntry => {
      const range = buffers[name];
      if (range === undefined) throw new Error(`${source.file}: no buffer for binding ${name} (${label})`);
      if (range === null) return { binding: index, resource: { buffer: this.absentAt(index) } };
      const { storage, offset, bytes } = range;
      if (access === 'read_write') {
        // WebGPU forbids it, and Dawn would say so only at the submit.
        const inBuffer = storage.whole ?? storage;
        const other = source.bindings.find((b) => {
          const bound = b.index === index ? undefined : buffers[b.name]?.storage;
          return bound && (bound.whole ?? bound) === inBuffer;
        });
        check(!other, () => `${source.file} writes ${name} and also binds it as ${other?.name} (${label})`);
      }
      return {
        binding: index,
        resource: { buffer: storage.buffer!, offset: storage.start + offset, size: Math.ceil(bytes / 4) * 4 },
      };
    });
    if (source.bindings.length !== Object.keys(buffers).length) {
      const extra = Object.keys(buffers).filter((name) => !source.bindings.some((binding) => binding.name === name));
      throw new Error(`${source.file} has no binding ${extra.join(', ')} (${label})`);
    }
    if (source.paramsIndex >= 0 && params) {
      entries.push({ binding: source.paramsIndex, resource: { ...params, size: source.paramsSize } });
    }
    return this.gpu.createBindGroup({ label, layout, entries });
  }

  private absentAt(index: number): GPUBuffer {
    this.absent[index] ??= this.gpu.createBuffer({ label: 'absent', size: 256, usage: GPUBufferUsage.STORAGE });
    return this.absent[index];
  }

  private stageParams(bytes: Uint8Array): number {
    const alignment = this.gpu.limits.minUniformBufferOffsetAlignment;
    const aligned = Math.ceil(bytes.byteLength / alignment) * alignment;
    if (this.stagingUsed + aligned > paramsBytes) this.flush();
    const offset = this.stagingUsed;
    this.staging.set(bytes, offset);
    this.stagingUsed += aligned;
    return offset;
  }
}
