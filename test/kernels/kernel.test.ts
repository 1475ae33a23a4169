import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sourceOf } from '../../engine/device/kernel_source.js';
import { packageRoot } from '../../engine/version.js';
import { mergeAxes, planElementwise } from '../../kernels/elementwise.js';
import { elementTypes, kernelKey, kernelName, linearGrid, packParams, printPrelude } from '../../kernels/kernel.js';

const f32 = (...shape: number[]) => ({ shape, dtype: 'f32' as const });

describe('kernel files', () => {
  const source = sourceOf({ kernel: 'elementwise', variant: { types: { T: 'f32' }, constants: { RANK: 1 } } });

  test('the prelude comes first and each include once, with the origin of every line', () => {
    const lines = source.code.split('\n');
    expect(lines[0]).toBe('alias T = f32;');
    expect(source.code.match(/fn workgroup_index/g)).toHaveLength(1);
    expect(source.code).not.toContain('#include');
    const line = lines.findIndex((text) => text.startsWith('fn main'));
    expect(source.origin[line]!.file).toBe('elementwise.wgsl');
    expect(source.origin).toHaveLength(lines.length);
  });

  test('bindings and Params are read from the WGSL', () => {
    expect(source.bindings.map(({ name, index, access }) => [name, index, access])).toEqual([
      ['a', 0, 'read'],
      ['b', 1, 'read'],
      ['c', 2, 'read'],
      ['y', 3, 'read_write'],
    ]);
    expect(source.paramsIndex).toBe(4);
    expect(source.params[0]).toEqual({ name: 'count', type: 'u32' });
    expect(source.params.at(-1)).toEqual({ name: 'q', type: 'f32' });
    expect(source.paramsSize % 16).toBe(0);
  });

  test('params are packed by field name and type, and wrong ones are refused', () => {
    const { params } = planElementwise([f32(8)], { expression: 'a', output: f32(8), p: 1.5 });
    const bytes = packParams(source, params);
    const at = source.params.findIndex(({ name }) => name === 'p');
    expect(new DataView(bytes.buffer).getFloat32(4 * at, true)).toBe(1.5);
    expect(() => packParams(source, { ...params, extra: 1 })).toThrow(
      'the plan gives extra, which Params does not have',
    );
    const { count: _, ...missing } = params;
    expect(() => packParams(source, missing)).toThrow('Params.count has no value');
    expect(() => packParams(source, { ...params, count: 1.5 })).toThrow('Params.count is u32, the plan gives 1.5');
  });

  test('every kernel file says what it computes before anything else', () => {
    const folder = join(packageRoot(), 'kernels');
    const files = readdirSync(folder).filter((name) => name.endsWith('.wgsl'));
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const { code } = sourceOf({ kernel: kernelName(file), variant: {} });
      expect(code.trimStart().startsWith('//'), `${file} opens with a comment`).toBe(true);
    }
  });
});

test('a variable declared in a loop says what it starts from', () => {
  // Dawn on lavapipe does not set it to zero again on each turn, as WGSL asks. Arrays that a loop fills are exempt.
  const folder = join(packageRoot(), 'kernels');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.wgsl'));
  expect(files.length).toBeGreaterThan(20);
  const bare = files.flatMap((file) => {
    const text = readFileSync(join(folder, file), 'utf8');
    return [...text.matchAll(/^ {4,}var \w+ *:(?! *array)[^=;]+;/gm)].map(([line]) => `${file}: ${line.trim()}`);
  });
  expect(bare).toEqual([]);
});

describe('variants', () => {
  test('f16 and subgroups are enabled where they are used', () => {
    const prelude = printPrelude({
      types: elementTypes('f16', 4),
      constants: { ROWS: 16, CAUSAL: true },
      subgroups: true,
    });
    expect(prelude.split('\n')).toEqual([
      'enable f16;',
      'enable subgroups;',
      'alias T = f16;',
      'alias V = vec4<f16>;',
      'alias F = vec4<f32>;',
      'alias U = vec4<u32>;',
      'const ROWS = 16u;',
      'const CAUSAL = true;',
    ]);
  });

  test('sizes do not reach the pipeline key', () => {
    const plan = (n: number) => planElementwise([f32(n)], { expression: 'a', output: f32(n) });
    expect(kernelKey(plan(8))).toBe(kernelKey(plan(4096)));
    expect(kernelKey(plan(8))).not.toBe(kernelKey(plan(7)));
  });

  test('a grid beyond 65,535 workgroups is split over x and y', () => {
    expect(linearGrid(65_535)).toEqual([65_535, 1, 1]);
    const [x, y] = linearGrid(200_000);
    expect(x * y).toBeGreaterThanOrEqual(200_000);
    expect(Math.max(x, y)).toBeLessThanOrEqual(65_535);
    expect(linearGrid(0)).toEqual([1, 1, 1]);
  });
});

describe('merging of axes', () => {
  test('equal shapes become one axis', () => {
    expect(
      mergeAxes(
        [2, 3, 4],
        [
          [2, 3, 4],
          [2, 3, 4],
        ],
      ),
    ).toEqual({ sizes: [24], strides: [[1], [1]] });
  });

  test('a repeated middle axis stays apart', () => {
    expect(
      mergeAxes(
        [2, 5, 3],
        [
          [2, 5, 3],
          [2, 1, 3],
        ],
      ),
    ).toEqual({
      sizes: [3, 5, 2],
      strides: [
        [1, 3, 15],
        [1, 0, 3],
      ],
    });
  });

  test('a repeated channel merges the pixels', () => {
    expect(
      mergeAxes(
        [2, 3, 4, 4],
        [
          [2, 3, 4, 4],
          [3, 1, 1],
        ],
      ),
    ).toEqual({
      sizes: [16, 3, 2],
      strides: [
        [1, 16, 48],
        [0, 1, 0],
      ],
    });
  });

  test('a single element has one axis', () => {
    expect(mergeAxes([1, 1], [[], [1, 1]])).toEqual({ sizes: [1], strides: [[0], [0]] });
  });

  test('more than five axes that do not merge are refused', () => {
    const a = [2, 1, 2, 1, 2, 1];
    const b = [1, 2, 1, 2, 1, 2];
    expect(() =>
      planElementwise([f32(...a), f32(...b)], { expression: 'a + b', output: f32(2, 2, 2, 2, 2, 2) }),
    ).toThrow('needs 6 axes');
  });
});
