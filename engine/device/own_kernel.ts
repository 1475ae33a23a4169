/** Kernels from outside this package: a user's `.wgsl` file, checked when it is loaded, from which plans are made. */
import { fileURLToPath } from 'node:url';
import { type KernelSource, type Plan, packParams } from '../../kernels/kernel.js';
import { check, FileError } from '../errors.js';
import { sourceOf } from './kernel_source.js';

/** One dispatch of a kernel: the workgroups, and where the kernel asks for them its variant and the values of its `Params`. */
export type KernelPlan = Pick<Plan, 'grid'> & Partial<Pick<Plan, 'variant' | 'params'>>;

/** A kernel that was loaded from a file. */
export interface Kernel {
  /** The file's URL. */
  readonly url: string;
  /** The plan of one dispatch, for `dispatch`. Throws where the values are not those of the kernel's `struct Params`. */
  plan(options: KernelPlan): Plan;
}

/**
 * Loads a kernel from a file of one's own, such as `new URL('./softsign.wgsl', import.meta.url)`, which is read once in the
 * life of the process. Its entry point is `main`; its bindings are written `@group(0) @binding(i) var<...> name: type;`, and
 * the names are those of the tensors given to `dispatch`. A `struct Params` of u32, i32 and f32 is bound as uniform. It may
 * `#include "lib/index.wgsl"` and other files of winnow's kernels/, and with `./` those beside it.
 *
 * Throws a FileError with the file's path where it can't be read or is no such kernel. What the GPU's compiler refuses is
 * found at the first dispatch, and named by file and line at the call that is awaited next.
 */
export function loadKernel(url: URL): Kernel {
  check(url.protocol === 'file:', `loadKernel: expected a file: URL, found ${url.href}`);
  const source = sourceOf({ kernel: url.href, variant: {} });
  const problem = problemOf(source);
  if (problem) throw new FileError(`${fileURLToPath(url)}: ${problem}`);
  return {
    url: url.href,
    plan({ variant = {}, params = {}, grid }) {
      packParams(source, params);
      return { kernel: url.href, variant, params, grid };
    },
  };
}

/** What keeps a file from being a kernel; undefined for one that is. */
export function problemOf({ code, bindings, paramsIndex, params }: KernelSource): string | undefined {
  const bare = code.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '');
  if (!/@compute\b[^{;]*\bfn\s+main\s*\(/.test(bare))
    return 'expected an entry point, @compute @workgroup_size(...) fn main(...)';
  const declared = [...bare.matchAll(/\bvar<\s*(?:storage|uniform)\b/g)].length;
  const understood = bindings.length + (paramsIndex >= 0 ? 1 : 0);
  if (declared !== understood)
    return `found ${declared} bindings, of which ${understood} are written @group(0) @binding(i) var<...> name: type`;
  const indices = [...bindings.map(({ index }) => index), ...(paramsIndex >= 0 ? [paramsIndex] : [])];
  const twice = indices.find((index, i) => indices.indexOf(index) !== i);
  if (twice !== undefined) return `two bindings have the index ${twice}`;
  if (!bindings.some(({ access }) => access === 'read_write'))
    return 'it writes nothing; expected a binding var<storage, read_write>';
  if (paramsIndex >= 0 !== params.length > 0)
    return 'expected struct Params and a binding var<uniform> of it, or neither';
  const wrong = params.find(({ type }) => !['u32', 'i32', 'f32'].includes(type));
  return wrong && `Params.${wrong.name} is ${wrong.type}; expected u32, i32 or f32`;
}
