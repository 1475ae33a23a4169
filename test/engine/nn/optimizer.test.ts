import { expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { AdamW, type AdamWOptions } from '../../../engine/nn/optimizer.js';
import { scope } from '../../../engine/tensor/scope.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { expectClose, random, testDevice, upload } from '../../check.js';
import { readRecorded } from '../../recorded_fixture.js';
import { adamW } from '../../references/optimizer.js';

const device = await testDevice();

type Nested = number | readonly Nested[];
interface Case {
  readonly name: string;
  readonly args: {
    readonly lr: number;
    readonly max_grad_norm: number;
    readonly weight_decay: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly init: readonly Nested[];
    readonly grads: readonly (readonly Nested[])[];
  };
  readonly total_norms: readonly number[];
  readonly params: readonly (readonly Nested[])[];
}
const flat = (values: Nested): number[] => [values].flat(9) as number[];
const fixture = readRecorded<{ readonly cases: readonly Case[] }>('grpo/adamw', {
  'cases.tol.abs': 'for double precision; parameters are f32',
});
const { cases } = fixture.value;

/** Rounding of a parameter of magnitude 4 in each of five steps. */
const parameterTolerance = 5 * 2 ** -22;
/** Relative rounding of a step: moments, root and quotient, a few roundings each. */
const stepTolerance = 2 ** -20;

/** Runs the optimizer over all steps and hands what is asked of it to `read`. */
async function train<R>(
  init: readonly ArrayLike<number>[],
  steps: readonly (readonly ArrayLike<number>[])[],
  options: AdamWOptions,
  read: (optimizer: AdamW, parameters: readonly Tensor[]) => Promise<R>,
): Promise<R> {
  const parameters = init.map((values) => tensor(device, values));
  const optimizer = new AdamW(parameters, options);
  try {
    for (const gradients of steps) scope(device, () => optimizer.step(gradients.map((g) => tensor(device, g))));
    return await read(optimizer, parameters);
  } finally {
    optimizer.dispose();
    for (const parameter of parameters) parameter.dispose();
  }
}

for (const { name, args, total_norms: norms, params } of cases) {
  test(`AdamW with clipping follows PyTorch: ${name}`, async () => {
    const { lr, betas, eps, weight_decay: weightDecay, max_grad_norm: maxGradNorm } = args;
    const options = { lr, betas, eps, weightDecay, maxGradNorm };
    const reference = args.init.map((values) => Float64Array.from(flat(values)));
    const gradients = args.grads.map((step) => step.map(flat));
    expectClose(adamW(reference, gradients, options), norms, 1e-12, 'reference norms');
    await train(args.init.map(flat), gradients, options, async (optimizer, parameters) => {
      expectClose([await optimizer.gradNorm.item()], [norms.at(-1)!], 1e-6, 'norm');
      expect(await optimizer.count.item()).toBe(norms.length);
      for (const [i, parameter] of parameters.entries()) {
        const expected = flat(params.at(-1)![i]!);
        expectClose(reference[i]!, expected, 1e-12, `reference parameter ${i}`);
        const actual = await parameter.data();
        for (const [k, value] of expected.entries()) {
          expect(Math.abs(actual[k]! - value), `parameter ${i} [${k}]`).toBeLessThan(parameterTolerance);
        }
      }
    });
  });
}

test('AdamW updates small parameters, of odd and of many elements, to the precision of their steps', async () => {
  const sizes = [40_004, 33_333, 1, 7];
  const init = sizes.map((size, i) => random([size], i, { low: -1e-3, high: 1e-3 }).data);
  const steps = [1, 2, 3].map((s) => sizes.map((size, i) => random([size], 10 * s + i).data));
  const options = { lr: 1e-2, betas: [0.9, 0.999] as const, eps: 1e-8, weightDecay: 0.1, maxGradNorm: 5 };
  const expected = init.map((values) => Float64Array.from(values));
  const norms = adamW(expected, steps, options);
  await train(init, steps, options, async (optimizer, parameters) => {
    expectClose([await optimizer.gradNorm.item()], [norms.at(-1)!], 1e-6, 'norm');
    for (const [i, parameter] of parameters.entries()) {
      expectClose(await parameter.data(), expected[i]!, stepTolerance, `parameter ${i}`);
    }
  });
});

test('AdamW keeps its bias correction exact in the first step and after 100,000', async () => {
  const corrected = async (count: number): Promise<number> => {
    const parameter = tensor(device, [0]);
    const optimizer = new AdamW([parameter], { lr: 1, weightDecay: 0, eps: 1e-30 });
    optimizer.count.write([count]);
    scope(device, () => optimizer.step([tensor(device, [3])]));
    const moved = await parameter.item();
    optimizer.dispose();
    parameter.dispose();
    return moved;
  };
  for (const count of [0, 1, 10, 150, 3000, 100_000]) {
    const step = count + 1;
    const expected = -(0.1 / (1 - 0.9 ** step)) * Math.sqrt((1 - 0.999 ** step) / 0.001);
    expectClose([await corrected(count)], [expected], stepTolerance, `step ${step}`);
  }
});

test('AdamW skips a step whose gradients are not finite, and says so in gradNorm', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const steps = [
      [[0.5, -1, 2], [1]],
      [[0.5, bad, 2], [1]],
    ];
    const init = [[1, 2, 3], [4]];
    const after = (count: number): Promise<number[][]> =>
      train(init, steps.slice(0, count), { maxGradNorm: 1 }, async (optimizer, parameters) => {
        expect(await optimizer.count.item()).toBe(1);
        expect(Number.isFinite(await optimizer.gradNorm.item())).toBe(count === 1);
        const state = [...parameters, ...optimizer.firstMoments, ...optimizer.secondMoments];
        return Promise.all(state.map(async (part) => [...(await part.data())]));
      });
    expect(await after(2)).toEqual(await after(1));
  }
});

test('a captured AdamW step replays the eager ones bit for bit, with a learning rate that changes', async () => {
  const gradients = [1, 2, 3].map((seed) => random([6], seed).data);
  const rates = [1e-2, 5e-3, 1e-3];
  const run = async (captured: boolean): Promise<number[]> => {
    const parameter = upload(device, random([6], 9));
    const gradient = tensor(device, new Float32Array(6));
    const optimizer = new AdamW([parameter], { maxGradNorm: 1 });
    const once = (): void => optimizer.step([gradient]);
    const step = captured ? await capture(device, once) : undefined;
    for (const [i, values] of gradients.entries()) {
      gradient.write(values);
      optimizer.lr.write([rates[i]!]);
      if (step) step.run();
      else once();
    }
    const result = [...(await parameter.data())];
    step?.dispose();
    optimizer.dispose();
    for (const made of [parameter, gradient]) made.dispose();
    return result;
  };
  expect(await run(true)).toEqual(await run(false));
});

test('AdamW resumes from its state tensors', async () => {
  const [first, second] = [random([5], 1).data, random([5], 2).data];
  const init = [random([5], 3).data];
  const whole = await train(init, [[first], [second]], {}, async (_, [parameter]) => [...(await parameter!.data())]);
  const saved = await train(init, [[first]], {}, async (optimizer, [parameter]) => {
    const state: Record<string, number[]> = {};
    for (const [name, part] of Object.entries(optimizer.stateTensors())) state[name] = [...(await part.data())];
    return { state, values: [...(await parameter!.data())] };
  });
  const resumed = await train([saved.values], [], {}, async (optimizer, [parameter]) => {
    for (const [name, part] of Object.entries(optimizer.stateTensors())) part.write(saved.state[name]!);
    scope(device, () => optimizer.step([tensor(device, second)]));
    return [...(await parameter!.data())];
  });
  expect(resumed).toEqual(whole);
});

test('AdamW refuses parameters, gradients and options that do not fit', () => {
  scope(device, () => {
    const parameter = tensor(device, [1, 2]);
    expect(() => new AdamW([])).toThrow('AdamW: expected at least one parameter');
    expect(() => new AdamW([tensor(device, [1], [1], 'u32')])).toThrow('parameter 0 is [1] u32, expected f32');
    expect(() => new AdamW([parameter, parameter.detach()])).toThrow('share their memory');
    expect(() => new AdamW([parameter], { betas: [0.9, 1] })).toThrow('betas [0.9,1] must lie between 0 and 1');
    const optimizer = new AdamW([parameter]);
    expect(() => optimizer.step([])).toThrow('AdamW: 0 gradients for 1 parameters');
    expect(() => optimizer.step([tensor(device, [1, 2, 3])])).toThrow('gradient 0 is [3] f32, its parameter [2] f32');
  });
});

fixture.done();
