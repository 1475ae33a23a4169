/**
 * NaN, infinities, zeros with a sign, subnormals, the ends of f32 and f16, and numbers outside a function's domain: every op gives
 * what PyTorch gives in float32, values and gradients, from the fixture of test/reference/make_special_fixtures.py.
 *
 * A device may take subnormals for zeros, in inputs and results alike (WGSL, section 15.7.2): an element equals PyTorch's for
 * the inputs as they are, or for the inputs so flushed, and a subnormal equals zero.
 */
import { describe, expect, test } from 'vitest';
import * as engine from '../../engine/index.js';
import { backward, ones, scope, type Tensor } from '../../engine/index.js';
import type { DType } from '../../kernels/kernel.js';
import { testDevice, withFeatures } from '../check.js';
import { type Fixture, fillArguments, fixtureTensor, type OpCase, readFixture, upload } from '../fixtures.js';

type Op = (...args: readonly unknown[]) => Tensor;
interface SpecialCase extends OpCase {
  readonly file: 'elementwise' | 'reduce' | 'norm' | 'products';
}

const device = await testDevice();
const fixture = await readFixture('special');
const cases = JSON.parse(fixture.metadata.cases!) as SpecialCase[];
const flushed = JSON.parse(fixture.metadata.flushed!) as Record<string, string>;

const smallestNormal: Partial<Record<DType, number>> = { f32: 2 ** -126, f16: 2 ** -14 };

/** Rounding: relative to the element itself where it is no sum, so that small results among large ones are seen. */
const bounds = {
  elementwise: { relative: 2e-5, absolute: 0 },
  reduce: { relative: 1e-5, absolute: 1e-5 },
  norm: { relative: 1e-4, absolute: 1e-5 },
  products: { relative: 1e-4, absolute: 1e-5 },
} as const;

/** Ops that keep the sign of a zero; WGSL lets it go, and no other op promises it. */
const keepsSignOfZero = new Set(['neg', 'abs', 'where', 'cast']);

const named = (each: SpecialCase): [string, boolean] => {
  const halves = [...each.outputs, ...keysOf(each.args)].some((key) => fixtureTensor(fixture, key).dtype === 'f16');
  return [`${each.name}${halves ? ' (needs shader-f16)' : ''}`, halves && !device.features.f16];
};

for (const file of ['elementwise', 'reduce', 'norm', 'products'] as const) {
  const own = cases.filter((each) => each.file === file);
  describe(file, () => {
    for (const each of own) {
      const [name, skipped] = named(each);
      test.skipIf(skipped)(name, () => checkCase(fixture, each));
    }
  });
  if (file === 'elementwise' || !device.features.software) continue; // as planned anyway
  describe(`${file}, as planned for a GPU without subgroups`, () => {
    for (const each of own) {
      const features = { software: false, subgroups: false };
      test(each.name, () => withFeatures(device, features, () => checkCase(fixture, each)));
    }
  });
}

async function checkCase(fixture: Fixture, each: SpecialCase): Promise<void> {
  const op = (engine as Record<string, unknown>)[each.op] as Op;
  const results = scope(device, () => {
    const { filled, inputs } = fillArguments(each.args, (key) => {
      const input = upload(device, fixture, key);
      return key in each.gradients ? input.requireGrad() : input;
    });
    const y = op(...filled);
    const wrt = Object.keys(each.gradients).map((key) => inputs.get(key)!);
    const seed = ones(device, y.shape, y.dtype);
    return [y, ...(wrt.length > 0 ? backward(y, wrt, { seed }) : [])];
  });
  const problems: string[] = [];
  const keys = [each.outputs[0]!, ...Object.values(each.gradients)];
  for (const [i, key] of keys.entries()) {
    const actual = results[i]!;
    expect(actual.dtype).toBe(fixtureTensor(fixture, key).dtype);
    problems.push(
      ...differences(await actual.data(), key, each).map((text) => `${i === 0 ? 'value' : `gradient ${i}`} ${text}`),
    );
  }
  for (const result of new Set(results)) result.dispose(); // the gradients of a sum are one tensor
  expect(problems, problems.slice(0, 60).join('\n')).toEqual([]);
}

/** Says which elements are what PyTorch gives neither for the inputs as they are nor for flushed ones. */
function differences(actual: ArrayLike<number>, key: string, each: SpecialCase): string[] {
  const { values, dtype, shape } = fixtureTensor(fixture, key);
  const other = fixtureTensor(fixture, flushed[key] ?? key).values;
  expect(actual.length).toBe(values.length);
  const inputs = keysOf(each.args).map((name) => fixtureTensor(fixture, name));
  return Array.from(values).flatMap((expected, i) => {
    const found = actual[i]!;
    if (agrees(found, expected, dtype, each) || agrees(found, other[i]!, dtype, each)) return [];
    const at = inputs
      .map((input) => (input.values.length === values.length ? show(input.values[i]!) : '...'))
      .join(', ');
    return [`${i} of [${shape}] (${at}) is ${show(found)}, expected ${show(expected)}`];
  });
}

const show = (value: number): string => (Object.is(value, -0) ? '-0' : `${value}`);

function agrees(actual: number, expected: number, dtype: DType, { op, file }: SpecialCase): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  if (!Number.isFinite(expected)) return actual === expected;
  const smallest = smallestNormal[dtype];
  if (!smallest) return actual === expected;
  const { relative, absolute } = bounds[file];
  if (expected === 0 && actual === 0) return !keepsSignOfZero.has(op) || Object.is(actual, expected);
  const allowed =
    (dtype === 'f16' ? 2 ** -10 : relative) * Math.abs(expected) + absolute + (op === 'pow' ? 2 ** 7 : 1) * smallest; // pow's gradient is a multiple of its value, which may be flushed
  return Math.abs(actual - expected) <= allowed;
}

/** Keys of the tensors among the arguments. */
function keysOf(args: readonly unknown[]): string[] {
  return args.flatMap((arg): string[] => {
    if (typeof arg !== 'object' || arg === null) return [];
    if ('tensor' in arg && typeof arg.tensor === 'string') return [arg.tensor];
    return keysOf(Object.values(arg));
  });
}
