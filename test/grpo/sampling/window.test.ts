/** The SDE window: where it lies, which steps draw noise, and that moving it captures nothing. */
import { describe, expect, test, vi } from 'vitest';
import type { StepKind } from '../../../grpo/config.js';
import { trainedSteps } from '../../../grpo/learning/timesteps.js';
import { ddimSchedule, flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { type NoiseSchedule, odeStepsOf, transitionsOf } from '../../../grpo/sampling/transitions.js';
import { pathOf, windowOf, windowProblems } from '../../../grpo/sampling/window.js';
import { Trainer, type TrainerConfig } from '../../../grpo/trainer.js';
import { testDevice } from '../../check.js';
import { bitsOf, brightness, loadTiny, tinyConfig, tinyPrompts } from '../tiny.js';

type Window = NonNullable<TrainerConfig['sampler']['window']>;

const device = await testDevice();
const flow: NoiseSchedule = { kind: 'flow', levels: flowMatchSchedule(10, 3) };
const diffusion: NoiseSchedule = { kind: 'diffusion', steps: ddimSchedule(10) };

const configOf = (
  steps: number,
  window: Partial<Window> | null,
  grpo: Parameters<typeof tinyConfig>[0] = {},
): TrainerConfig =>
  tinyConfig({
    ...grpo,
    sampler: { steps, window: window && { size: 2, place: 'fixed', every: 25, ...window }, ...grpo.sampler },
  });

const starts = (config: TrainerConfig, updates: number): number[] =>
  Array.from({ length: updates }, (_, update) => windowOf(config, update).start);

describe('the place of a window', () => {
  test('without one it is every step that is trained', () => {
    expect(windowOf(configOf(10, null), 3)).toEqual({ start: 0, end: 9 });
    expect(windowOf(configOf(10, null, { grpo: { train_last_step: true } }), 3)).toEqual({ start: 0, end: 10 });
  });

  test('a fixed one stands at the start of its range', () => {
    expect(windowOf(configOf(10, {}), 0)).toEqual({ start: 0, end: 2 });
    expect(windowOf(configOf(10, { range: [3, 7] }), 50)).toEqual({ start: 3, end: 5 });
  });

  test("a random one begins at any step of Flow-GRPO-Fast's range, each as likely, by seed and update alone", () => {
    const config = configOf(10, { place: 'random' });
    const drawn = starts(config, 4000);
    expect(new Set(drawn)).toEqual(new Set([0, 1, 2, 3])); // [0, T / 2 - 2]
    for (const start of [0, 1, 2, 3])
      expect(Math.abs(drawn.filter((each) => each === start).length - 1000)).toBeLessThan(120); // 4 deviations
    expect(starts(config, 50)).toEqual(drawn.slice(0, 50));
    expect(starts({ ...config, seed: 6 }, 50)).not.toEqual(drawn.slice(0, 50));
    expect(new Set(starts(configOf(10, { place: 'random', range: [5, 9] }), 99))).toEqual(new Set([5, 6, 7]));
  });

  test("a moving one goes as MixGRPO's does, but whole: from the end of its range back to the start", () => {
    // Of MixGRPO's GRPOTrainingStates with 2 iterations a place, 3 steps and 8 timesteps the places that hold 3 steps.
    const whole = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5];
    expect(starts(configOf(9, { size: 3, place: 'moving', every: 2 }), 14)).toEqual([...whole, 0, 0]);
    const usual = configOf(25, { size: 4, place: 'moving', range: [0, 23] });
    expect([0, 24, 25, 49, 499, 500].map((update) => windowOf(usual, update).start)).toEqual([0, 0, 1, 1, 19, 0]);
  });

  test('what contradicts other keys is refused by its name', () => {
    const problem = (config: TrainerConfig): string =>
      windowProblems(config)
        .map(({ key, message }) => `${key} ${message}`)
        .join('; ');
    expect(problem(configOf(10, { size: 10 }))).toBe(
      'sampler.window.size expected at most the 9 steps of sampler.window.range [0, 9], found 10',
    );
    expect(problem(configOf(10, { size: 10 }, { grpo: { train_last_step: true } }))).toBe('');
    expect(problem(configOf(5, { size: 3, place: 'random' }))).toContain('at most the 2 steps');
    for (const range of [
      [3, 3],
      [4, 10],
      [7, 2],
    ] as const)
      expect(problem(configOf(10, { range: [...range] }))).toBe(
        `sampler.window.range expected a first step and an end above it of at most 9, without the last step of sampler.steps (grpo.train_last_step) 10, found [${range.join(', ')}]`,
      );
    const shared = { sampler: { same_latent: true }, grpo: { prune_at: [2, 3] } };
    expect(problem(configOf(10, { range: [1, 9] }, shared))).toBe('');
    expect(problem(configOf(10, { range: [2, 9] }, shared))).toBe(
      'sampler.same_latent the samples of a group are equal up to the first step of sampler.window, 2 at the latest: expected grpo.prune_at above it, found [2, 3]',
    );
    expect(problem(configOf(10, { place: 'random' }, shared))).toContain('3 at the latest');
    expect(() => windowOf(configOf(10, { size: 10 }), 0)).toThrow('sampler.window.size: expected at most the 9 steps');
  });
});

test('steps of the window are those of the sampler, all others and their log probabilities those of the ODE', () => {
  const kinds: readonly (readonly [NoiseSchedule, StepKind, number])[] = [
    [flow, 'flow-sde', 0.7],
    [flow, 'cps', 0.8],
    [flow, 'dance', 0.3],
    [diffusion, 'ddim', 1],
    [{ ...diffusion, clip: 0.5 }, 'ddim', 1],
  ];
  for (const [schedule, kind, noise] of kinds) {
    const [whole, ode] = [transitionsOf(schedule, { kind, noise }), odeStepsOf(schedule)];
    const steps = transitionsOf(schedule, { kind, noise }, {}, { start: 3, end: 5 });
    for (const [i, step] of steps.entries()) {
      expect(step, `${kind} ${i}`).toEqual(i === 3 || i === 4 ? whole[i] : { ...whole[i], ...ode[i] });
      expect(step.step.std > 0).toBe(i === 3 || i === 4);
      expect(step.step.scale > 0).toBe(i === 3 || i === 4);
    }
  }
});

test('the trained steps are those of the window, in part or in another order where that is asked for', () => {
  const sampler = configOf(10, { size: 4 }).sampler;
  expect(trainedSteps(sampler, {}, [], 3)).toEqual([3, 4, 5, 6]);
  expect(trainedSteps(sampler, { timestep_fraction: 0.5 }, [], 3)).toEqual([3, 4]);
  expect(trainedSteps(sampler, { shuffle_timesteps: true }, [7, 1], 3).toSorted()).toEqual([3, 4, 5, 6]);
});

describe('updates with a window that moves', () => {
  const config = configOf(5, { place: 'moving', every: 1 }, { sampler: { batch: 3 } });

  /** Some updates of a fresh trainer, which begins with the update `first` of the weights in `from`. */
  async function run(given: TrainerConfig, updates: number) {
    const model = await loadTiny(device, 'sd3');
    const trainer = await Trainer.create(model, brightness(), given);
    const captures = vi.spyOn(device.pool, 'allocatePlanned');
    const pipelines = vi.spyOn(device.pipelines, 'compile');
    const reports = [];
    for (let i = 0; i < updates; i++) reports.push(await trainer.update(tinyPrompts));
    const counts = [captures, pipelines].map(({ mock }) => mock.calls.length);
    await trainer.update(tinyPrompts.slice(0, 1)); // another number of groups, which is captured when it comes
    const later = [captures, pipelines].map(({ mock }) => mock.calls.length);
    for (const spy of [captures, pipelines]) spy.mockRestore();
    const weights = await bitsOf(model.trainable.values());
    for (const each of [trainer, model]) each.dispose();
    return { reports, counts, later, weights };
  }

  test('nothing is captured or compiled after the start, and other batches give the same bits', async () => {
    const { counts, weights, reports } = await run(config, 4);
    expect(counts).toEqual([0, 0]);
    expect(reports.map(({ counts: { trained } }) => trained)).toEqual(Array(4).fill(2 * 3 * 2));
    const other = configOf(5, { place: 'moving', every: 1 }, { train: { micro_batch: 4 } });
    const together = await run(other, 4);
    expect(together.weights).toEqual(weights);
    expect(together.counts).toEqual([0, 0]);
    expect(Math.min(...together.later), 'what is captured is counted').toBeGreaterThan(0);
    const fixed = await run(configOf(5, {}, { sampler: { batch: 3 } }), 4);
    expect(fixed.weights).not.toEqual(weights);
    // The first window is that of a fixed one, the second is another.
    expect(fixed.reports[0]!.advantages).toEqual(reports[0]!.advantages);
    expect(fixed.reports[1]!.advantages).not.toEqual(reports[1]!.advantages);
  });

  test('the path of an update is that of its window', async () => {
    const model = await loadTiny(device, 'sd3');
    for (const update of [0, 1, 2, 3])
      expect(pathOf(model, config, update).flatMap(({ step }, i) => (step.std > 0 ? [i] : []))).toEqual(
        [0, 1].map((i) => i + (update % 3)),
      );
    model.dispose();
  });
});
