/** The tiny reference models: weights and inputs by rule, expected outputs and gradients from PyTorch (test/fixtures/models). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Device } from '../../engine/device.js';
import { add, mul } from '../../engine/ops/elementwise.js';
import { sum } from '../../engine/ops/reduce.js';
import { scope } from '../../engine/scope.js';
import { backward } from '../../engine/tape.js';
import { type Tensor, tensor } from '../../engine/tensor.js';
import { packageRoot } from '../../kernels/kernel.js';
import type { Parameter } from '../../models/parameters.js';
import { expectClose } from '../check.js';

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
  /** By weight: L2 norm, sum, first and second element of the gradient. */
  readonly grad: Readonly<Record<string, readonly [number, number, number, number]>>;
  readonly grad_in: Readonly<Record<string, readonly number[]>>;
}

const read = (...path: string[]): unknown =>
  JSON.parse(readFileSync(join(packageRoot(), 'test', 'fixtures', 'models', ...path), 'utf8'));

/** The expected values of a tiny model. */
export const readGolden = (name: string): Golden => read('golden', `${name}.json`) as Golden;

/** Its config.json, without our own notes. */
export function readConfig(name: string): Record<string, unknown> {
  const config = read('configs', `${name}.json`) as Record<string, unknown>;
  return Object.fromEntries(Object.entries(config).filter(([key]) => !key.startsWith('_')));
}

/** The name and shape of every tensor of its state dict. */
export const readShapes = (name: string): Record<string, number[]> =>
  read('shapes', `${name}.json`) as Record<string, number[]>;

/** `count` numbers in [-0.5, 0.5) that a name stands for: a linear congruential generator seeded with its FNV-1a hash. */
export function stream(name: string, count: number): Float64Array {
  let state = 2166136261;
  for (const byte of new TextEncoder().encode(name)) state = Math.imul(state ^ byte, 16777619) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 16777216 - 0.5;
  });
}

const plainNames = [
  'token_embedding.weight',
  'position_embedding.weight',
  'embedding_table.weight',
  'shared.weight',
  'embed_tokens.weight',
  'relative_attention_bias.weight',
  'class_embedding',
  'word_embeddings.weight',
  'position_embeddings.weight',
  'cls_token',
  'pos_embed',
]; // prettier-ignore

/** The value of a weight by the rule of the reference files. */
export function weightByRule(name: string, shape: readonly number[]): Float64Array {
  const u = stream(
    name,
    shape.reduce((product, n) => product * n, 1),
  );
  if (name === 'logit_scale') return u.map(() => 2.6592);
  if (plainNames.some((end) => name.endsWith(end))) return u;
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  if (shape.length >= 2) return u.map((value) => 2 * value * Math.sqrt(3 / fanIn));
  return name.endsWith('weight') ? u.map((value) => 1 + 0.2 * value) : u.map((value) => 0.2 * value);
}

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

/** Relative to the largest value: 1e-5, the bound every model is held to in f32. */
export const modelTolerance = 1e-5;

export interface GoldenRun {
  /** Weights of the model, all of them. */
  readonly parameters: readonly Parameter[];
  /** Inputs by name, made before. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** The outputs by the golden names. */
  readonly run: () => Readonly<Record<string, Tensor>>;
  readonly tolerance?: number;
}

/** Checks every output of a golden file. */
export async function checkGoldenOutputs(
  device: Device,
  golden: Golden,
  { run, tolerance = modelTolerance }: GoldenRun,
): Promise<void> {
  const outputs = scope(device, () => run());
  for (const [name, { shape, data }] of Object.entries(golden.out)) {
    const output = outputs[name];
    expect(output, `output ${name}`).toBeDefined();
    expect(output!.shape, `shape of ${name}`).toEqual(shape);
    expectClose(await output!.data(), data, tolerance, name);
  }
  for (const output of Object.values(outputs)) output.dispose();
}

/**
 * Checks the gradients of loss = sum over loss terms of sum(out * r): to the inputs element by element, to the weights by
 * norm, sum and first elements, relative to the norm.
 */
export async function checkGoldenGradients(
  device: Device,
  golden: Golden,
  { parameters, inputs, run, tolerance = modelTolerance }: GoldenRun,
): Promise<void> {
  const inputNames = Object.keys(golden.grad_in);
  const weights = parameters.filter(({ name }) => name in golden.grad);
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
    expectClose(await gradients[i]!.data(), golden.grad_in[name]!, tolerance, `gradient of input ${name}`);
  }
  for (const [i, { name }] of weights.entries()) {
    const values = Float64Array.from(await gradients[inputNames.length + i]!.data());
    const [norm, total, first, second] = golden.grad[name]!;
    // Zero but for rounding, as at a key's bias, which softmax does not see: measured by the gradient of the layer's weight.
    const vanishes = norm < 1e-12 && name.endsWith('.bias');
    const allowed = tolerance * Math.max(vanishes ? golden.grad[name.replace(/bias$/, 'weight')]![0] : norm, 1e-6);
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
  }
  for (const gradient of gradients) gradient.dispose();
}
