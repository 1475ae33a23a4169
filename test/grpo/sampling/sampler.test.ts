import { expect, test } from 'vitest';
import { mul, normal, scope, type Tensor, tensor } from '../../../engine/index.js';
import { initialLatents, type Policy, Sampler } from '../../../grpo/sampling/sampler.js';
import { ddimSchedule, flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { type NoiseSchedule, odeStepsOf, transitionsOf } from '../../../grpo/sampling/transitions.js';
import { expectClose, testDevice } from '../../check.js';

const device = await testDevice();
const flow: NoiseSchedule = { kind: 'flow', levels: flowMatchSchedule(6, 3) };
const diffusion: NoiseSchedule = { kind: 'diffusion', steps: ddimSchedule(6) };
const shape = [4, 5, 3];
const policy: Policy = (latents, timestep) => mul(latents, mul(timestep, 1e-3)); // linear, so that a sum by hand is short

async function noiseOf(seed: number, counter: number): Promise<number[]> {
  const [keys, at] = [tensor(device, [seed, 0], [1, 2], 'u32'), tensor(device, [counter], [1], 'u32')];
  const noise = scope(device, () => normal(keys, at, [1, ...shape]));
  const values = [...(await noise.data())];
  for (const each of [keys, at, noise]) each.dispose();
  return values;
}

async function draw(seeds: readonly number[], steps: Parameters<Sampler['sample']>[1]): Promise<number[][]> {
  const sampler = await Sampler.create(device, policy, [seeds.length, ...shape], []);
  const initial: Tensor = initialLatents(device, seeds, shape);
  const values = [...(await (await sampler.sample(initial, steps, { seeds })).data())];
  for (const each of [initial, sampler]) each.dispose();
  const size = values.length / seeds.length;
  return seeds.map((_, i) => values.slice(i * size, (i + 1) * size));
}

const cases = {
  'flow, deterministic': odeStepsOf(flow),
  'flow-sde': transitionsOf(flow, { noise: 0.7 }),
  'coefficients-preserving': transitionsOf(flow, { kind: 'cps', noise: 0.8 }),
  'DDIM, deterministic': odeStepsOf(diffusion),
  'DDIM with eta 1': transitionsOf(diffusion, { noise: 1 }),
};

test.each(Object.entries(cases))('%s: the steps and the noise of the seeds, by hand', async (_, steps) => {
  const [found] = await draw([7], steps);
  let latents = await noiseOf(7, 0);
  for (const [i, { timestep, step }] of steps.entries()) {
    const noise = await noiseOf(7, i + 1);
    latents = latents.map((x, j) => step.x * x + step.v * x * timestep * 1e-3 + step.std * noise[j]!);
  }
  expectClose(found!, latents, 1e-5, 'latents');
});

test('a sample depends on its seed alone, not on its batch', async () => {
  const steps = cases['DDIM with eta 1'];
  const [first, second, third] = await draw([1, 2, 3], steps);
  expect(await draw([2], steps)).toEqual([second]);
  expect(await draw([3, 1], steps)).toEqual([third, first]);
});

test('steps with noise need a seed for every sample', async () => {
  const sampler = await Sampler.create(device, policy, [2, ...shape], []);
  const initial = initialLatents(device, [1, 2], shape);
  const steps = cases['flow-sde'];
  await expect(sampler.sample(initial, steps)).rejects.toThrow('steps with noise need 2 seeds, found none');
  await expect(sampler.sample(initial, steps, { seeds: [1] })).rejects.toThrow('need 2 seeds, found 1');
  await sampler.sample(initial, cases['flow, deterministic']);
  for (const each of [initial, sampler]) each.dispose();
});
