// Attention by subgroup matrices, emulated by shuffles; that Dawn accepts the kernel as a GPU runs it is in subgroup_matrix.test.ts.
import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { forwardFlops } from '../../../engine/device/flops.js';
import { scope } from '../../../engine/tensor/scope.js';
import type { DType } from '../../../kernels/kernel.js';
import { type AttentionCase, inLayout, inputsOf, referenceOf, runOf } from '../../cases/attention.js';
import {
  type CheckOptions,
  checkBatchInvariance,
  checkForward,
  checkGradients,
  type Host,
  host,
  type Run,
  testDevice,
  unitRoundoff,
  upload,
  withFeatures,
} from '../../check.js';

const device = await testDevice();

const emulated = <R>(body: () => Promise<R>): Promise<R> => withFeatures(device, { subgroupMatrix: 'emulated' }, body);
const dtypesOf = (inputs: readonly Host[]): DType[] => inputs.map((_, i) => (i < 3 ? 'f16' : 'f32'));
const largest = ({ data }: Host): number => data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/**
 * The kernel rounds each weight p to f16, by a factor of 1 + d, |d| <= u, or where that is no normal number by 2^-25. The
 * largest p of a row is 1 or more, and their sum with it, so an output, sum(p v) / sum(p), is off by
 * u sum(p |v|) / sum(p) + 2^-25 sum |v|: the first is attention over |v|.
 */
function optionsOf(entry: AttentionCase, inputs: readonly Host[]): CheckOptions {
  const { queries, keys, headDim } = entry;
  const value = inputs[2]!;
  const magnitudes = inputs.with(2, host(value.shape, value.data.map(Math.abs)));
  const error = unitRoundoff.f16 * largest(referenceOf(entry)(...magnitudes)) + 2 ** -25 * keys * largest(value);
  return {
    terms: Math.max(queries, keys) + headDim,
    dtypes: dtypesOf(inputs),
    rounding: error / largest(referenceOf(entry)(...inputs)),
  };
}

const checkValue = (entry: AttentionCase, inputs: readonly Host[]): Promise<void> =>
  emulated(() => checkForward(device, runOf(entry), referenceOf(entry), inputs, optionsOf(entry, inputs)));

describe.skipIf(!device.features.f16 || !device.features.subgroups)('attention by subgroup matrices', () => {
  // Few variants of the kernel, as each takes seconds to compile: head dimensions 12 and 16 share one.
  const usual = { batch: 2, heads: 2, queries: 70, keys: 77, dtype: 'f16' } as const;
  const cases: readonly AttentionCase[] = [
    { name: 'a bias of keys, several tiles', ...usual, headDim: 16, bias: [2, 1, 1, 77] },
    { name: 'a bias of queries and keys, rows filled up', ...usual, headDim: 12, bias: [1, 2, 70, 77] },
    { name: 'an odd head dimension, several tiles', ...usual, headDim: 21, scale: 0.4 },
    { name: 'a causal mask, more keys', ...usual, headDim: 21, causal: true, keys: 101 },
    { name: 'a causal mask, more queries', ...usual, headDim: 21, causal: true, keys: 20 },
    { name: 'a single token', ...usual, headDim: 21, queries: 1, keys: 1 },
    { name: 'nine whole matrices across a row, short tiles', ...usual, headDim: 144, batch: 1, keys: 41 },
  ];
  test.each(cases)('agrees with double precision: $name', (entry) => checkValue(entry, inputsOf(entry)));

  /** Scores that grow from key to key, by up to 0.6: within a tile of 32 by less, or by more, than weights may grow. */
  const growing: AttentionCase = { name: '', ...usual, heads: 1, keys: 101, headDim: 16, bias: [1, 1, 70, 101] };
  const growth = host(
    growing.bias!,
    Float64Array.from({ length: 70 * 101 }, (_, i) => Math.fround((Math.floor(i / 101) / 70) * 0.6 * (i % 101))),
  );

  test('agrees with double precision where maxima grow from tile to tile', () =>
    checkValue(growing, inputsOf(growing).with(3, growth)));

  test('its maxima and sums give the right gradients', async () => {
    const inputs = inputsOf(growing).with(3, growth);
    const options = { ...optionsOf(growing, inputs), wrt: [0, 1, 2] };
    await emulated(() => checkGradients(device, runOf(growing), referenceOf(growing), inputs, options));
  });

  test('keys hidden by -1e9 weigh nothing, also where they come first', async () => {
    const hidden: AttentionCase = { name: '', ...usual, headDim: 16, bias: [2, 1, 1, 77] };
    const mask = Float64Array.from({ length: 2 * 77 }, (_, i) => ((i < 77 ? i < 40 : i > 100) ? -1e9 : 0));
    await checkValue(hidden, inputsOf(hidden).with(3, host([2, 1, 1, 77], mask)));
  });

  test('a row with every key at -3e38 is finite', async () => {
    const hidden: AttentionCase = { name: '', ...usual, headDim: 16, bias: [1, 1, 1, 77] };
    const inputs = inputsOf(hidden).with(3, host([1, 1, 1, 77], new Float64Array(77).fill(-3e38)));
    const values = await emulated(() => evaluate(runOf(hidden), inputs));
    expect(values.every(Number.isFinite)).toBe(true);
  });

  test('the value and the gradients of a sample do not depend on its batch', async () => {
    const entry: AttentionCase = { name: '', ...usual, batch: 3, headDim: 16, keys: 41, bias: [3, 1, 1, 41] };
    const inputs = inputsOf(entry);
    const options = { batched: [0, 1, 2, 3], wrt: [0, 1, 2], dtypes: dtypesOf(inputs) };
    await emulated(() => checkBatchInvariance(device, runOf(entry), inputs, options));
  });

  test('every layout makes the same bits', async () => {
    const entry: AttentionCase = { name: '', ...usual, heads: 3, headDim: 21, causal: true };
    const inputs = inputsOf(entry);
    await emulated(async () => {
      const expected = await evaluate(runOf(entry), inputs);
      expect(await evaluate(inLayout('BTHC', true), inputs)).toEqual(expected);
      expect(await evaluate(inLayout('TBHC', true), inputs)).toEqual(expected);
    });
  });

  test('is taken for f16, not for f32', async () => {
    const entry: AttentionCase = { name: '', ...usual, headDim: 16 };
    for (const [dtype, kernel] of [
      ['f16', 'attention_subgroup_matrix'],
      ['f32', 'attention'],
    ] as const) {
      const tensors = inputsOf(entry).map((input) => upload(device, input, dtype));
      const step = await emulated(() => capture(device, () => runOf()(...tensors)));
      expect(step.dispatches.map(({ plan }) => plan.kernel)).toEqual([kernel]);
      expect(forwardFlops(step.dispatches)).toBe(4 * 2 * 2 * 70 * 77 * 16);
      for (const thing of [step, ...tensors]) thing.dispose();
    }
  });
});

async function evaluate(run: Run, inputs: readonly Host[]): Promise<number[]> {
  const y = scope(device, () => run(...inputs.map((input, i) => upload(device, input, dtypesOf(inputs)[i]))));
  const values = Array.from(await y.data());
  y.dispose();
  return values;
}
