/** Noise levels by scheduler_config.json, against what diffusers' schedulers visit and step to (test/fixtures/schedulers). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { GaussianCoefficients } from '../../../engine/ops/gaussian.js';
import { packageRoot } from '../../../engine/version.js';
import { scheduleOf } from '../../../grpo/finetune/policy.js';
import { odeStepsOf, transitionsOf } from '../../../grpo/sampling/transitions.js';
import type { PipelineKind } from '../../../models/pipeline/kinds.js';
import { takeScheduler } from '../../../models/pipeline/scheduler.js';

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(join(packageRoot(), 'test/fixtures/schedulers', `${name}.json`), 'utf8')) as T;

type Config = Readonly<Record<string, unknown>>;

/** The schedule of a folder with this scheduler_config.json, whose transformer makes `tokens` of its latents. */
function levelsOf(kind: PipelineKind, config: Config, steps: number, tokens = 16) {
  const pipeline = { kind, scheduler: takeScheduler('scheduler_config.json', config, { kind }), latentSize: tokens };
  const network = { patch_size: 1 } as Parameters<typeof scheduleOf>[0]['config']; // all of it that is read
  return scheduleOf({ ...pipeline, config: network }, steps, undefined, [1, tokens]);
}

function diffusionOf(config: Config, steps: number) {
  const schedule = levelsOf('dit', { _class_name: 'DDIMScheduler', clip_sample: false, ...config }, steps);
  if (schedule.kind !== 'diffusion') expect.fail('a flow');
  return schedule;
}

interface DiffusionCase {
  readonly config: Config;
  readonly visited: Readonly<Record<string, readonly number[]>>;
  readonly alphas: Readonly<Record<string, number>>;
  readonly steps: readonly {
    readonly timestep: number;
    readonly alpha: number;
    readonly alpha_next: number;
    readonly eta: number;
    readonly x: readonly number[];
    readonly output: readonly number[];
    readonly noise: readonly number[];
    readonly next: readonly number[];
    readonly clean: readonly number[];
  }[];
}

const nameOf = (config: Config): string => JSON.stringify(config).replace(/\[.*?\]/, '[...]');

/** Relative to the largest value: both compute in double precision. */
const closeBy = 1e-12;

/**
 * Products are f32: a few units of them. Where they are rescaled, an f32 unit e = 6e-8 of a square root r is stretched by the
 * scale, at most 5 here, and squared: 2 r 5 e.
 */
const expectAlpha = (found: number, expected: number, rescaled: boolean): void =>
  expect(Math.abs(found - expected), `an alpha: ${found}, not ${expected}`).toBeLessThanOrEqual(
    1e-6 * expected + (rescaled ? 6e-7 * Math.sqrt(expected) : 0),
  );

function expectClose(actual: readonly number[], expected: readonly number[], what: string): void {
  const largest = Math.max(1, ...expected.map(Math.abs));
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value), `${what}: ${actual[i]}, not ${value}`).toBeLessThanOrEqual(closeBy * largest);
}

describe('DDIM', () => {
  for (const { config, visited, alphas, steps } of read<DiffusionCase[]>('diffusion')) {
    test(`${nameOf(config)}: timesteps, products, steps and previews are diffusers'`, () => {
      for (const [count, timesteps] of Object.entries(visited))
        expect(diffusionOf(config, Number(count)).steps.map(({ timestep }) => timestep)).toEqual(timesteps);
      const count = Number(config.num_train_timesteps ?? 1000);
      const rescaled = config.rescale_betas_zero_snr === true;
      const prediction_type = rescaled ? 'sample' : 'epsilon'; // of which every timestep can be taken
      const all = diffusionOf({ ...config, prediction_type, timestep_spacing: 'trailing' }, count).steps;
      for (const [timestep, alpha] of Object.entries(alphas))
        expectAlpha(all.find((step) => step.timestep === Number(timestep))!.alpha, alpha, rescaled);
      const found = diffusionOf(config, steps.length);
      for (const [i, { alpha, alphaNext }] of found.steps.entries()) {
        expectAlpha(alpha, steps[i]!.alpha, rescaled);
        expectAlpha(alphaNext, steps[i]!.alpha_next, rescaled);
      }
      const alike = steps.map(({ timestep, alpha, alpha_next: alphaNext }) => ({ timestep, alpha, alphaNext }));
      const schedule = { ...found, steps: alike }; // with diffusers' own roundings of the products
      for (const [i, { timestep, eta, x, output, noise, next, clean }] of steps.entries()) {
        const transition = transitionsOf(schedule, { noise: eta }, { train_last_step: true })[i]!;
        expect(found.steps[i]!.timestep).toBe(timestep);
        const apply = (by: GaussianCoefficients): number[] =>
          x.map((value, k) => by.x * value + by.v * output[k]! + by.std * noise[k]!);
        expectClose(apply(transition.step), next, `step ${i}`);
        expectClose(apply(transition.preview), clean, `preview ${i}`);
        if (eta === 0) expect(odeStepsOf(schedule)[i]!.step).toEqual(transition.step);
      }
    });
  }

  test('with nothing left of the sample at first, the step and its density are finite', () => {
    const zero = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing', prediction_type: 'v_prediction' };
    const [first] = transitionsOf(diffusionOf(zero, 10), { noise: 1 });
    expect(diffusionOf(zero, 10).steps[0]).toMatchObject({ timestep: 999, alpha: 0 });
    for (const value of [...Object.values(first!.step), ...Object.values(first!.preview)])
      expect(Number.isFinite(value)).toBe(true);
    expect(first!.step.std).toBeGreaterThan(0);
    expect([first!.preview.x, first!.preview.v]).toEqual([0, -1]);
  });

  test('predicted noise says nothing there, which is refused where a step is there', () => {
    const zero = { rescale_betas_zero_snr: true };
    expect(transitionsOf(diffusionOf(zero, 10), { noise: 1 })).toHaveLength(10);
    expect(() => transitionsOf(diffusionOf(zero, 1000), { noise: 1 })).toThrow('alpha is 0 (zero terminal SNR)');
  });

  test('steps beyond the timesteps of training are refused', () => {
    expect(() => diffusionOf({ steps_offset: 1 }, 1000)).toThrow(
      '1000 steps with steps_offset 1 reach timestep 1000, expected less than 1000',
    );
    expect(() => diffusionOf({ num_train_timesteps: 40 }, 41)).toThrow('expected at most 40 steps, found 41');
  });
});

interface FlowCase {
  readonly config: Config;
  readonly tokens: number;
  readonly levels: Readonly<
    Record<string, { readonly sigmas: readonly number[]; readonly timesteps: readonly number[] }>
  >;
}

describe('flows', () => {
  for (const { config, tokens, levels } of read<FlowCase[]>('flow')) {
    test(`${nameOf(config)} with ${tokens} tokens: levels and timesteps are diffusers'`, () => {
      for (const [count, expected] of Object.entries(levels)) {
        const schedule = levelsOf('sd3', config, Number(count), tokens);
        if (schedule.kind !== 'flow') expect.fail('diffusion');
        const { sigmas, timesteps } = schedule.levels;
        const worst = (actual: readonly number[], values: readonly number[]): number => {
          expect(actual).toHaveLength(values.length);
          return Math.max(...actual.map((value, i) => Math.abs(value - values[i]!)));
        };
        expect(worst(sigmas, expected.sigmas)).toBeLessThanOrEqual(1.2e-7); // an f32 unit at 1
        expect(worst(timesteps, expected.timesteps)).toBeLessThanOrEqual(1e-4);
      }
    });
  }

  test('a single step has no level to be stretched to', () => {
    expect(() => levelsOf('sd3', { shift_terminal: 0.1 }, 1)).toThrow('2 steps or more with a shift_terminal');
  });
});
