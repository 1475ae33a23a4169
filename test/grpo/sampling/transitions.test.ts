import { describe, expect, test } from 'vitest';
import { promptsOfUpdate } from '../../../grpo/prompt_order.js';
import { ddimSchedule, flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { danceCoefficients, ddimCoefficients, flowSdeCoefficients } from '../../../grpo/sampling/step.js';
import { type NoiseSchedule, odeStepsOf, transitionsOf } from '../../../grpo/sampling/transitions.js';

const flow: NoiseSchedule = { kind: 'flow', levels: flowMatchSchedule(10, 3) };
const diffusion: NoiseSchedule = { kind: 'diffusion', steps: ddimSchedule(10) };

test('steps of a flow have the coefficients of their kind, previews of x - sigma v, and the intervals of the levels', () => {
  const steps = transitionsOf(flow, { noise: 0.7 }, { train_last_step: true });
  const { sigmas, timesteps } = flow.levels;
  for (const [i, { timestep, step, preview, interval }] of steps.entries()) {
    const level = { sigma: sigmas[i]!, sigmaNext: sigmas[i + 1]! };
    expect(timestep).toBe(timesteps[i]);
    expect(step).toEqual(flowSdeCoefficients({ ...level, sigmaMax: sigmas[1]!, noiseLevel: 0.7 }));
    expect([preview.x, preview.v, preview.std]).toEqual([1, -sigmas[i]!, 0]);
    expect(interval).toBe(level.sigma - level.sigmaNext);
  }
  const [first] = transitionsOf(flow, { kind: 'dance', noise: 0.3 });
  expect(first!.step).toEqual(danceCoefficients({ sigma: 1, sigmaNext: sigmas[1]!, eta: 0.3 }));
});

test('the last step is deterministic unless asked otherwise, so that it ends at the preview', () => {
  for (const schedule of [flow, diffusion]) {
    const steps = transitionsOf(schedule, { noise: 0.7 });
    expect(steps.map(({ step }) => step.std > 0)).toEqual([...Array(9).fill(true), false]);
    expect(steps.at(-1)!.step).toEqual(odeStepsOf(schedule).at(-1)!.step);
    expect(transitionsOf(schedule, { noise: 0.7 }, { train_last_step: true }).at(-1)!.step.std).toBeGreaterThan(0);
  }
  const { step, preview } = transitionsOf(flow, { noise: 0.7 }).at(-1)!;
  expect([step.x, step.v]).toEqual([preview.x, preview.v]);
});

test('diffusion takes DDIM steps with eta, and nothing else', () => {
  const [first] = transitionsOf(diffusion, { noise: 0.5 });
  const { alpha, alphaNext } = diffusion.steps[0]!;
  expect(first!.step).toEqual(ddimCoefficients({ alpha, alphaNext, eta: 0.5 }));
  expect(first!.preview.x).toBeCloseTo(1 / Math.sqrt(alpha), 12);
  expect(() => transitionsOf(diffusion, { kind: 'cps', noise: 1 })).toThrow(
    'sampler: steps of kind cps are not for a diffusion model',
  );
});

describe('prompts of an update', () => {
  const prompts = [...'abcdefgh'];

  test('all are passed through before one comes again, in another order each time', () => {
    const drawn = [...Array(8).keys()].flatMap((update) => promptsOfUpdate(prompts, 3, 7, update));
    const passes = [0, 8, 16].map((start) => drawn.slice(start, start + 8));
    for (const pass of passes) expect([...pass].sort()).toEqual(prompts);
    expect(new Set(passes.map(String)).size).toBe(3);
  });

  test('an update may ask for more than there are', () => {
    const drawn = promptsOfUpdate(prompts, 20, 7, 1);
    expect(drawn.length).toBe(20);
    expect(promptsOfUpdate(prompts, 20, 7, 1)).toEqual(drawn);
    expect(promptsOfUpdate(prompts, 20, 8, 1)).not.toEqual(drawn);
    expect(() => promptsOfUpdate([], 1, 0, 0)).toThrow('prompts: there are none');
  });
});
