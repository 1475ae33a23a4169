/** Weights of rows and GRPO-Guard's ratio: against the losses of published trainers (methods.json), and in the learner. */
import { describe, expect, test } from 'vitest';
import {
  backward,
  clamp,
  exp,
  gaussianLogProb,
  mean,
  minimum,
  mul,
  noGrad,
  packGaussianCoefficients,
  scope,
  square,
  sub,
  sum,
} from '../../../engine/index.js';
import type { GaussianCoefficients } from '../../../engine/ops/gaussian.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { policyLoss } from '../../../grpo/learning/loss.js';
import { guardedLogRatio, guardFactor, hasGuardedRatio, rowWeights } from '../../../grpo/learning/row_weights.js';
import { flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { cpsCoefficients, ddimCoefficients, flowSdeCoefficients } from '../../../grpo/sampling/step.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';
import { random, testDevice } from '../../check.js';
import { readRecorded } from '../../recorded_fixture.js';
import { loadTiny, tinyConfig } from '../tiny.js';
import { drawGroup, expectGradients, halfMoments, learning, momentsOf, sumByHand } from './by_hand.js';

const device = await testDevice();

interface LossCase {
  readonly loss: number;
  readonly grad_v: readonly (readonly number[])[];
}

interface GuardCase extends LossCase {
  readonly ratio: readonly number[];
  readonly ratio_by_identity_exp_mean_z_dmean: readonly number[];
  readonly identity_error: number;
}

interface Methods {
  readonly note: string;
  readonly step: GaussianCoefficients & {
    readonly sigma: number;
    readonly sigmaNext: number;
    readonly a: number;
    readonly c: number;
    readonly interval: number;
  };
  readonly x: readonly (readonly number[])[];
  readonly v_old: readonly (readonly number[])[];
  readonly v: readonly (readonly number[])[];
  readonly z: readonly (readonly number[])[];
  readonly next: readonly (readonly number[])[];
  readonly oldLogProb: readonly number[];
  readonly logProb: readonly number[];
  readonly advantages: readonly number[];
  readonly clip: number;
  readonly advantage_max: number;
  readonly cases: Readonly<Record<string, unknown>>;
}

const others = 'of methods that learn from rows of the forward process or from pairs';
const fields = (prefix: string, names: readonly string[], reason: string): Record<string, string> =>
  Object.fromEntries(names.map((name) => [`${prefix}${name}`, reason]));
const lossNames = ['loss', 'grad_v', 'kl'];
const metrics = ['policy_loss', 'positive_loss', 'negative_loss', 'ref_kl_loss', 'old_deviate', 'reward_prob_mean'];
const nft = ['loss', 'reward_prob', 'grad_v_analytic_weights_detached'];
const awm = ['logProb', 'oldLogProb', 'loss_unclipped', 'loss_clip_0_01'];
const { value: methods, done } = readRecorded<Methods>('grpo/methods', {
  note: 'what the file is',
  ...fields('forward.', ['x0', 'noise', 't', 'xt', 'v_old', 'v', 'v_ref', 'advantages'], others),
  ...Object.assign(
    {},
    ...['1.0', '0.1'].map((beta) =>
      fields(
        `cases.diffusion_nft beta ${beta}.`,
        [...nft, ...[...metrics, 'total_loss'].map((name) => `metrics.actor/${name}`)],
        others,
      ),
    ),
    ...['1e-05', '1e-06', '1.0'].map((threshold) =>
      fields(`cases.flow_dppo threshold ${threshold}.`, lossNames, 'Flow-DPPO is not among the methods here'),
    ),
    ...['Uniform', 't', 'huber', 'ghuber'].map((weight) => fields(`cases.awm ${weight}.`, awm, others)),
  ),
  'cases.diffusion_dpo beta 100, pair = rows 0 (chosen), 1.loss': others,
  ...fields('cases.dgpo beta 100, one group of the 3 rows.', ['dsm', 'per_sample', 'group_weight', 'loss'], others),
});

const tolerance = 2e-6;
const { step } = methods;
const coefficients = flowSdeCoefficients({ ...step, sigmaMax: 0.9, noiseLevel: step.a });
const matrix = (rows: readonly (readonly number[])[]): Tensor => tensor(device, rows.flat(), [rows.length, 4]);

/** Loss and gradient with respect to the prediction, of rows whose advantages have factors. */
async function evaluate(
  prediction: readonly (readonly number[])[],
  {
    guarded,
    weight,
    clip,
    by = coefficients,
  }: { guarded: boolean; weight: number; clip: number; by?: GaussianCoefficients },
) {
  const made = scope(device, () => {
    const [x, v, old, next] = [methods.x, prediction, methods.v_old, methods.next].map(matrix) as Tensor[];
    const rows = tensor(device, packGaussianCoefficients(Array(3).fill(by)), [3, 5]);
    const taken = v!.requireGrad();
    const advantages = tensor(
      device,
      methods.advantages.map(
        (each) => weight * Math.min(Math.max(each, -methods.advantage_max), methods.advantage_max),
      ),
    );
    const [before, oldMean] = gaussianLogProb(old!, x!, next!, rows);
    const [logProb] = gaussianLogProb(taken, x!, next!, rows);
    const factors = tensor(device, Array(3).fill(guardFactor(by)));
    const logRatio = guardedLogRatio({ prediction: taken, old: old!, noise: sub(next!, oldMean) }, factors);
    const { loss, ratio } = guarded
      ? policyLoss(logRatio, tensor(device, [0, 0, 0]), advantages, { clip })
      : policyLoss(logProb, before, advantages, { clip });
    return { loss, ratio, gradient: backward(loss, [taken])[0]!, logProb, before };
  });
  const values = Object.fromEntries(
    await Promise.all(Object.entries(made).map(async ([name, each]) => [name, [...(await each.data())]] as const)),
  );
  for (const each of Object.values(made)) each.dispose();
  return values as Record<keyof typeof made, number[]>;
}

function expectWithin(actual: readonly number[], expected: readonly number[], what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value), `${what} [${i}]: ${actual[i]}, not ${value}`).toBeLessThanOrEqual(tolerance);
}

describe('losses of published trainers', () => {
  test('the step, its noise and its log probabilities are those of the file', async () => {
    for (const name of ['x', 'v', 'std'] as const) expect(coefficients[name]).toBeCloseTo(step[name], 14);
    expect(step.std / Math.sqrt(step.interval)).toBeCloseTo(step.c, 14);
    for (const [i, row] of methods.next.entries())
      for (const [k, next] of row.entries())
        expect(step.x * methods.x[i]![k]! + step.v * methods.v_old[i]![k]! + step.std * methods.z[i]![k]!).toBeCloseTo(
          next,
          14,
        );
    const { logProb, before } = await evaluate(methods.v, { guarded: false, weight: 1, clip: methods.clip });
    expectWithin(logProb, methods.logProb, 'log probabilities');
    expectWithin(before, methods.oldLogProb, 'log probabilities before');
  });

  for (const clip of [methods.clip, 0.2]) {
    test(`Flow-GRPO with a clip range of ${clip}`, async () => {
      const { loss, grad_v } = methods.cases[`flow_grpo clip ${clip}`] as LossCase;
      const found = await evaluate(methods.v, { guarded: false, weight: 1, clip });
      expectWithin(found.loss, [loss], 'loss');
      expectWithin(found.gradient, grad_v.flat(), 'gradient');
    });

    test(`GRPO-Guard with a clip range of ${clip}`, async () => {
      const expected = methods.cases[`grpo_guard clip ${clip} (verl-omni: divided by |d|)`] as GuardCase;
      const [weight] = rowWeights({ row_weights: 'guard', updates_per_rollout: 2 }, [
        { step: coefficients, interval: step.interval },
      ]);
      const found = await evaluate(methods.v, { guarded: true, weight: weight!, clip });
      expectWithin(found.ratio, expected.ratio, 'ratio');
      expectWithin(found.ratio, expected.ratio_by_identity_exp_mean_z_dmean, 'ratio by the noise');
      expect(expected.identity_error).toBeLessThan(1e-15);
      expectWithin(found.loss, [expected.loss], 'loss');
      expectWithin(found.gradient, expected.grad_v.flat(), 'gradient');
    });
  }
  done();
});

describe('weights', () => {
  const transitions = transitionsOf({ kind: 'flow', levels: flowMatchSchedule(10, 3) }, { noise: 0.7 });

  test("TempFlow-GRPO's are the deviations over the mean of those that are trained", () => {
    const steps = transitions.slice(2, 6);
    const stds = steps.map(({ step: { std } }) => std);
    const weights = rowWeights({ row_weights: 'tempflow', updates_per_rollout: 2 }, steps);
    for (const [i, weight] of weights.entries())
      expect(weight).toBeCloseTo((4 * stds[i]!) / stds.reduce((a, b) => a + b), 14);
    expect(weights.reduce((a, b) => a + b)).toBeCloseTo(4, 14);
    const last = transitions.slice(-2); // its end is deterministic
    expect(rowWeights({ row_weights: 'tempflow', updates_per_rollout: 1 }, last)).toEqual([2, 0]);
    expect(rowWeights({ row_weights: 'tempflow', updates_per_rollout: 1 }, last.slice(1))).toEqual([0]);
  });

  test('without weights every row counts as any other, and a ratio is guarded with several updates a rollout alone', () => {
    expect(rowWeights({ row_weights: 'none', updates_per_rollout: 2 }, transitions)).toEqual(Array(10).fill(1));
    expect(hasGuardedRatio({ row_weights: 'guard', updates_per_rollout: 1 })).toBe(false);
    expect(hasGuardedRatio({ row_weights: 'guard', updates_per_rollout: 2 })).toBe(true);
    expect(hasGuardedRatio({ row_weights: 'tempflow', updates_per_rollout: 2 })).toBe(false);
  });

  const level = { sigma: 0.85, sigmaNext: 0.7 };
  const kinds: Readonly<Record<string, readonly [GaussianCoefficients, number]>> = {
    'flow-sde': [flowSdeCoefficients({ ...level, sigmaMax: 0.9, noiseLevel: 0.7 }), 0.15],
    cps: [cpsCoefficients({ ...level, noiseLevel: 0.8 }), 0.15],
    ddim: [ddimCoefficients({ alpha: 0.3, alphaNext: 0.5, eta: 1 }), 1],
  };
  for (const [kind, [by, interval]] of Object.entries(kinds))
    test(`before the first update GRPO-Guard's gradient is the plain one with a weight: ${kind}`, async () => {
      const weightOf = (updates: number): number =>
        rowWeights({ row_weights: 'guard', updates_per_rollout: updates }, [{ step: by, interval }])[0]!;
      const plain = await evaluate(methods.v_old, { guarded: false, weight: weightOf(1), clip: 0.2, by });
      const guarded = await evaluate(methods.v_old, { guarded: true, weight: weightOf(2), clip: 0.2, by });
      expect(guarded.ratio).toEqual([1, 1, 1]);
      expect(Math.max(...guarded.gradient.map(Math.abs))).toBeGreaterThan(0.005);
      expectWithin(plain.gradient, guarded.gradient, 'gradient');
      if (kind !== 'cps') expect(weightOf(1)).toBeCloseTo(by.std / interval, 12);
    });
});

test("the learner's gradient with GRPO-Guard's ratio is that of its definition by log probabilities and means", async () => {
  const clip = 5e-4; // near the spread of the ratios below
  const model = await loadTiny(device, 'sd3');
  const { transitions, store, rollout, rows, latent, logProb: stored } = await drawGroup(model, { predictions: true });
  const parameters = [...model.trainable.values()];
  const condition = model.encode(['a red circle']);
  /** Log probability and mean of a row by the weights as they are. */
  const recomputed = ({ slot, step: at }: (typeof rows)[number]): readonly [logProb: Tensor, mean: Tensor] => {
    const { timestep, step } = transitions[at]!;
    const x = latent(slot, at);
    const v = model.predict(x, tensor(device, [timestep]), condition);
    return gaussianLogProb(v, x, latent(slot, at + 1), tensor(device, packGaussianCoefficients([step]), [1, 5]));
  };
  const before = rows.map((row) => scope(device, () => noGrad(() => recomputed(row)[1])));
  const config = tinyConfig({
    grpo: { clip },
    train: { ...halfMoments, micro_batch: 3 },
  });
  const learner = await learning(model, store, config);
  const first = await learner.accumulate(rows, rows.length);
  expect(first).toMatchObject({ ratioDeviation: 0, approxKL: 0, clipFraction: 0 });
  await learner.apply(0);
  for (const each of parameters) each.write(random(each.shape, 3, { low: -0.4, high: 0.4 }).data);
  const kept = await momentsOf(learner);
  const report = await learner.accumulate(rows, rows.length);
  await learner.apply(1);
  expect(report.clipFraction).toBeGreaterThan(0);
  expect(report.clipFraction).toBeLessThan(1);

  const lossOf = (row: (typeof rows)[number], i: number) => {
    const { std } = transitions[row.step]!.step;
    const [logProb, meanNow] = recomputed(row);
    const difference = sub(logProb, stored(row.slot, row.step));
    const drift = mul(mean(square(sub(meanNow, before[i]!))), 1 / (2 * std * std));
    const ratio = exp(mul(sub(difference, mul(drift, -1)), std));
    const { advantage } = row;
    const loss = sum(mul(minimum(mul(ratio, advantage), mul(clamp(ratio, 1 - clip, 1 + clip), advantage)), -1));
    return { loss, value: loss };
  };
  const { value, gradients } = await sumByHand(device, parameters, rows, lossOf);
  expect(report.policyLoss).toBeCloseTo(value, 5);
  await expectGradients(learner, gradients, { kept });
  for (const each of [...before, learner, rollout, store, model, ...condition]) each.dispose();
});
