import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { sourceOf } from '../../engine/device/kernel_source.js';
import { problemOf } from '../../engine/device/own_kernel.js';
import {
  backward,
  capture,
  dispatch,
  emptyLike,
  FileError,
  loadKernel,
  scope,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { packageRoot } from '../../engine/version.js';
import { kernelKey, kernelName } from '../../kernels/kernel.js';
import {
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  host,
  random,
  testDevice,
  tolerance,
  upload,
} from '../check.js';
import { temporaryFolder } from '../temporary.js';
import { softsign } from './softsign.js';

const device = await testDevice();
const folder = temporaryFolder();

const reference = ({ shape, data }: Host): Host =>
  host(
    shape,
    data.map((x) => x / (1 + Math.abs(x))),
  );

describe('softsign, an op from outside the package', () => {
  const shapes = [[1], [7], [3, 5, 11], [300, 65]];
  const dtypes = ['f32', ...(device.features.f16 ? (['f16'] as const) : [])] as const;

  test.each(shapes.map((shape) => ({ shape })))('value and gradient of $shape', async ({ shape }) => {
    for (const dtype of dtypes) {
      const inputs = [random(shape, 3, { low: -4, high: 4, dtype })];
      await checkForward(device, softsign, reference, inputs, { terms: 1, dtypes: [dtype] });
      await checkGradients(device, softsign, reference, inputs, { terms: 1, dtypes: [dtype] });
    }
  });

  test('a captured step gives the bits of eager work, and other ones for other inputs', async () => {
    const x = upload(device, random([70], 1, { low: -3, high: 3 })).requireGrad();
    const dy = upload(device, random([70], 2));
    const both = (): Tensor[] => {
      const y = softsign(x);
      return [y, ...backward(y, [x], { seed: dy })];
    };
    const step = await capture(device, both);
    for (const seed of [1, 5]) {
      const values = random([70], seed, { low: -3, high: 3 });
      x.write(values.data);
      step.run();
      const eager = scope(device, both);
      for (const [i, each] of eager.entries()) expect(await step.outputs[i]!.data()).toEqual(await each.data());
      expectClose(await step.outputs[0]!.data(), reference(values).data, tolerance('f32', 1), 'captured value');
      for (const each of eager) each.dispose();
    }
    expect(await step.explain()).toMatch(/^ +0 {2}softsign {17}\[2, 1, 1\]/m);
    step.dispose();
    for (const each of [x, dy]) each.dispose();
  });
});

/** Writes a kernel that multiplies by `factor`; `lines` stand before its entry point. */
function write(name: string, factor: string, lines = ''): URL {
  const path = join(folder, name);
  const text = `${lines}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) at: vec3u) { y[at.x] = ${factor} * x[at.x]; }
`;
  writeFileSync(path, text);
  return pathToFileURL(path);
}

async function times(url: URL, values: readonly number[]): Promise<number[]> {
  const kernel = loadKernel(url);
  const [x, y] = scope(device, () => {
    const input = tensor(device, values);
    const output = emptyLike(input);
    dispatch(kernel.plan({ grid: [values.length, 1, 1] }), { x: input, y: output });
    return [input, output];
  }) as [Tensor, Tensor];
  try {
    return [...(await y.data())];
  } finally {
    for (const each of [x, y]) each.dispose();
  }
}

describe('files of kernels', () => {
  test('two files of one name in different folders are two kernels', async () => {
    const [a, b] = ['a', 'b'].map((name) => mkdtempSync(join(folder, name)).slice(folder.length + 1));
    const [two, three] = [write(`${a}/scale.wgsl`, '2.0'), write(`${b}/scale.wgsl`, '3.0')];
    expect(await times(two, [1, 2])).toEqual([2, 4]);
    expect(await times(three, [1, 2])).toEqual([3, 6]);
    const keys = [two, three].map((url) => kernelKey(loadKernel(url).plan({ grid: [1, 1, 1] })));
    expect(keys[0]).not.toBe(keys[1]);
  });

  test("a name of winnow's own kernels is another kernel", async () => {
    expect(await times(write('fill.wgsl', '5.0'), [2])).toEqual([10]);
  });

  test('an include finds the file beside it', async () => {
    writeFileSync(join(folder, 'my-factor.wgsl'), 'const FACTOR = 7.0;');
    expect(await times(write('included.wgsl', 'FACTOR', '#include "./my-factor.wgsl"'), [3])).toEqual([21]);
  });

  test('what the compiler refuses is named by file and line, eager and captured', async () => {
    const url = write('wrong.wgsl', '1i', '// line 1\n// line 2');
    const message = new RegExp(
      `${join(folder, 'wrong.wgsl').replace(/\W/g, '\\$&')}:6:\\d+ error: no matching overload`,
    );
    await expect(times(url, [1])).rejects.toThrow(message);
    const plan = loadKernel(write('wrong2.wgsl', '1i')).plan({ grid: [1, 1, 1] });
    const x = tensor(device, [1]);
    const captured = capture(device, () => {
      const y = emptyLike(x);
      dispatch(plan, { x, y });
      return y;
    });
    await expect(captured).rejects.toThrow(/wrong2\.wgsl:5:\d+ error: no matching overload/);
    x.dispose();
    await device.sync();
  });

  test('an error in an included file names that file', async () => {
    writeFileSync(join(folder, 'broken.wgsl'), '\nfn broken() -> f32 { return 1i; }');
    await expect(times(write('outer.wgsl', 'broken()', '#include "./broken.wgsl"'), [1])).rejects.toThrow(
      /broken\.wgsl:2:\d+ error/,
    );
  });

  test('a file that is missing, and one that is no file', () => {
    const missing = pathToFileURL(join(folder, 'missing.wgsl'));
    expect(() => loadKernel(missing)).toThrow(FileError);
    expect(() => loadKernel(missing)).toThrow(
      `can't read the kernel ${join(folder, 'missing.wgsl')}: there is no such file`,
    );
    expect(() => loadKernel(new URL('https://example.org/a.wgsl'))).toThrow(
      'loadKernel: expected a file: URL, found https://example.org/a.wgsl',
    );
  });

  test('an include that is missing is named with the file and line that ask for it', () => {
    expect(() => loadKernel(write('asks.wgsl', '1.0', '\n#include "lib/nothing.wgsl"'))).toThrow(
      `${join(folder, 'asks.wgsl')}:2: there is no "lib/nothing.wgsl" among winnow's kernels`,
    );
    expect(() => loadKernel(write('asks2.wgsl', '1.0', '#include "./nothing.wgsl"'))).toThrow(
      `${join(folder, 'asks2.wgsl')}:1: there is no file ${join(folder, 'nothing.wgsl')}`,
    );
  });
});

describe('a file that is no kernel is refused when it is loaded', () => {
  const cases: readonly [problem: string, text: string][] = [
    ['expected an entry point, @compute @workgroup_size(...) fn main(...)', '// @compute fn main()'],
    [
      'found 2 bindings, of which 1 are written',
      '@binding(1) @group(0) var<storage, read> x: array<f32>;\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() {}',
    ],
    [
      'two bindings have the index 0',
      '@group(0) @binding(0) var<storage, read> x: array<f32>;\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() {}',
    ],
    [
      'it writes nothing; expected a binding var<storage, read_write>',
      '@group(0) @binding(0) var<storage, read> x: array<f32>;\n@compute @workgroup_size(1) fn main() {}',
    ],
    [
      'expected struct Params and a binding var<uniform> of it, or neither',
      'struct Params { count: u32 }\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() {}',
    ],
    [
      'Params.size is vec4f; expected u32, i32 or f32',
      'struct Params { size: vec4f }\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@group(0) @binding(1) var<uniform> params: Params;\n@compute @workgroup_size(1) fn main() {}',
    ],
  ];
  test.each(cases)('%s', (problem, text) => {
    const path = join(mkdtempSync(join(folder, 'case-')), 'kernel.wgsl');
    writeFileSync(path, text);
    expect(() => loadKernel(pathToFileURL(path))).toThrow(`${path}: ${problem}`);
  });

  test("winnow's own kernels would all be accepted", () => {
    const names = readdirSync(join(packageRoot(), 'kernels')).filter((name) => name.endsWith('.wgsl'));
    const kernels = names.filter((name) => !name.includes('_common')).map(kernelName);
    expect(kernels.length).toBeGreaterThan(30);
    for (const kernel of kernels) expect(problemOf(sourceOf({ kernel, variant: {} })), kernel).toBeUndefined();
  });
});

describe('a plan', () => {
  const kernel = loadKernel(new URL('../examples/softsign.wgsl', import.meta.url));
  const grid = [1, 1, 1] as const;

  test('with other values than Params has is refused with the file', () => {
    expect(() => kernel.plan({ grid })).toThrow('examples/softsign.wgsl: Params.count has no value');
    expect(() => kernel.plan({ grid, params: { count: 1.5 } })).toThrow(
      'examples/softsign.wgsl: Params.count is u32, the plan gives 1.5',
    );
    expect(() => kernel.plan({ grid, params: { count: 1, more: 1 } })).toThrow(
      'the plan gives more, which Params does not have',
    );
  });

  test('run with other buffers than its bindings is refused with the file', () => {
    const x = tensor(device, [1, 2]);
    const variant = { types: { T: 'f32' }, constants: { GRADIENT: false } };
    const plan = kernel.plan({ grid, variant, params: { count: 2 } });
    expect(() => dispatch(plan, { x, dy: null })).toThrow(
      /examples.softsign\.wgsl: no buffer for binding y \(softsign\)/,
    );
    x.dispose();
  });
});
