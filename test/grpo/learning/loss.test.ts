/** The policy loss and the divergence on the device against Flow-GRPO's own (test/fixtures/grpo: ppo_loss, flow_kl). */
import { describe, expect, test } from 'vitest';
import { backward, capture, scope, type Tensor, tensor } from '../../../engine/index.js';
import { klFactor, policyLoss, referenceKL } from '../../../grpo/learning/loss.js';
import { flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { ddimCoefficients, eulerCoefficients, flowSdeCoefficients } from '../../../grpo/sampling/step.js';
import { testDevice } from '../../check.js';
import { fixtureTensor, readFixture } from '../../fixtures.js';
import { readRecorded } from '../../recorded_fixture.js';

const device = await testDevice();

interface LossCase {
  readonly name: string;
  readonly args: {
    readonly clip_range: number;
    readonly adv_clip_max: number;
    readonly log_prob: readonly number[];
    readonly old_log_prob: readonly number[];
    readonly advantages: readonly number[];
  };
  readonly ratio: readonly number[];
  readonly policy_loss: number;
  readonly per_sample_loss?: readonly number[];
  readonly grad_log_prob: readonly number[];
  readonly approx_kl?: number;
  readonly clipfrac?: number;
  readonly clipfrac_gt_one?: number;
  readonly clipfrac_lt_one?: number;
  readonly tol: { readonly float32_abs?: number; readonly gradient?: 'skip' };
}

interface KLCase {
  readonly name: string;
  readonly args: {
    readonly T: number;
    readonly shift: number;
    readonly step_index: number;
    readonly sigma: number;
    readonly sigma_prev: number;
    readonly sigma_max: number;
    readonly noise_level: number;
  };
  readonly shape: readonly number[];
  /** What the noise of the step is, over the square root of the interval. */
  readonly std_dev_t: readonly number[];
  readonly kl_loss: number;
  readonly gaussian_kl_per_dim: number;
  readonly tol: { readonly kl_rel: number; readonly mean_abs: number; readonly grad_rel_to_max: number };
  readonly tensors: Readonly<Record<string, string>>;
}

const losses = readRecorded<{ readonly cases: readonly LossCase[] }>('grpo/ppo_loss', {
  'cases.tol.abs': 'for double precision; the loss is f32',
});
const divergences = readRecorded<{ readonly cases: readonly KLCase[]; readonly tensor_file: string }>('grpo/flow_kl');

/** The values of tensors, which are freed. */
async function read<K extends string>(tensors: Readonly<Record<K, Tensor>>): Promise<Record<K, number[]>> {
  const values: Partial<Record<K, number[]>> = {};
  for (const name in tensors) {
    values[name] = [...(await tensors[name].data())];
    tensors[name].dispose();
  }
  return values as Record<K, number[]>;
}

function expectWithin(actual: readonly number[], expected: readonly number[], allowed: number, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value), `${what} [${i}]: ${actual[i]}, not ${value}`).toBeLessThanOrEqual(allowed);
}

const clamped = (values: readonly number[], most: number): number[] =>
  values.map((value) => Math.min(Math.max(value, -most), most));

/** Loss, ratio, gradient and diagnostics of rows, with their shares where given. */
async function evaluate(
  logProb: readonly number[],
  oldLogProb: readonly number[],
  advantages: readonly number[],
  clip: number,
  shares?: readonly number[],
): Promise<Record<string, number[]>> {
  return read(
    scope(device, () => {
      const policy = tensor(device, logProb).requireGrad();
      const { loss, ratio, diagnostics } = policyLoss(policy, tensor(device, oldLogProb), tensor(device, advantages), {
        clip,
        ...(shares && { shares: tensor(device, shares) }),
      });
      return { loss, ratio, gradient: backward(loss, [policy])[0]!, ...diagnostics };
    }),
  );
}

describe('the clipped loss', () => {
  const { cases } = losses.value;
  test('there are as many cases as the reference has', () => expect(cases).toHaveLength(32));

  for (const expected of cases) {
    const { name, args, tol } = expected;
    test(name, async () => {
      const { clip_range, adv_clip_max, log_prob, old_log_prob, advantages } = args;
      // What the reference has in double precision is one difference here: an f32 difference of two f32 would be off by
      // their rounding, which the clip ranges of 5e-6 see.
      const difference = log_prob.map((value, i) => value - old_log_prob[i]!);
      const found = await evaluate(
        difference,
        difference.map(() => 0),
        clamped(advantages, adv_clip_max),
        clip_range,
      );
      // The tolerance is for values about 1; those above 1 round relative to their size.
      const allowed = (tol.float32_abs ?? 2e-6) * Math.max(1, ...expected.ratio);
      expectWithin(found.ratio!, expected.ratio, allowed, 'ratio');
      expectWithin(found.loss!, [expected.policy_loss], allowed, 'loss');
      if (tol.gradient === 'skip') return;
      for (const [i, loss] of expected.per_sample_loss!.entries()) {
        const alone = await evaluate([difference[i]!], [0], clamped([advantages[i]!], adv_clip_max), clip_range);
        expectWithin(alone.loss!, [loss], allowed * Math.max(1, Math.abs(loss)), `loss of row ${i}`);
      }
      expectWithin(found.gradient!, expected.grad_log_prob, allowed, 'gradient');
      expectWithin(found.approxKL!, [expected.approx_kl!], 1e-5 * expected.approx_kl!, 'approx_kl');
      expectWithin(found.clipFraction!, [expected.clipfrac!], 1e-6, 'clipfrac');
      expectWithin(found.clipFractionHigh!, [expected.clipfrac_gt_one!], 1e-6, 'clipfrac_gt_one');
      expectWithin(found.clipFractionLow!, [expected.clipfrac_lt_one!], 1e-6, 'clipfrac_lt_one');
      const deviation = Math.max(...expected.ratio.map((ratio) => Math.abs(ratio - 1)));
      expectWithin(found.ratioDeviation!, [deviation], 2e-7 + 1e-6 * deviation, 'ratio deviation');
    });
  }

  test('the policy that sampled has ratio 1 to the bit, gradient -A / N, and nothing clipped', async () => {
    const logProb = [-1.4189385, 0.33333334, -123.456, 5e-7];
    const advantages = [1.5, -0.25, 0, 5];
    const found = await evaluate(logProb, logProb, advantages, 1e-5);
    expect(found.ratio).toEqual([1, 1, 1, 1]);
    expect(found.gradient).toEqual([-0.375, 0.0625, -0, -1.25]);
    expect(found.ratioDeviation).toEqual([0]);
    expect([...found.clipFraction!, ...found.approxKL!]).toEqual([0, 0]);
  });

  test('a log probability that is NaN reaches the loss, its gradient and every measure of the ratios', async () => {
    for (const advantage of [1, -1, 0]) {
      const found = await evaluate([0.1, Number.NaN, -0.1], [0, 0, 0], [1, advantage, 1], 0.2);
      expect(found.ratio![1]).toBeNaN();
      expect(found.gradient!.map(Number.isNaN)).toEqual([false, true, false]);
      for (const name of ['loss', 'ratioDeviation', 'ratioMean', 'approxKL'])
        expect(found[name], name).toEqual([Number.NaN]);
    }
  });

  test('micro-batches with shares add up to the whole, and filling rows count for nothing', async () => {
    const logProb = [0.1, -0.2, 0.05, 0.3, -0.4];
    const old = [0, 0, 0, 0.1, -0.1];
    const advantages = [1, -1, 2, -0.5, 0.25];
    const whole = await evaluate(logProb, old, advantages, 0.2);
    const first = await evaluate(logProb.slice(0, 3), old.slice(0, 3), advantages.slice(0, 3), 0.2, [0.2, 0.2, 0.2]);
    const second = await evaluate(
      [...logProb.slice(3), 0.9],
      [...old.slice(3), 0],
      [...advantages.slice(3), 3],
      0.2,
      [0.2, 0.2, 0],
    );
    for (const name of ['loss', 'approxKL', 'clipFraction', 'clipFractionHigh', 'clipFractionLow', 'ratioMean'])
      expectWithin([first[name]![0]! + second[name]![0]!], whole[name]!, 1e-6, name);
    expectWithin([...first.gradient!, ...second.gradient!], [...whole.gradient!, 0], 1e-6, 'gradient');
  });

  test('a captured loss reads new log probabilities and advantages at each run', async () => {
    const parts = [
      [0.1, -0.2],
      [0, 0],
      [1, -1],
    ].map((values) => tensor(device, values)) as [Tensor, Tensor, Tensor];
    const step = await capture(device, () => {
      const { loss, ratio } = policyLoss(...parts, { clip: 0.15 });
      return { loss, ratio };
    });
    try {
      for (const values of [
        [
          [0.1, -0.2],
          [0, 0],
          [1, -1],
        ],
        [
          [0.3, 0.1],
          [0.3, 0.2],
          [-2, 0.5],
        ],
      ] as const) {
        values.forEach((row, i) => {
          parts[i]!.write(row);
        });
        step.run();
        const [loss, ratio] = [await step.outputs.loss.data(), await step.outputs.ratio.data()];
        const eager = await evaluate(values[0], values[1], values[2], 0.15);
        expect([...loss, ...ratio]).toEqual([...eager.loss!, ...eager.ratio!]);
      }
    } finally {
      for (const thing of [step, ...parts]) thing.dispose();
    }
  });

  test('shapes and clip ranges that make no sense are refused', () => {
    scope(device, () => {
      const [two, three] = [tensor(device, [1, 2]), tensor(device, [1, 2, 3])];
      expect(() => policyLoss(two, three, two, { clip: 0.1 })).toThrow(
        'policyLoss: oldLogProb is [3] f32, expected [2] f32',
      );
      expect(() => policyLoss(two, two, two, { clip: 0 })).toThrow('expected a clip range between 0 and 1, found 0');
    });
  });
});

describe('the divergence from the reference', async () => {
  const fixture = await readFixture(`grpo/${divergences.value.tensor_file.replace('.safetensors', '')}`);
  const { cases } = divergences.value;
  test('there are as many cases as the reference has', () => expect(cases).toHaveLength(10));

  for (const expected of cases) {
    const { name, args, shape, tol } = expected;
    test(name, async () => {
      const { sigma, sigma_prev: sigmaNext, sigma_max: sigmaMax, noise_level: noiseLevel } = args;
      const coefficients = flowSdeCoefficients({ sigma, sigmaNext, sigmaMax, noiseLevel });
      const levels = flowMatchSchedule(args.T, args.shift).sigmas.slice(args.step_index);
      expectWithin(levels.slice(0, 2), [sigma, sigmaNext], 1e-7, 'levels');
      expectWithin([coefficients.std / Math.sqrt(sigma - sigmaNext)], expected.std_dev_t, 1e-5, 'noise');
      const values = (role: string): ArrayLike<number> => fixtureTensor(fixture, expected.tensors[role]!).values;
      for (const which of ['', '_ref']) {
        const [x, v] = [values('sample'), values(`model_output${which}`)];
        const means = Array.from(v, (velocity, i) => coefficients.x * x[i]! + coefficients.v * velocity);
        expectWithin(means, Array.from(values(`prev_sample_mean${which}`)), tol.mean_abs, `mean${which}`);
      }
      const evaluateForm = (form: 'flow-grpo' | 'gaussian' | 'velocity') =>
        read(
          scope(device, () => {
            const prediction = tensor(device, values('model_output'), shape).requireGrad();
            const reference = tensor(device, values('model_output_ref'), shape);
            const factors = Array<number>(shape[0]!).fill(klFactor(form, coefficients, sigma - sigmaNext));
            const kl = referenceKL(prediction, reference, tensor(device, factors));
            return { kl, gradient: backward(kl, [prediction])[0]! };
          }),
        );
      const own = await evaluateForm('flow-grpo');
      expectWithin(own.kl, [expected.kl_loss], tol.kl_rel * expected.kl_loss, 'kl_loss');
      const gradient = Array.from(values('grad_model_output'));
      const largest = Math.max(...gradient.map(Math.abs));
      expectWithin(own.gradient, gradient, tol.grad_rel_to_max * largest, 'gradient');
      const { kl } = await evaluateForm('gaussian');
      expectWithin(kl, [expected.gaussian_kl_per_dim], tol.kl_rel * expected.gaussian_kl_per_dim, 'Gaussian');
      const [a, b] = [Array.from(values('model_output')), Array.from(values('model_output_ref'))];
      const distance = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / a.length;
      expectWithin((await evaluateForm('velocity')).kl, [distance], 1e-5 * distance, 'velocity');
    });
  }

  test('the Gaussian form is the divergence of the two transitions', () => {
    for (const coefficients of [
      ddimCoefficients({ alpha: 0.3, alphaNext: 0.4, eta: 1 }),
      flowSdeCoefficients({ sigma: 0.5, sigmaNext: 0.4, sigmaMax: 0.9, noiseLevel: 0.7 }),
    ]) {
      const [v, reference] = [0.3, 0.25];
      const distance = (coefficients.v * (v - reference)) ** 2 / (2 * coefficients.std ** 2);
      expect(klFactor('gaussian', coefficients) * (v - reference) ** 2).toBeCloseTo(distance, 12);
      // Diffusion has no interval: Flow-GRPO's form is the Gaussian one.
      expect(klFactor('flow-grpo', coefficients)).toBe(klFactor('gaussian', coefficients));
    }
  });

  test('rows of a batch are averaged by their shares', async () => {
    const { kl } = await read(
      scope(device, () => {
        const prediction = tensor(device, [1, 2, 3, 4, 5, 6], [3, 2]);
        const reference = tensor(device, [0, 0, 3, 3, 0, 0], [3, 2]);
        const factors = tensor(device, [2, 4, 1]);
        return { kl: referenceKL(prediction, reference, factors, tensor(device, [0.5, 0.5, 0])) };
      }),
    );
    expect(kl[0]).toBeCloseTo(0.5 * 2 * 2.5 + 0.5 * 4 * 0.5, 6);
  });

  test('a step without noise has a divergence in the velocity form alone', () => {
    const euler = eulerCoefficients({ sigma: 0.5, sigmaNext: 0.4 });
    expect(() => klFactor('gaussian', euler)).toThrow('a step without noise has no divergence of the form gaussian');
    expect(klFactor('velocity', euler)).toBe(1);
  });

  test('shapes that differ are refused', () => {
    scope(device, () => {
      const [a, b] = [tensor(device, [1, 2], [1, 2]), tensor(device, [1, 2], [2, 1])];
      expect(() => referenceKL(a, b, tensor(device, [1]))).toThrow(
        'the prediction is [1, 2] f32, the reference [2, 1]',
      );
      expect(() => referenceKL(a, a, tensor(device, [1, 1]))).toThrow('factors is [2] f32, expected [1] f32');
    });
  });
});

losses.done();
divergences.done();
