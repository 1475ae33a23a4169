/** Every step of the public implementations, from test/fixtures/grpo, at the tolerance stated with the case. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  type GaussianCoefficients,
  gaussianColumns,
  gaussianLogProb,
  gaussianMean,
  gaussianStep,
  packGaussianCoefficients,
} from '../../../engine/ops/gaussian.js';
import { openSafetensors } from '../../../engine/safetensors.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import {
  cpsCoefficients,
  danceCoefficients,
  ddimCoefficients,
  ddimPreviewCoefficients,
  eulerCoefficients,
  flowPreviewCoefficients,
  flowSdeCoefficients,
} from '../../../grpo/sampling/step.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

type Arguments = Readonly<Record<string, number | boolean | readonly number[]>>;
interface Case {
  readonly name: string;
  readonly args: Arguments;
  readonly shape: readonly number[];
  readonly tol: Readonly<Record<string, number>>;
  /** A list, or a sentence where it is undefined. */
  readonly log_prob?: readonly number[] | string;
  readonly log_prob_recompute?: readonly number[];
  readonly log_prob_new?: readonly number[];
  readonly ratio?: readonly number[];
  readonly float64_same_inputs?: { readonly log_prob: readonly number[] };
  readonly tensors: Readonly<Record<string, string>>;
}

const fixture = (file: string): string => fileURLToPath(new URL(`../../fixtures/grpo/${file}`, import.meta.url));

/** The cases of a group, each with its tensors' values by role. */
async function readCases(group: string): Promise<(Case & { values: Record<string, Float32Array> })[]> {
  const { cases } = JSON.parse(readFileSync(fixture(`${group}.json`), 'utf8')) as { cases: Case[] };
  const file = await openSafetensors(fixture(`${group}.safetensors`));
  const read = [];
  for (const item of cases) {
    const values: Record<string, Float32Array> = {};
    for (const [role, key] of Object.entries(item.tensors)) values[role] = (await file.read(key)) as Float32Array;
    read.push({ ...item, values });
  }
  await file.close();
  return read;
}

/** One row for each sample: an argument is one number for all, or a list of one a sample. */
function rowsOf({ args, shape }: Case, make: (at: (name: string) => number) => GaussianCoefficients): Tensor {
  const rows = Array.from({ length: shape[0]! }, (_, n) =>
    make((name) => {
      const value = args[name] as number | readonly number[];
      return typeof value === 'number' ? value : value[Math.min(n, value.length - 1)]!;
    }),
  );
  return tensor(device, packGaussianCoefficients(rows), [rows.length, gaussianColumns]);
}

function expectWithin(actual: ArrayLike<number>, expected: ArrayLike<number>, allowed: number, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs(actual[i]! - expected[i]!), `${what}: [${i}] ${actual[i]}, not ${expected[i]}`).toBeLessThanOrEqual(
      allowed,
    );
  }
}

const groups: Readonly<Record<string, (args: Arguments, at: (name: string) => number) => GaussianCoefficients>> = {
  flow_sde: (_, at) =>
    flowSdeCoefficients({
      sigma: at('sigma'),
      sigmaNext: at('sigma_prev'),
      sigmaMax: at('sigma_max'),
      noiseLevel: at('noise_level'),
    }),
  dance_flux: (args, at) => {
    const step = { sigma: at('sigma'), sigmaNext: at('sigma_next') };
    return args.sde_solver ? danceCoefficients({ ...step, eta: at('eta') }) : eulerCoefficients(step);
  },
  flow_cps: (_, at) =>
    cpsCoefficients({ sigma: at('sigma'), sigmaNext: at('sigma_prev'), noiseLevel: at('noise_level') }),
  ddim: (_, at) => ddimCoefficients({ alpha: at('alpha_prod_t'), alphaNext: at('alpha_prod_t_prev'), eta: at('eta') }),
};

for (const [group, make] of Object.entries(groups)) {
  const cases = await readCases(group);
  describe(group, () => {
    for (const item of cases) {
      test(item.name, async () => {
        const { values, tol, shape } = item;
        const upload = (role: string): Tensor => tensor(device, values[role]!, shape);
        const read = async (made: Tensor): Promise<ArrayLike<number>> => {
          const data = await made.data();
          made.dispose();
          return data;
        };
        const coefficients = rowsOf(item, (at) => make(item.args, at));
        const [x, v] = [upload('sample'), upload('model_output')];
        const made = [coefficients, x, v];
        const next = values.noise
          ? scope(device, () => gaussianStep(x, v, upload('noise'), coefficients))
          : { next: scope(device, () => gaussianMean(x, v, coefficients)) };
        if (values.prev_sample) expectWithin(await next.next.data(), values.prev_sample, tol.prev_sample_abs!, 'next');
        const mean = values.prev_sample_mean ?? values.prev_sample_mean_f64!;
        const actualMean = 'mean' in next ? next.mean : next.next;
        expectWithin(await actualMean.data(), mean, tol.prev_sample_mean_abs ?? tol.prev_sample_abs!, 'mean');
        if ('logProb' in next) {
          const logProb = await next.logProb.data();
          expect([...logProb].every(Number.isFinite)).toBe(true);
          if (Array.isArray(item.log_prob)) {
            expectWithin(logProb, item.log_prob, tol.log_prob_abs!, 'log probability');
            expectWithin(logProb, item.float64_same_inputs!.log_prob, tol.log_prob_abs!, 'in double precision');
            await checkTraining(item, x, coefficients);
          }
        }
        for (const part of [...made, ...Object.values(next)]) part.dispose();

        /** On the stored next latents: log probability, gradient, and the ratio of a changed policy. */
        async function checkTraining(of: typeof item, latents: Tensor, table: Tensor): Promise<void> {
          const results = scope(device, () => {
            const given = upload('prev_sample');
            const output = upload('model_output').requireGrad();
            const [before] = gaussianLogProb(output, latents, given, table);
            const [after] = gaussianLogProb(upload('model_output_new'), latents, given, table);
            const seed = tensor(device, new Float32Array(shape[0]!).fill(1));
            return { before, after, gradient: backward(before, [output], { seed })[0]! };
          });
          const [before, after] = [await read(results.before), await read(results.after)];
          expectWithin(before, of.log_prob_recompute!, tol.log_prob_abs!, 'log probability in training');
          expectWithin(after, of.log_prob_new!, tol.log_prob_abs!, 'log probability of the changed policy');
          const ratio = Array.from(after, (value, i) => Math.exp(value - before[i]!));
          expectWithin(ratio, of.ratio!, tol.ratio_abs!, 'ratio');
          const expected = values.grad_model_output!;
          const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          expectWithin(await read(results.gradient), expected, tol.grad_rel_to_max! * largest, 'gradient');
        }
      });
    }
  });
}

const previews = await readCases('preview');
describe('previews of the clean sample', () => {
  for (const item of previews) {
    test(item.name, async () => {
      const { values, shape, tol } = item;
      const actual = scope(device, () => {
        const [x, v] = [tensor(device, values.sample!, shape), tensor(device, values.model_output!, shape)];
        const rows = rowsOf(item, (at) =>
          'sigma' in item.args ? flowPreviewCoefficients(at('sigma')) : ddimPreviewCoefficients(at('alpha_prod_t')),
        );
        return gaussianMean(x, v, rows);
      });
      expectWithin(await actual.data(), values.pred_original!, tol.abs!, 'preview');
      actual.dispose();
    });
  }
});

test('steps outside their schedule are refused', () => {
  expect(() => eulerCoefficients({ sigma: 0.5, sigmaNext: 0.6 })).toThrow('expected 1 >= sigma > sigmaNext >= 0');
  expect(() => ddimCoefficients({ alpha: 0.5, alphaNext: 0.4, eta: 1 })).toThrow('expected 0 < alpha < alphaNext');
  expect(() => flowSdeCoefficients({ sigma: 1, sigmaNext: 0.9, sigmaMax: 1, noiseLevel: 0.7 })).toThrow('sigmaMax');
});

test('noise 0 makes every stochastic step its deterministic one', () => {
  const step = { sigma: 0.7, sigmaNext: 0.5 };
  const euler = eulerCoefficients(step);
  for (const other of [
    danceCoefficients({ ...step, eta: 0 }),
    flowSdeCoefficients({ ...step, sigmaMax: 0.9, noiseLevel: 0 }),
    cpsCoefficients({ ...step, noiseLevel: 0 }),
  ]) {
    expect(other.x).toBeCloseTo(euler.x, 14);
    expect(other.v).toBeCloseTo(euler.v, 14);
    expect([other.std, other.scale, other.offset]).toEqual([0, 0, 0]);
  }
});
