/** Every op against PyTorch in float64: values and gradients, from the fixtures of test/reference/make_op_fixtures.py. */
import { describe, expect, test } from 'vitest';
import * as engine from '../../engine/index.js';
import { backward, scope, type Tensor } from '../../engine/index.js';
import { expectClose, testDevice, tolerance } from '../check.js';
import { type Fixture, fillArguments, fixtureTensor, type OpCase, readFixture, upload } from '../fixtures.js';

const families = [
  'elementwise',
  'reduce',
  'softmax',
  'matmul',
  'linear',
  'conv2d',
  'resample',
  'norm',
  'attention',
  'shape',
  'loss',
  'optimizer',
];

type Op = (...args: readonly unknown[]) => Tensor | readonly Tensor[];

/** The cases whose subject is a class: parameters, what arrives in each step, options; returns the final values. */
const classes: Record<string, (values: Tensor[], steps: Tensor[][], options: never) => readonly Tensor[]> = {
  adamW: (parameters, steps, options: engine.AdamWOptions) => {
    const optimizer = new engine.AdamW(parameters, options);
    for (const gradients of steps) optimizer.step(gradients);
    return parameters;
  },
  ema: (parameters, steps, options: engine.EMAOptions) => {
    const ema = new engine.EMA(parameters, options);
    for (const values of steps) {
      new engine.EMA(values, options).copyTo(parameters); // fresh averages are copies
      ema.update();
    }
    return ema.averages;
  },
};

const device = await testDevice();

for (const family of families) {
  const fixture = await readFixture(family);
  describe(family, () => {
    for (const opCase of JSON.parse(fixture.metadata.cases!) as OpCase[]) {
      test(`${opCase.op}: ${opCase.name} equals PyTorch`, () => checkCase(fixture, opCase));
    }
  });
}

async function checkCase(fixture: Fixture, opCase: OpCase): Promise<void> {
  const op = (classes[opCase.op] ?? (engine as Record<string, unknown>)[opCase.op]) as Op | undefined;
  if (!op) throw new Error(`engine/index.ts exports no ${opCase.op}`);
  const gradientKeys = Object.entries(opCase.gradients);
  const { outputs, gradients } = scope(device, () => {
    const { filled, inputs } = fillArguments(opCase.args, (key) => {
      const input = upload(device, fixture, key);
      return key in opCase.gradients ? input.requireGrad() : input;
    });
    const result = op(...filled);
    const outputs = Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
    const seeds = opCase.seeds.map((key) => upload(device, fixture, key));
    const wrt = gradientKeys.map(([key]) => inputs.get(key)!);
    return { outputs: [...outputs], gradients: wrt.length > 0 ? gradientsOf(outputs, seeds, wrt) : [] };
  });

  expect(outputs.length, 'number of outputs').toBe(opCase.outputs.length);
  for (const [i, output] of outputs.entries()) {
    await compare(output, fixture, opCase.outputs[i]!, `output ${i}`, opCase.terms);
  }
  for (const [i, gradient] of gradients.entries()) {
    const [input, key] = gradientKeys[i]!;
    await compare(gradient, fixture, key, `gradient of ${input}`, opCase.terms);
  }
  for (const made of [...outputs, ...gradients]) made.dispose();
}

/** Gradients of the sum of every output times its seed. */
function gradientsOf(outputs: readonly Tensor[], seeds: readonly Tensor[], wrt: readonly Tensor[]): Tensor[] {
  if (outputs.length === 1) return backward(outputs[0]!, wrt, { seed: seeds[0]! });
  const terms = outputs.map((output, i) => engine.sum(engine.mul(output, seeds[i]!)));
  return backward(terms.reduce(engine.add), wrt);
}

async function compare(actual: Tensor, fixture: Fixture, key: string, what: string, terms: number): Promise<void> {
  const expected = fixtureTensor(fixture, key);
  expect(actual.shape, `shape of ${what}`).toEqual(expected.shape);
  expect(actual.dtype, `dtype of ${what}`).toBe(expected.dtype);
  const relative = actual.dtype === 'u32' ? 0 : tolerance(actual.dtype, terms);
  expectClose(await actual.data(), expected.values, relative, what);
}
