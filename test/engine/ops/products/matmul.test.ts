import { describe, expect, test } from 'vitest';
import { linear } from '../../../../engine/ops/products/linear.js';
import { matmul } from '../../../../engine/ops/products/matmul.js';
import { transpose } from '../../../../engine/ops/shape.js';
import { scope } from '../../../../engine/tensor/scope.js';
import { backward } from '../../../../engine/tensor/tape.js';
import { empty, type Tensor } from '../../../../engine/tensor/tensor.js';
import type { DType } from '../../../../kernels/kernel.js';
import type { MatmulKernel, MatmulTuning } from '../../../../kernels/matmul.js';
import { fullLinearCases, type LinearCase, linearCases, matmulCases } from '../../../cases/matmul.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  random,
  testDevice,
  upload,
} from '../../../check.js';
import * as reference from '../../../references/matmul.js';

const device = await testDevice();
const kernels = (['matmul_subgroup', 'matmul_tiled'] as const satisfies MatmulKernel[]).filter(
  (kernel) => kernel !== 'matmul_subgroup' || device.features.subgroups,
);

/** The inputs of a case, and how the op and its reference take them. */
function prepareLinear(
  { x, out, bias, activation, residual, gate, parts }: LinearCase,
  tuning?: MatmulTuning,
  weightType: DType = 'f32',
) {
  const inputs: Host[] = [random(x, 1), random([out, x.at(-1)!], 2, { dtype: weightType })];
  if (bias) inputs.push(random([out], 3));
  if (residual) inputs.push(random([...(parts ? [parts] : []), ...x.slice(0, -1), out / (parts ?? 1)], 4));
  if (gate) inputs.push(random([x[1]!, out], 5));
  // relu's kink: central differences need arguments away from 0, which a shift of the sums by the bias gives.
  if (activation === 'relu') inputs[2] = random([out], 3, { low: 20, high: 21 });
  const epilogue = <X>(given: readonly X[]) => {
    const rest = [...given];
    const next = (there: boolean | undefined): X | undefined => (there ? rest.shift() : undefined);
    return { bias: next(bias), residual: next(residual), gate: next(gate), activation, parts };
  };
  return {
    inputs,
    dtypes: ['f32', weightType, 'f32', 'f32', 'f32'] as const,
    terms: Math.max(x.at(-1)!, out, inputs[0]!.data.length / x.at(-1)!),
    run: (input: Tensor, weight: Tensor, ...rest: Tensor[]): Tensor => {
      const { bias: b, ...options } = epilogue(rest);
      return linear(input, weight, b ?? null, { ...options, tuning });
    },
    reference: (input: Host, weight: Host, ...rest: Host[]): Host => reference.linear(input, weight, epilogue(rest)),
  };
}

describe.each(kernels)('%s', (kernel) => {
  const tuning = { kernel };

  for (const { name, a, b, ...transposes } of matmulCases) {
    test(`matmul of ${name} and its gradients agree with double precision`, async () => {
      const options = { terms: Math.max(...a, ...b) };
      const inputs = [random(a, 1), random(b, 2)];
      const expected = (left: Host, right: Host): Host => reference.matmul(left, right, transposes);
      const run = (left: Tensor, right: Tensor): Tensor => matmul(left, right, { ...transposes, tuning });
      await checkForward(device, run, expected, inputs, options);
      await checkGradients(device, run, expected, inputs, options);
    });
  }

  for (const entry of fullLinearCases) {
    test(`linear with ${entry.name} and its gradients agree with double precision`, async () => {
      const { inputs, terms, run, reference: expected } = prepareLinear(entry, tuning);
      await checkForward(device, run, expected, inputs, { terms });
      await checkGradients(device, run, expected, inputs, { terms });
    });
  }

  test('linear reads f16 weights without shader-f16, in vectors and one by one', async () => {
    for (const entry of fullLinearCases.slice(0, kernel === 'matmul_subgroup' ? 2 : 1)) {
      const { inputs, dtypes, terms, run, reference: expected } = prepareLinear(entry, tuning, 'f16');
      await checkForward(device, run, expected, inputs, { terms, dtypes });
      await checkGradients(device, run, expected, inputs, { terms, dtypes, wrt: [0] });
    }
  });

  test('a row does not depend on the other rows, nor on its place in a tile', async () => {
    for (const entry of [
      { name: 'four wide', x: [5, 36], out: 40, bias: true, activation: 'gelu' },
      { name: 'odd', x: [5, 23], out: 9, bias: true },
    ] satisfies LinearCase[]) {
      const { inputs, run } = prepareLinear(entry, tuning);
      await checkBatchInvariance(device, run, inputs, { batched: [0] });
    }
    // The batch is the axis that is told apart, so it comes first outside.
    const gated = (x: Tensor, weight: Tensor, gate: Tensor): Tensor =>
      transpose(linear(transpose(x, 0, 1), weight, null, { gate, tuning }), 0, 1);
    await checkBatchInvariance(device, gated, [random([3, 11, 8], 1), random([12, 8], 2), random([3, 12], 3)], {
      batched: [0, 2],
    });
  });

  test('the value is the same bits with and without a gradient to come', async () => {
    for (const entry of fullLinearCases) {
      const { inputs, run } = prepareLinear(entry, tuning);
      const [without, along] = scope(device, () => {
        const tensors = inputs.map((input) => upload(device, input));
        const value = run(tensors[0]!, tensors[1]!, ...tensors.slice(2));
        for (const input of tensors) input.requireGrad();
        return [value, run(tensors[0]!, tensors[1]!, ...tensors.slice(2))] as const;
      });
      expect([...(await along.data())]).toEqual([...(await without.data())]);
      without.dispose();
      along.dispose();
    }
  });

  test('a matrix does not depend on the others of its batch', async () => {
    const run = (a: Tensor, b: Tensor): Tensor => matmul(a, b, { tuning });
    await checkBatchInvariance(device, run, [random([3, 19, 12], 1), random([3, 12, 36], 2)], { batched: [0, 1] });
    await checkBatchInvariance(device, run, [random([3, 19, 12], 1), random([12, 36], 2)], { batched: [0] });
  });

  test('more workgroups than a dimension allows', async () => {
    const rowsOfTile = kernel === 'matmul_tiled' ? 64 : 16;
    const x = random([rowsOfTile * 65_536 + 3, 1], 1);
    const y = scope(device, () => linear(upload(device, x), upload(device, random([1, 1], 2)), null, { tuning }));
    const actual = await y.data();
    y.dispose();
    const factor = random([1, 1], 2).data[0]!;
    let wrong = 0;
    for (let i = 0; i < actual.length; i++) if (actual[i] !== Math.fround(x.data[i]! * factor)) wrong++;
    expect(wrong).toBe(0);
  });
});

for (const entry of linearCases) {
  test(`linear with ${entry.name} and its gradients agree with double precision`, async () => {
    const { inputs, terms, run, reference: expected } = prepareLinear(entry);
    await checkForward(device, run, expected, inputs, { terms });
    await checkGradients(device, run, expected, inputs, { terms });
  });
}

test.skipIf(!device.features.f16)(
  'f16 inputs and weights have values and gradients of f16 (needs shader-f16)',
  async () => {
    const f16 = (shape: number[], seed: number): Host => random(shape, seed, { dtype: 'f16' });
    const dtypes = ['f16', 'f16', 'f16', 'f16'] as const;
    const layer = [f16([9, 12], 1), f16([20, 12], 2), f16([20], 3), f16([9, 20], 4)];
    const run = (x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor): Tensor =>
      linear(x, weight, bias, { activation: 'silu', residual });
    const expected = (x: Host, weight: Host, bias: Host, residual: Host): Host =>
      reference.linear(x, weight, { bias, activation: 'silu', residual });
    await checkGradients(device, run, expected, layer, { terms: 20, dtypes });
    const product = [f16([2, 3, 7], 1), f16([2, 7, 5], 2)];
    const multiply = (a: Tensor, b: Tensor): Tensor => matmul(a, b);
    const expectedProduct = (a: Host, b: Host): Host => reference.matmul(a, b);
    await checkForward(device, multiply, expectedProduct, product, { terms: 7, dtypes });
    await checkGradients(device, multiply, expectedProduct, product, { terms: 7, dtypes });
  },
);

test('a weight larger than a binding is bound in ranges, forward and backward', async () => {
  const odd: LinearCase = { name: 'odd', x: [6, 5], out: 45, bias: true, activation: 'silu', residual: true };
  for (const [entry, weightType] of [
    [{ ...odd, x: [6, 8], out: 52 }, 'f32'],
    [odd, 'f16'],
    [{ name: 'gate', x: [3, 2, 8], out: 52, gate: true, residual: true }, 'f32'],
    [{ ...odd, x: [6, 8], out: 72, parts: 3 }, 'f32'],
  ] as [LinearCase, 'f32' | 'f16'][]) {
    const rowBytes = entry.x.at(-1)! * (weightType === 'f16' ? 2 : 4);
    const tuning = { bindingBytes: Math.max(16 * rowBytes, 4 * device.offsetAlignment) };
    const { inputs, dtypes, terms, run, reference: expected } = prepareLinear(entry, tuning, weightType);
    await checkForward(device, run, expected, inputs, { terms, dtypes });
    const wrt = weightType === 'f32' ? inputs.map((_, i) => i) : [0];
    await checkGradients(device, run, expected, inputs, { terms, dtypes, wrt });
  }
});

test('gradients of frozen inputs are not computed', async () => {
  const [x, weight, dy] = [random([6, 8], 1), random([4, 8], 2), random([6, 4], 3)];
  const gradient = scope(device, () => {
    const [input, frozen] = [upload(device, x).requireGrad(), upload(device, weight)];
    return backward(linear(input, frozen), [input], { seed: upload(device, dy) })[0]!;
  });
  const values = await gradient.data();
  gradient.dispose();
  expectClose(values, reference.matmul(dy, weight).data, 1e-6, 'dx');
});

describe('refused inputs', () => {
  const make = (shape: number[], dtype: DType = 'f32'): Tensor => empty(device, shape, dtype);
  const refuses = (run: () => Tensor, message: string): void => {
    expect(() => scope(device, run)).toThrow(message);
  };

  test('matmul names both shapes when inner dimensions differ', () => {
    refuses(
      () => matmul(make([8, 64, 320]), make([768, 320])),
      'matmul: inner dimensions differ: a is [8, 64, 320], b is [768, 320]; expected b [..., 320, n]',
    );
    refuses(
      () => matmul(make([4, 5]), make([6, 5]), { transposeA: true, transposeB: true }),
      'matmul: inner dimensions differ: a is [4, 5] transposed, b is [6, 5] transposed; expected b [..., n, 4]',
    );
  });

  test('matmul refuses vectors, integers and batches that do not broadcast', () => {
    refuses(() => matmul(make([4]), make([4, 2])), 'matmul: expected at least 2 axes: a is [4], b is [4, 2]');
    refuses(
      () => matmul(make([2, 4], 'u32'), make([4, 2])),
      'matmul: expected f32 or f16: a is [2, 4] u32, b is [4, 2] f32',
    );
    refuses(() => matmul(make([2, 3, 4]), make([3, 4, 2])), 'matmul: shapes [2] and [3] do not broadcast');
  });

  test('linear names what does not fit', () => {
    const [x, weight] = [() => make([2, 8]), () => make([4, 8])];
    refuses(
      () => linear(make([2, 7]), weight()),
      'linear: inner dimensions differ: x is [2, 7], weight is [out 4, in 8]; expected x [..., 8]',
    );
    refuses(() => linear(x(), weight(), make([5])), 'linear: bias is [5] f32; expected [4]');
    refuses(
      () => linear(x(), weight(), null, { residual: make([2, 5]) }),
      'linear: residual is [2, 5] f32; expected [2, 4] f32',
    );
    refuses(() => linear(x(), make([8])), 'linear: expected 2 axes, found 1: [8]');
    refuses(
      () => linear(x(), weight(), null, { gate: make([2, 4]) }),
      'linear: gate is [2, 4] f32; expected [B, out] f32 for y [T, B, out], found y [2, 4]',
    );
    refuses(
      () => linear(make([3, 2, 8]), weight(), null, { gate: make([2, 4]), activation: 'silu' }),
      'linear: a gate beside an activation or parts; expected it alone',
    );
    refuses(
      () => linear(make([3, 2, 8]), make([6, 8]), null, { gate: make([2, 6]), parts: 2 }),
      'linear: a gate beside an activation or parts; expected it alone',
    );
    refuses(() => linear(x(), weight(), null, { parts: 3 }), 'linear: 4 columns do not divide into 3 parts');
  });
});
