/** Schedules against the tables of diffusers and DanceGRPO, from test/fixtures/grpo/schedules.json. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import {
  alphasCumprod,
  ddimSchedule,
  dynamicFlowSchedule,
  type FlowSchedule,
  flowMatchSchedule,
  shiftedLinearSchedule,
} from '../../../grpo/sampling/schedule.js';
import { readFixture } from '../../fixtures.js';
import { readGolden } from '../../models/golden.js';

interface Case {
  readonly name: string;
  readonly source: string;
  readonly T: number;
  readonly shift?: number;
  readonly mu?: number;
  readonly sigmas?: readonly number[];
  readonly timesteps?: readonly number[];
}

const { cases } = JSON.parse(readFileSync(join(packageRoot(), 'test/fixtures/grpo/schedules.json'), 'utf8')) as {
  cases: Case[];
};

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
      expect(off(sigmas, reference.sigmas!)).toBeLessThanOrEqual(1e-7);
      if (reference.timesteps) expect(off(timesteps, reference.timesteps)).toBeLessThanOrEqual(1e-4);
      expect(timesteps).toHaveLength(reference.T);
    });
  }
});

describe('diffusion', () => {
  for (const reference of cases.filter(({ name }) => /^ddim_sd14_T/.test(name))) {
    test(`${reference.name} visits the published timesteps`, () => {
      const steps = ddimSchedule(reference.T);
      expect(steps.map(({ timestep }) => timestep)).toEqual(reference.timesteps);
      expect(steps.at(-1)!.alphaNext).toBe(alphasCumprod()[0]);
      for (const [i, { alphaNext }] of steps.slice(0, -1).entries())
        expect(alphaNext).toBe(alphasCumprod()[steps[i]!.timestep - 1000 / reference.T]);
    });
  }

  test('the products of 1 - beta are those of PyTorch', async () => {
    const { tensors } = await readFixture('grpo/schedules');
    const expected = tensors.get('ddim_sd14_alphas_cumprod/alphas_cumprod')!.values;
    const actual = alphasCumprod();
    const worst = Math.max(...Array.from(actual, (value, i) => Math.abs(value / expected[i]! - 1)));
    expect(worst).toBeLessThanOrEqual(1e-6);
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
