/** Compute pipelines by kernel and variant, and the translation of their errors to the lines of the .wgsl files. */

import { type KernelSource, kernelKey, kernelName, type Plan } from '../../kernels/kernel.js';
import { messageOf } from '../errors.js';
import { sourceOf } from './kernel_source.js';

export interface Pipeline {
  readonly source: KernelSource;
  readonly layout: GPUBindGroupLayout;
  readonly gpu: GPUComputePipeline;
}

/** Rewrites `:line:col` of the assembled text in a Dawn message to the .wgsl file and line it came from. */
export function mapErrorLines(message: string, source: KernelSource): string {
  return message.replace(
    /(?:\w*):(\d+):(\d+) (error|warning|note)?/g,
    (whole, line: string, column: string, kind?: string) => {
      const from = source.origin[Number(line) - 1];
      return from ? `${from.file}:${from.line}:${column} ${kind ?? ''}` : whole;
    },
  );
}

export class PipelineCache {
  private readonly ready = new Map<string, Pipeline>();
  /** The kernel being compiled, for the error listener. */
  compiling: KernelSource | undefined;

  constructor(private readonly gpu: GPUDevice) {}

  /** The pipeline of a plan, compiled now if it is new. */
  get(plan: Plan, key = kernelKey(plan)): Pipeline {
    const known = this.ready.get(key);
    if (known) return known;
    const { source, layout, descriptor } = this.prepare(plan);
    this.compiling = source;
    const pipeline = { source, layout, gpu: this.gpu.createComputePipeline(descriptor()) };
    this.compiling = undefined;
    this.ready.set(key, pipeline);
    return pipeline;
  }

  /** Compiles all plans that are new, in parallel. Rejects with the kernel's file and line. */
  async compile(plans: readonly Plan[]): Promise<void> {
    const missing = new Map<string, Plan>();
    for (const plan of plans) {
      const key = kernelKey(plan);
      if (!this.ready.has(key)) missing.set(key, plan);
    }
    await Promise.all(
      [...missing].map(async ([key, plan]) => {
        const { source, layout, descriptor } = this.prepare(plan);
        this.compiling = source;
        const made = this.gpu.createComputePipelineAsync(descriptor());
        this.compiling = undefined;
        try {
          this.ready.set(key, { source, layout, gpu: await made });
        } catch (error) {
          throw new Error(mapErrorLines(messageOf(error), source), {
            cause: error,
          });
        }
      }),
    );
  }

  private prepare(plan: Plan): {
    source: KernelSource;
    layout: GPUBindGroupLayout;
    descriptor: () => GPUComputePipelineDescriptor;
  } {
    const source = sourceOf(plan);
    const entries: GPUBindGroupLayoutEntry[] = source.bindings.map(({ index, access }) => ({
      binding: index,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: access === 'read' ? 'read-only-storage' : 'storage' },
    }));
    if (source.paramsIndex >= 0) {
      entries.push({
        binding: source.paramsIndex,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform', minBindingSize: source.paramsSize },
      });
    }
    const label = kernelName(plan.kernel);
    const layout = this.gpu.createBindGroupLayout({ label, entries });
    const descriptor = (): GPUComputePipelineDescriptor => ({
      label,
      layout: this.gpu.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: { module: this.gpu.createShaderModule({ label, code: source.code }), entryPoint: 'main' },
    });
    return { source, layout, descriptor };
  }
}
