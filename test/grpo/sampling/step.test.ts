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
import { ddimSchedule, flowMatchSchedule, shiftedLinearSchedule } from '../../../grpo/sampling/schedule.js';
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
import { readRecorded } from '../../recorded_fixture.js';

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
  readonly std_dev_t?: number | readonly number[];
  readonly std_dev_t_f64?: readonly number[];
  readonly float64_same_inputs?: Readonly<
    Record<'log_prob' | 'log_prob_given_prev' | 'log_prob_new' | 'ratio', readonly number[]>
  >;
  readonly f32_error?: Readonly<Record<string, number>>;
  readonly tensors: Readonly<Record<string, string>>;
}

const fixture = (file: string): string => fileURLToPath(new URL(`../../fixtures/grpo/${file}`, import.meta.url));

/** The published code's own error in f32 bounds its tolerances; ours is held to those. */
const unread = Object.fromEntries(
  [
    'prev_sample',
    'prev_sample_mean',
    'log_prob',
    'log_prob_given_prev',
    'log_prob_new',
    'ratio',
    'grad_model_output',
  ].map((name) => [`cases.f32_error.${name}`, 'an error of the published code']),
);

interface Read {
  readonly item: Case;
  /** A tensor's values by its role, where the case has it. */
  readonly values: (role: string) => Float32Array | undefined;
}

/** The cases of a group; `done` declares the test that each of their fields was read. */
async function readCases(group: string): Promise<{ cases: Read[]; done: () => void }> {
  const given = (JSON.parse(readFileSync(fixture(`${group}.json`), 'utf8')) as { cases: Case[] }).cases;
  const own = Object.keys(unread).filter((path) =>
    given.some(({ f32_error = {} }) => path.split('.')[2]! in f32_error),
  );
  const { value, done } = readRecorded<{ cases: Case[]; tensor_file: string }>(
    `grpo/${group}`,
    Object.fromEntries(own.map((path) => [path, unread[path]!])),
  );
  const file = await openSafetensors(fixture(value.tensor_file));
  const data = new Map<string, Float32Array>();
  for (const key of file.entries.keys()) data.set(key, (await file.read(key)) as Float32Array);
  await file.close();
  const cases = value.cases.map((item) => ({
    item,
    values: (role: string) => (role in item.tensors ? data.get(item.tensors[role]!) : undefined),
  }));
  return { cases, done };
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

/** One number for each sample of a case, from one for all or a list. */
const each = (value: number | boolean | readonly number[] | undefined, n: number): number =>
  Array.isArray(value) ? value[Math.min(n, value.length - 1)] : Number(value);

const expectNear = (actual: number, expected: number, relative: number): void =>
  expect(Math.abs(actual - expected), `${actual}, not ${expected}`).toBeLessThanOrEqual(
    relative * Math.max(1e-3, Math.abs(expected)),
  );

/** That a case's levels, and its deviation, are those of our schedule and step at its place. */
function checkLevels(
  { name, args, std_dev_t, std_dev_t_f64 }: Case,
  n: number,
  make: () => GaussianCoefficients,
  isRate: boolean,
): void {
  const [at, steps] = [each(args.step_index, n), each(args.T, n)];
  if ('alpha_prod_t' in args) {
    const { timestep, alpha, alphaNext } = ddimSchedule(steps)[at]!;
    expect(timestep).toBe(each(args.timestep, n));
    expectNear(alpha, each(args.alpha_prod_t, n), 1e-6);
    if (!('prev_timestep' in args)) return;
    expect(Math.max(0, timestep - 1000 / steps), 'DDPO ends at timestep 0').toBe(each(args.prev_timestep, n));
    expectNear(alphaNext, each(args.alpha_prod_t_prev, n), 1e-6);
    expectNear(make().std, each(std_dev_t_f64, n), 1e-6);
    return;
  }
  const levels = ('sde_solver' in args ? shiftedLinearSchedule : flowMatchSchedule)(steps, each(args.shift, n));
  const [sigma, next] = [levels.sigmas[at]!, levels.sigmas[at + 1]!];
  expectNear(sigma, each(args.sigma, n), 2e-7);
  expectNear(next, each(args.sigma_prev ?? args.sigma_next, n), 2e-7);
  if ('sigma_max' in args) expectNear(levels.sigmas[1]!, each(args.sigma_max, n), 2e-7);
  if ('timestep' in args) expectNear(levels.timesteps[at]!, each(args.timestep, n), 2e-7);
  if ('grpo' in args) expect([args.grpo, args.sde_solver], name).toEqual(Array(2).fill(std_dev_t !== undefined));
  if (std_dev_t === undefined) return;
  // Flow-GRPO's std_dev_t is the diffusion coefficient, the others' the deviation itself.
  const interval = isRate ? Math.sqrt(sigma - next) : 1;
  expectNear(make().std, each(std_dev_t, n) * interval, 1e-5);
}

for (const [group, make] of Object.entries(groups)) {
  const { cases, done } = await readCases(group);
  describe(group, () => {
    test('every case lies on our schedule', () => {
      for (const { item } of cases)
        for (let n = 0; n < item.shape[0]!; n++)
          checkLevels(item, n, () => make(item.args, (name) => each(item.args[name], n)), group === 'flow_sde');
    });

    for (const { item, values } of cases) {
      test(item.name, async () => {
        const { tol, shape } = item;
        const upload = (role: string): Tensor => tensor(device, values(role)!, shape);
        const read = async (made: Tensor): Promise<ArrayLike<number>> => {
          const data = await made.data();
          made.dispose();
          return data;
        };
        const coefficients = rowsOf(item, (at) => make(item.args, at));
        const [x, v] = [upload('sample'), upload('model_output')];
        const made = [coefficients, x, v];
        const next = values('noise')
          ? scope(device, () => gaussianStep(x, v, upload('noise'), coefficients))
          : { next: scope(device, () => gaussianMean(x, v, coefficients)) };
        const drawn = values('prev_sample');
        if (drawn) expectWithin(await next.next.data(), drawn, tol.prev_sample_abs!, 'next');
        const mean = values('prev_sample_mean') ?? values('prev_sample_mean_f64')!;
        const actualMean = 'mean' in next ? next.mean : next.next;
        expectWithin(await actualMean.data(), mean, tol.prev_sample_mean_abs ?? tol.prev_sample_abs!, 'mean');
        const clean = values('pred_original');
        if (clean) {
          const rows = rowsOf(item, (at) => flowPreviewCoefficients(at('sigma')));
          const preview = await read(scope(device, () => gaussianMean(x, v, rows)));
          rows.dispose();
          expectWithin(preview, clean, tol.pred_original_abs!, 'preview');
        }
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
          const double = of.float64_same_inputs!;
          expectWithin(before, double.log_prob_given_prev, tol.log_prob_abs!, 'the same in double precision');
          expectWithin(after, double.log_prob_new, tol.log_prob_abs!, 'that of the changed policy in double precision');
          expectWithin(ratio, double.ratio, tol.ratio_abs!, 'ratio in double precision');
          const expected = values('grad_model_output')!;
          const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          expectWithin(await read(results.gradient), expected, tol.grad_rel_to_max! * largest, 'gradient');
        }
      });
    }
    done();
  });
}

const { cases: previews, done: donePreviews } = await readCases('preview');
describe('previews of the clean sample', () => {
  for (const { item, values } of previews) {
    test(item.name, async () => {
      const { shape, tol } = item;
      const { args } = item;
      // Flows have no number of steps but in their names.
      const T = Number(/_T(\d+)_/.exec(item.name)![1]);
      if ('step_index' in args && 'sigma' in args)
        expectNear(flowMatchSchedule(T, 3).sigmas[each(args.step_index, 0)]!, each(args.sigma, 0), 2e-7);
      else if ('step_index' in args)
        checkLevels(item, 0, () => ddimPreviewCoefficients(each(args.alpha_prod_t, 0)), false);
      const actual = scope(device, () => {
        const [x, v] = [tensor(device, values('sample')!, shape), tensor(device, values('model_output')!, shape)];
        const rows = rowsOf(item, (at) =>
          'sigma' in item.args ? flowPreviewCoefficients(at('sigma')) : ddimPreviewCoefficients(at('alpha_prod_t')),
        );
        return gaussianMean(x, v, rows);
      });
      expectWithin(await actual.data(), values('pred_original')!, tol.abs!, 'preview');
      actual.dispose();
    });
  }
});

donePreviews();

test('steps outside their schedule are refused', () => {
  expect(() => eulerCoefficients({ sigma: 0.5, sigmaNext: 0.6 })).toThrow('expected 1 >= sigma > sigmaNext >= 0');
  expect(() => ddimCoefficients({ alpha: 0.5, alphaNext: 0.4, eta: 1 })).toThrow('expected 0 < alpha < alphaNext');
  expect(() => ddimCoefficients({ alpha: 0, alphaNext: 0.4, eta: 1 })).toThrow('alpha is 0 (zero terminal SNR)');
  expect(() => ddimPreviewCoefficients(0)).toThrow('expected prediction_type v_prediction or sample');
  expect(() => ddimPreviewCoefficients(1, 'sample')).toThrow('expected an alpha from 0 to below 1, found 1');
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
