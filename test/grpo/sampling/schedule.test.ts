/** Schedules against the tables of diffusers and DanceGRPO, from test/fixtures/grpo/schedules.json. */
import { describe, expect, test } from 'vitest';
import { scheduleOf as scheduleOfFolder } from '../../../grpo/finetune/policy.js';
import {
  alphasCumprod,
  ddimSchedule,
  dynamicFlowSchedule,
  type FlowSchedule,
  flowMatchSchedule,
  shiftedLinearSchedule,
  shiftSigma,
} from '../../../grpo/sampling/schedule.js';
import { takeScheduler } from '../../../models/pipeline/scheduler.js';
import { readFixture } from '../../fixtures.js';
import { readGolden } from '../../models/golden.js';
import { readRecorded } from '../../recorded_fixture.js';

interface Case {
  readonly name: string;
  readonly source: string;
  readonly T: number;
  readonly shift?: number;
  readonly mu?: number;
  readonly sigmas?: readonly number[];
  readonly timesteps?: readonly number[];
  readonly int_timesteps?: readonly number[];
  readonly sigma_min_init?: number;
  readonly sigma_max_init?: number;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly final_alpha_cumprod?: number;
  readonly tol: {
    readonly abs?: number;
    readonly timesteps_abs?: number;
    readonly exact?: boolean;
    readonly rel?: number;
  };
  readonly tensors?: Readonly<Record<string, string>>;
}

const fixture = readRecorded<{ readonly cases: readonly Case[]; readonly tensor_file: string }>('grpo/schedules');
const { cases, tensor_file: tensorFile } = fixture.value;

/** The schedule a case of flows stands for. */
function scheduleOf({ name, T, shift, mu }: Case): FlowSchedule {
  if (name.startsWith('flowmatch')) return flowMatchSchedule(T, shift!);
  return name.startsWith('flux') ? dynamicFlowSchedule(T, mu!) : shiftedLinearSchedule(T, shift!);
}

const off = (actual: readonly number[], expected: readonly number[]): number => {
  expect(actual).toHaveLength(expected.length);
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)));
};

describe('flows', () => {
  for (const reference of cases.filter(({ sigmas }) => sigmas)) {
    test(`${reference.name} has the published levels`, () => {
      const { sigmas, timesteps } = scheduleOf(reference);
      const { tol, shift } = reference;
      expect(off(sigmas, reference.sigmas!)).toBeLessThanOrEqual(tol.abs!);
      if (reference.timesteps) expect(off(timesteps, reference.timesteps)).toBeLessThanOrEqual(tol.timesteps_abs!);
      if (reference.int_timesteps) expect(timesteps).toEqual(reference.int_timesteps);
      expect(timesteps).toHaveLength(reference.T);
      if (!reference.sigma_min_init) return;
      const ends = [shiftSigma(1, shift!), shiftSigma(1 / 1000, shift!)];
      expect(off(ends, [reference.sigma_max_init!, reference.sigma_min_init])).toBeLessThanOrEqual(tol.abs!);
    });
  }

  test("DanceGRPO's whole timesteps are cut in f32, where 1000 * 0.9 is 900", () => {
    expect(shiftedLinearSchedule(4, 3).timesteps).toEqual([1000, 900, 750, 500]);
    const { sigmas } = shiftedLinearSchedule(4, 3);
    expect(Math.trunc(1000 * sigmas[1]!), 'in double precision').toBe(899);
    expect(shiftedLinearSchedule(4, 3, { trainTimesteps: 500 }).timesteps).toEqual([500, 450, 375, 250]);
  });
});

describe('diffusion', () => {
  for (const reference of cases.filter(({ name }) => /^ddim_sd14_T/.test(name))) {
    test(`${reference.name} visits the published timesteps`, () => {
      const steps = ddimSchedule(reference.T);
      const folder = { ...reference.config, _class_name: 'DDIMScheduler' };
      const scheduler = takeScheduler('scheduler_config.json', folder, { kind: 'sd1' });
      const config = {} as Parameters<typeof scheduleOfFolder>[0]['config']; // diffusion has no patches
      const schedule = scheduleOfFolder({ kind: 'sd1', scheduler, latentSize: 8, config }, reference.T);
      expect(schedule).toEqual({ kind: 'diffusion', prediction: 'epsilon', clip: undefined, steps });
      expect(reference.tol.exact).toBe(true);
      expect(Math.abs(steps.at(-1)!.alphaNext / reference.final_alpha_cumprod! - 1)).toBeLessThanOrEqual(1e-6);
      expect(steps.map(({ timestep }) => timestep)).toEqual(reference.timesteps);
      expect(steps.at(-1)!.alphaNext).toBe(alphasCumprod()[0]);
      for (const [i, { alphaNext }] of steps.slice(0, -1).entries())
        expect(alphaNext).toBe(alphasCumprod()[steps[i]!.timestep - 1000 / reference.T]);
    });
  }

  test('the products of 1 - beta are those of PyTorch', async () => {
    const { tol, tensors: names } = cases.find(({ name }) => name === 'ddim_sd14_alphas_cumprod')!;
    const { tensors } = await readFixture(`grpo/${tensorFile.replace('.safetensors', '')}`);
    const expected = tensors.get(names!.alphas_cumprod!)!.values;
    const actual = alphasCumprod();
    const worst = Math.max(...Array.from(actual, (value, i) => Math.abs(value / expected[i]! - 1)));
    expect(worst).toBeLessThanOrEqual(tol.rel!);
    const golden = readGolden('schedulers') as unknown as { sd_alphas_cumprod_at: Record<string, number> };
    for (const [t, value] of Object.entries(golden.sd_alphas_cumprod_at))
      expect(Math.abs(actual[Number(t)]! / value - 1)).toBeLessThanOrEqual(1e-6);
  });
});

test('impossible numbers of steps and shifts are refused', () => {
  expect(() => flowMatchSchedule(0, 3)).toThrow('schedule: expected a positive number of steps, found 0');
  expect(() => flowMatchSchedule(10, -1)).toThrow('schedule: expected a positive shift, found -1');
  expect(() => ddimSchedule(1001)).toThrow('schedule: expected at most 1000 steps, found 1001');
  expect(() => ddimSchedule(2.5)).toThrow('found 2.5');
});

fixture.done();
