import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { attention } from '../../../engine/ops/attention.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import type { Tensor } from '../../../engine/tensor/tensor.js';
import { type AttentionCase, attentionCases, inLayout, inputsOf, referenceOf, runOf } from '../../cases/attention.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  host,
  type Run,
  random,
  testDevice,
  tolerance,
  upload,
  withFeatures,
} from '../../check.js';

const device = await testDevice();

async function checkCase(entry: AttentionCase): Promise<void> {
  const { queries, keys, headDim, dtype = 'f32' } = entry;
  const inputs = inputsOf(entry);
  const dtypes = inputs.map((_, i) => (i < 3 ? dtype : 'f32'));
  const options = { terms: Math.max(queries, keys) + headDim, dtypes };
  await checkForward(device, runOf(entry), referenceOf(entry), inputs, options);
  await checkGradients(device, runOf(entry), referenceOf(entry), inputs, { ...options, wrt: [0, 1, 2] });
}

describe('values and gradients agree with double precision', () => {
  for (const entry of attentionCases) {
    const skip = entry.dtype === 'f16' && !device.features.f16;
    test.skipIf(skip)(`with ${entry.name}${skip ? ' (needs shader-f16)' : ''}`, () => checkCase(entry));
  }

  const small: AttentionCase = {
    name: '',
    batch: 2,
    heads: 2,
    queries: 67,
    keys: 41,
    headDim: 12,
    bias: [2, 1, 1, 41],
  };
  test('without subgroup operations', () =>
    withFeatures(device, { subgroups: false, subgroupSize: 0 }, () => checkCase(small)));
  test.skipIf(!device.features.subgroups)('with four lanes to a tile (needs subgroups)', () =>
    withFeatures(device, { subgroupSize: 4 }, () => checkCase(small)),
  );
});

describe('the value of a sample does not depend on its batch', () => {
  for (const name of ['head dimension 8', 'a causal mask', 'a bias by key']) {
    test(`with ${name}`, async () => {
      const entry = attentionCases.find((other) => other.name === name)!;
      await checkBatchInvariance(
        device,
        runOf(entry),
        inputsOf({ ...entry, batch: 3, ...(entry.bias && { bias: [3, 1, 1, entry.keys] }) }),
        {
          batched: entry.bias ? [0, 1, 2, 3] : [0, 1, 2],
          wrt: [0, 1, 2],
        },
      );
    });
  }
});

/** The output and the gradients of sum(output * dy) to query, key and value. */
async function evaluate(inputs: readonly Host[], dy: Host): Promise<ArrayLike<number>[]> {
  const results = scope(device, () => {
    const tensors = inputs.map((input) => upload(device, input));
    const wrt = tensors.slice(0, 3).map((tensor) => tensor.requireGrad());
    const output = runOf()(...tensors);
    return [output, ...backward(output, wrt, { seed: upload(device, dy) })];
  });
  const values: ArrayLike<number>[] = [];
  for (const result of results) {
    values.push(await result.data());
    result.dispose();
  }
  return values;
}

describe('masks of large negative numbers', () => {
  const entry = { name: '', batch: 2, heads: 1, queries: 5, keys: 37, headDim: 8, bias: [2, 1, 1, 37] } as const;
  const dy = random([2, 1, 5, 8], 9);

  for (const masked of [-1e9, -3e38]) {
    test(`${masked} hides keys as if they were not there`, async () => {
      const inputs = inputsOf(entry);
      inputs[3] = host(
        entry.bias,
        Float64Array.from({ length: 74 }, (_, i) => (i % 37 < 30 ? 0 : masked)),
      );
      const shown = inputs.slice(0, 3).map((input, i) => (i === 0 ? input : firstKeys(input, 30)));
      const [output, dQuery, dKey, dValue] = await evaluate(inputs, dy);
      const expected = await evaluate(shown, dy);
      expectClose(output!, expected[0]!, tolerance('f32', 37), 'value');
      expectClose(dQuery!, expected[1]!, tolerance('f32', 37), 'gradient of the query');
      for (const gradient of [dKey!, dValue!]) {
        const hidden = firstKeys(host([2, 1, 37, 8], gradient), 37).data.filter((_, i) => (i >> 3) % 37 >= 30);
        expect(Math.max(...hidden.map(Math.abs))).toBeLessThan(1e-30);
      }
    });

    test(`a row with every key at ${masked} is finite, and so are its gradients`, async () => {
      const inputs = inputsOf(entry);
      inputs[3] = host(
        entry.bias,
        Float64Array.from({ length: 74 }, (_, i) => (i < 37 ? masked : 0)),
      );
      const results = await evaluate(inputs, dy);
      for (const values of results) expect(Array.from(values).every(Number.isFinite)).toBe(true);
      if (masked > -1e30) return;
      // Beside -3e38 no score is left: all keys weigh the same, also in the gradient of the value.
      const row = inputs[2]!.data.subarray(0, 37 * 8);
      const mean = Float64Array.from(
        { length: 8 },
        (_, d) => row.reduce((sum, x, i) => sum + (i % 8 === d ? x : 0), 0) / 37,
      );
      expectClose(Array.from(results[0]!).slice(0, 8), mean, tolerance('f32', 37), 'mean of the values');
      const share = Float64Array.from(
        { length: 8 },
        (_, d) => [0, 1, 2, 3, 4].reduce((sum, i) => sum + dy.data[8 * i + d]!, 0) / 37,
      );
      expectClose(Array.from(results[3]!).slice(0, 8), share, tolerance('f32', 37), 'gradient of a value');
    });
  }
});

/** The first keys of [B, H, keys, D], with one head. */
function firstKeys({ shape, data }: Host, count: number): Host {
  const [batch, heads, keys, headDim] = shape as [number, number, number, number];
  const kept = Array.from(data).filter((_, i) => Math.floor(i / headDim) % keys < count);
  return host([batch, heads, count, headDim], kept);
}

test('scores of ten thousand stay finite and pick the largest', async () => {
  const inputs = [random([1, 1, 9, 8], 1), random([1, 1, 40, 8], 2), random([1, 1, 40, 8], 3)].map((input, i) =>
    i < 2
      ? host(
          input.shape,
          input.data.map((x) => Math.fround(100 * x)),
        )
      : input,
  );
  const results = await evaluate(inputs, random([1, 1, 9, 8], 4));
  for (const values of results) expect(Array.from(values).every(Number.isFinite)).toBe(true);
  expectClose(results[0]!, referenceOf()(...inputs).data, 2e-3, 'value'); // a score of 1e4 is known to 1e-3
});

test('more than 65,535 workgroups are spread over two dimensions', async () => {
  const heads = 65_540;
  const inputs = [random([1, heads, 1, 4], 1), random([1, heads, 2, 4], 2), random([1, heads, 2, 4], 3)];
  await checkForward(device, runOf(), referenceOf(), inputs, { terms: 8 });
});

test('a captured step gives the bits of eager work', async () => {
  const entry = attentionCases.find(({ name }) => name === 'head dimension 8')!;
  const inputs = inputsOf(entry);
  const eager = scope(device, () => runOf(entry)(...inputs.map((input) => upload(device, input))));
  const expected = await eager.data();
  eager.dispose();
  const tensors = inputs.map((input) => upload(device, input));
  const step = await capture(device, () => runOf(entry)(...tensors));
  step.run();
  expect(await step.outputs.data()).toEqual(expected);
  step.dispose();
  for (const tensor of tensors) tensor.dispose();
});

test.each<{ name: string; causal: boolean; bias: AttentionCase['bias'] | null }>([
  { name: 'no bias', causal: false, bias: null },
  { name: 'causal, a bias of keys', causal: true, bias: [2, 1, 1, 37] },
  { name: 'a bias of queries and keys', causal: false, bias: [1, 3, 21, 37] },
])('every layout makes the same bits: $name', async ({ name, causal, bias }) => {
  const shape = { name, batch: 2, heads: 3, queries: 21, keys: 37, headDim: 12 };
  const inputs = inputsOf({ ...shape, causal, ...(bias && { bias }) });
  const bitsOf = async (run: Run): Promise<unknown[]> => {
    const tensors = inputs.map((input) => upload(device, input));
    const wrt = tensors.slice(0, 3).map((tensor) => tensor.requireGrad());
    const made = scope(device, () => {
      const y = run(...tensors);
      return [y, ...backward(y, wrt, { seed: tensors[0]! })];
    });
    const bits = await Promise.all(made.map((tensor) => tensor.data()));
    for (const tensor of [...made, ...tensors]) tensor.dispose();
    return bits;
  };
  const expected = await bitsOf(runOf({ causal }));
  expect(await bitsOf(inLayout('BTHC', causal))).toEqual(expected);
  expect(await bitsOf(inLayout('TBHC', causal))).toEqual(expected);
});

test('gradients of frozen inputs are not computed', async () => {
  const [query, key, value] = inputsOf({ name: '', batch: 1, heads: 1, queries: 4, keys: 4, headDim: 8 }).map((input) =>
    upload(device, input),
  ) as [Tensor, Tensor, Tensor];
  query.requireGrad();
  const step = await capture(device, () => backward(attention(query, key, value), [query], { seed: value }));
  expect(step.dispatches.map(({ plan }) => plan.kernel)).toEqual([
    'attention',
    'attention_delta',
    'attention_query_grad',
  ]);
  step.dispose();
  for (const tensor of [query, key, value]) tensor.dispose();
});

describe('refused by name', () => {
  const zeros = (...shape: number[]): Tensor =>
    upload(device, host(shape, new Float64Array(shape.reduce((a, b) => a * b))));
  const refuse = (message: string, body: () => unknown): void => {
    expect(() => scope(device, body)).toThrow(message);
  };

  test('shapes that do not fit', () => {
    refuse('attention: query is [1, 2, 3, 8], key [1, 2, 5, 4]; expected key [1, 2, 5, 8]', () =>
      attention(zeros(1, 2, 3, 8), zeros(1, 2, 5, 4), zeros(1, 2, 5, 8)),
    );
    refuse('attention: query is [1, 2, 3, 8], value [1, 2, 4, 8]; expected value [1, 2, 5, 8]', () =>
      attention(zeros(1, 2, 3, 8), zeros(1, 2, 5, 8), zeros(1, 2, 4, 8)),
    );
    refuse('attention: query is [1, 3, 2, 8], key [1, 2, 5, 8]; expected key [1, 2, 2, 8]', () => {
      const x = zeros(1, 2, 5, 8);
      return attention(zeros(1, 3, 2, 8), x, x, { layout: 'BTHC' });
    });
    refuse('attention: expected 4 axes, found 3', () => attention(zeros(2, 3, 8), zeros(2, 3, 8), zeros(2, 3, 8)));
    refuse('attention: head dimension 161; expected 1 to 160', () => {
      const x = zeros(1, 1, 1, 161);
      return attention(x, x, x);
    });
  });

  test('a bias of another shape', () => {
    const x = zeros(1, 2, 3, 8);
    refuse('attention: bias is [1, 2, 3, 4]; expected [1 or 1, 2 or 1, 3 or 1, 3], as scores are [1, 2, 3, 3]', () =>
      attention(x, x, x, { bias: zeros(1, 2, 3, 4) }),
    );
    scope(device, () => x.dispose());
  });

  test('a gradient for the bias', () => {
    refuse('attention has no gradient for its input 3 ([1, 1, 1, 3] f32)', () => {
      const x = zeros(1, 2, 3, 8);
      const bias = zeros(1, 1, 1, 3).requireGrad();
      return backward(attention(x, x, x, { bias }), [bias], { seed: x });
    });
  });
});
