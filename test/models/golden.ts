/** The tiny reference models: weights and inputs by rule, expected outputs and gradients from PyTorch (test/fixtures/models). */
import { expect } from 'vitest';
import type { Device } from '../../engine/device/device.js';
import { add, mul } from '../../engine/ops/elementwise.js';
import { sum } from '../../engine/ops/reduce.js';
import { scope } from '../../engine/tensor/scope.js';
import { backward } from '../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../engine/tensor/tensor.js';
import type { Parameter } from '../../models/blocks/parameters.js';
import { expectClose } from '../check.js';
import { readModelFixture, stream, weightByRule } from './rule.js';

export { readConfig, readShapes, stream, weightByRule } from './rule.js';

interface GoldenInput {
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Values, or the name of the stream they come from. */
  readonly data: readonly number[] | string;
}

export interface Golden {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, GoldenInput>>;
  readonly out: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: readonly number[] }>>;
  readonly loss_terms: readonly string[];
  /** By weight, of its gradient: L2 norm, sum, first and second element, and the projection on 2 * stream(`p.${name}`). */
  readonly grad: Readonly<Record<string, readonly [number, number, number, number, number]>>;
  readonly grad_in: Readonly<Record<string, readonly number[]>>;
  /** How far PyTorch's own run in f32 is from this one: relative to the largest value, of weights the worst, by L2 norms. */
  readonly error32: {
    readonly out: Readonly<Record<string, number>>;
    readonly grad_in: Readonly<Record<string, number>>;
    readonly grad: number;
  };
}

/** The expected values of a tiny model. */
export const readGolden = (name: string): Golden => readModelFixture('golden', `${name}.json`) as Golden;

/** Fills declared weights by the rule; `given` overrides some of them. */
export function fillByRule(
  parameters: readonly Parameter[],
  given: Readonly<Record<string, readonly number[]>> = {},
): void {
  for (const { name, shape, tensor: weight } of parameters) weight.write(given[name] ?? weightByRule(name, shape));
}

/** An input of the reference, by name; integers become u32. */
export function goldenInput(device: Device, golden: Golden, name: string): Tensor {
  const { shape, dtype, data } = golden.inputs[name]!;
  const count = shape.reduce((product, n) => product * n, 1);
  const values = typeof data === 'string' ? stream(data, count).map((u) => 2 * Math.sqrt(3) * u) : data;
  return tensor(device, values, shape, dtype.startsWith('int') ? 'u32' : 'f32');
}

/** Relative to the largest value: the bound in f32 of what no error of PyTorch is known for. */
export const modelTolerance = 1e-5;

/** Ours may be this many times as far from the values in double precision as PyTorch's run in f32 is. */
const timesPyTorch = 2;

export interface GoldenRun {
  /** Weights of the model, all of them. */
  readonly parameters: readonly Parameter[];
  /** Inputs by name, made before. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** The outputs by the golden names. */
  readonly run: () => Readonly<Record<string, Tensor>>;
  /** Instead of twice the error of PyTorch: of all, or of each quantity by name, weights under `grad`. */
  readonly tolerance?: number | Readonly<Record<string, number>>;
}

/** What a quantity of a golden file may be off, relative to its largest value or norm. */
function allowedOf(name: string, error32: number, tolerance: GoldenRun['tolerance']): number {
  if (typeof tolerance === 'number') return tolerance;
  return tolerance?.[name] ?? timesPyTorch * error32;
}

/** Checks every output of a golden file. */
export async function checkGoldenOutputs(device: Device, golden: Golden, { run, tolerance }: GoldenRun): Promise<void> {
  const outputs = scope(device, () => run());
  for (const [name, { shape, data }] of Object.entries(golden.out)) {
    const output = outputs[name];
    expect(output, `output ${name}`).toBeDefined();
    expect(output!.shape, `shape of ${name}`).toEqual(shape);
    expectClose(await output!.data(), data, allowedOf(name, golden.error32.out[name]!, tolerance), name);
  }
  for (const output of Object.values(outputs)) output.dispose();
}

/**
 * Checks the gradients of loss = sum over loss terms of sum(out * r): to the inputs element by element, to the weights by
 * norm, sum, first elements and a random projection, relative to the norm.
 */
export async function checkGoldenGradients(
  device: Device,
  golden: Golden,
  { parameters, inputs, run, tolerance }: GoldenRun,
): Promise<void> {
  const inputNames = Object.keys(golden.grad_in);
  const weights = parameters.filter(({ name }) => name in golden.grad);
  expect(weights.map(({ name }) => name).sort(), 'weights with a gradient').toEqual(Object.keys(golden.grad).sort());
  for (const name of inputNames) inputs[name]!.requireGrad();
  for (const { tensor: weight } of weights) weight.requireGrad();
  const gradients = scope(device, () => {
    const outputs = run();
    const terms = golden.loss_terms.map((name) => {
      const output = outputs[name]!;
      const r = stream(`r.${name}`, output.size).map((u) => 2 * u);
      return sum(mul(output, tensor(device, r, output.shape)));
    });
    const loss = terms.reduce((total, term) => add(total, term));
    return backward(loss, [...inputNames.map((name) => inputs[name]!), ...weights.map(({ tensor: weight }) => weight)]);
  });
  for (const [i, name] of inputNames.entries()) {
    const allowed = allowedOf(name, golden.error32.grad_in[name]!, tolerance);
    expectClose(await gradients[i]!.data(), golden.grad_in[name]!, allowed, `gradient of input ${name}`);
  }
  const relative = allowedOf('grad', golden.error32.grad, tolerance);
  for (const [i, { name }] of weights.entries()) {
    const values = Float64Array.from(await gradients[inputNames.length + i]!.data());
    const [norm, total, first, second, projection] = golden.grad[name]!;
    // Zero but for rounding, as at a key's bias, which softmax does not see: measured by the gradient of the layer's weight.
    const vanishes = norm < 1e-12 && name.endsWith('.bias');
    const allowed = relative * Math.max(vanishes ? golden.grad[name.replace(/bias$/, 'weight')]![0] : norm, 1e-6);
    const off = (actual: number, expected: number, scale = 1): void =>
      expect(Math.abs(actual - expected), `gradient of ${name}: ${actual}, expected ${expected}`).toBeLessThanOrEqual(
        scale * allowed,
      );
    off(Math.sqrt(values.reduce((square, value) => square + value * value, 0)), norm);
    off(
      values.reduce((sumOf, value) => sumOf + value, 0),
      total,
      Math.sqrt(values.length),
    );
    off(values[0]!, first);
    if (values.length > 1) off(values[1]!, second);
    // Sees every element: an error of L2 norm e moves it by e / sqrt(3) in the root mean square, of which twice is allowed.
    const random = stream(`p.${name}`, values.length);
    off(
      values.reduce((sumOf, value, k) => sumOf + 2 * value * random[k]!, 0),
      projection,
      2 / Math.sqrt(3),
    );
  }
  for (const gradient of gradients) gradient.dispose();
}
