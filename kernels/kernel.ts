/** Kernels as text: the declarations of a variant, the includes, the bindings, and the layout of `Params`. */
import type { KernelChoices } from './choice.js';

/** Element types as stored on the GPU. Arithmetic is f32 (or the integer type itself) in every kernel. */
export type DType = 'f32' | 'f16' | 'i32' | 'u32';

/**
 * The declarations put in front of a kernel file, which itself never changes. A variant is also the pipeline's cache
 * key, so it must not hold sizes: those go into `Params`.
 */
export interface Variant {
  /** `alias NAME = type;`, e.g. `{ T: 'f32', V: 'vec4<f32>' }`. */
  readonly types?: Readonly<Record<string, string>>;
  /** `const NAME = value;`: integers become `u32`, booleans flags for an ordinary `if`. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
  /**
   * Whole lines: `#include "lib/fold4.wgsl"` for one of several files with the same functions, and, as WGSL has no alias for
   * functions, the line that gives one another name: `fn activate(x: F) -> F { return silu(x); }`.
   */
  readonly declarations?: readonly string[];
  /** The kernel uses subgroup builtins. */
  readonly subgroups?: boolean;
  /** The kernel uses subgroup matrices. */
  readonly subgroupMatrix?: boolean;
  /** WGSL's diagnostic rules that are off: control flow is uniform where they ask for it, but not provably so. */
  readonly uniform?: readonly string[];
}

/** What one dispatch runs: a pure function of shapes, dtypes and device features. */
export interface Plan {
  /** The kernel's file: its name in kernels/ without `.wgsl`, or the `file:` URL of one that lies elsewhere. */
  readonly kernel: string;
  readonly variant: Variant;
  /** The values of the kernel's `struct Params`, by field name. */
  readonly params: Readonly<Record<string, number>>;
  /** Workgroups along x, y and z. */
  readonly grid: readonly [number, number, number];
}

/** What a plan may know of the device. */
export interface Features {
  /** `shader-f16`: f16 can be stored and loaded as a type of its own. */
  readonly f16: boolean;
  /** Subgroup operations with one fixed subgroup size. */
  readonly subgroups: boolean;
  /** The fixed subgroup size, or 0 without one. */
  readonly subgroupSize: number;
  /** Subgroup matrices of 16 x 16, factors in f16 and sums in f32; emulated by shuffles only where a test asks for it. */
  readonly subgroupMatrix: 'native' | 'emulated' | null;
  readonly timestamps: boolean;
  /** The adapter is a CPU. */
  readonly software: boolean;
  /** Kernels measured on the adapter; default none. */
  readonly choices?: KernelChoices;
}

export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly access: 'read' | 'read_write';
}

export interface ParamField {
  readonly name: string;
  readonly type: 'u32' | 'i32' | 'f32';
}

/** The text of a `.wgsl` file, and what messages call it: its path in kernels/, or the whole path of one that lies elsewhere. */
export interface KernelFile {
  readonly file: string;
  readonly text: string;
}

/** A kernel with its variant's declarations and its includes: what the GPU compiles, and what a dispatch must know of it. */
export interface KernelSource {
  /** What messages call the kernel's file. */
  readonly file: string;
  readonly code: string;
  readonly bindings: readonly Binding[];
  /** Index of the uniform binding, or -1 when the kernel has no `Params`. */
  readonly paramsIndex: number;
  readonly params: readonly ParamField[];
  /** Bytes of the `Params` uniform, a multiple of 16. */
  readonly paramsSize: number;
  /** The file and line (1-based) that a line of `code` (0-based) came from. */
  readonly origin: readonly { readonly file: string; readonly line: number }[];
}

/** The text of a variant's declarations. */
export function printPrelude(variant: Variant): string {
  const types = Object.entries(variant.types ?? {});
  const lines: string[] = [];
  if (types.some(([, type]) => type.includes('f16'))) lines.push('enable f16;');
  if (variant.subgroups) lines.push('enable subgroups;');
  if (variant.subgroupMatrix) lines.push('enable chromium_experimental_subgroup_matrix;');
  for (const rule of variant.uniform ?? []) lines.push(`diagnostic(off, ${rule});`);
  for (const [name, type] of types) lines.push(`alias ${name} = ${type};`);
  for (const [name, value] of Object.entries(variant.constants ?? {})) {
    lines.push(`const ${name} = ${typeof value === 'boolean' ? value : `${value}u`};`);
  }
  lines.push(...(variant.declarations ?? []));
  return lines.join('\n');
}

/** A string that two plans share exactly when they run the same pipeline. */
export function kernelKey(plan: Plan): string {
  return `${plan.kernel}\n${printPrelude(plan.variant)}`;
}

/** A kernel's name for labels and lists: `softsign` for `file:///home/me/softsign.wgsl`. */
export function kernelName(kernel: string): string {
  return kernel.slice(kernel.lastIndexOf('/') + 1).replace(/\.wgsl$/, '');
}

const includeLine = /^#include "([^"]+)"\s*$/;
const bindingLine =
  /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(uniform|storage\s*(?:,\s*(read|read_write))?)\s*>\s*(\w+)\s*:/g;
const paramsBlock = /struct Params \{([^}]*)\}/;

/**
 * Puts the declarations of a variant and the includes (each file once) in front of a kernel, and reads its bindings and
 * `Params`. `find` gives the file that an include names: one in `from`, or in the declarations in front of it; `where` is its
 * file and line, for messages.
 */
export function assembleKernel(
  kernel: KernelFile,
  variant: Variant,
  find: (include: string, from: KernelFile, where: string) => KernelFile,
): KernelSource {
  const lines: string[] = [];
  const origin: { file: string; line: number }[] = [];
  const seen = new Set([kernel.file]);
  const append = (from: KernelFile, text: string, file: string): void => {
    text.split('\n').forEach((line, i) => {
      const include = includeLine.exec(line)?.[1];
      if (include === undefined) {
        lines.push(line);
        origin.push({ file, line: i + 1 });
        return;
      }
      const included = find(include, from, `${file}:${i + 1}`);
      if (seen.has(included.file)) return;
      seen.add(included.file);
      append(included, included.text, included.file);
    });
  };
  append(kernel, printPrelude(variant), `(prelude of ${kernelName(kernel.file)})`);
  append(kernel, kernel.text, kernel.file);
  const code = lines.join('\n');
  const bare = code.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, ''); // a binding in a comment is none

  const bindings: Binding[] = [];
  let paramsIndex = -1;
  for (const [, index, space, access, binding] of bare.matchAll(bindingLine)) {
    if (space === 'uniform') paramsIndex = Number(index);
    else
      bindings.push({ name: binding!, index: Number(index), access: access === 'read_write' ? 'read_write' : 'read' });
  }
  const params: ParamField[] = [];
  for (const part of paramsBlock.exec(bare)?.[1]?.split(',') ?? []) {
    const field = /(\w+)\s*:\s*(\w+)/.exec(part);
    if (field) params.push({ name: field[1]!, type: field[2] as ParamField['type'] });
  }
  return {
    file: kernel.file,
    code,
    bindings,
    paramsIndex,
    params,
    paramsSize: Math.ceil(params.length / 4) * 16,
    origin,
  };
}

/** Packs a plan's values into the bytes of its kernel's `Params`. Throws when a field is missing or one too many. */
export function packParams(source: KernelSource, values: Readonly<Record<string, number>>): Uint8Array {
  const bytes = new Uint8Array(source.paramsSize);
  const view = new DataView(bytes.buffer);
  source.params.forEach(({ name, type }, i) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${source.file}: Params.${name} has no value`);
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else if (!Number.isInteger(value))
      throw new Error(`${source.file}: Params.${name} is ${type}, the plan gives ${value}`);
    else if (type === 'i32') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  if (Object.keys(values).length !== source.params.length) {
    const extra = Object.keys(values).filter((name) => !source.params.some((field) => field.name === name));
    throw new Error(`${source.file}: the plan gives ${extra.join(', ')}, which Params does not have`);
  }
  return bytes;
}

/** Element, vector and arithmetic types of a kernel that loads `width` elements of `dtype` at once. */
export function elementTypes(dtype: DType, width: 1 | 4): Record<'T' | 'V' | 'F' | 'U', string> {
  const arithmetic = dtype === 'f16' ? 'f32' : dtype;
  return {
    T: dtype,
    V: width === 4 ? `vec4<${dtype}>` : dtype,
    F: width === 4 ? `vec4<${arithmetic}>` : arithmetic,
    U: width === 4 ? 'vec4<u32>' : 'u32',
  };
}

/** Splits a number of workgroups over x and y, as a dimension ends at 65,535. Kernels undo it with lib/index.wgsl. */
export function linearGrid(workgroups: number): [number, number, number] {
  const limit = 65_535;
  if (workgroups <= limit) return [Math.max(workgroups, 1), 1, 1];
  const y = Math.ceil(workgroups / limit);
  return [Math.ceil(workgroups / y), y, 1];
}
