/** Drawing and scoring overlap: together they take about as long as the longer of them. A file of its own, by the clock. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Prompt } from '../../../grpo/model.js';
import { Rollout } from '../../../grpo/rollout/rollout.js';
import { Trajectories } from '../../../grpo/rollout/trajectories.js';
import { callSizeOf, slotsOf } from '../../../grpo/rollout/turns.js';
import { pathOf } from '../../../grpo/sampling/window.js';
import { testDevice } from '../../check.js';
import { loadTiny, tinyConfig } from '../tiny.js';
import { delayed } from './delayed.js';

const device = await testDevice();
const groups = 8;
const prompts = Array.from({ length: groups }, (_, i): Prompt => ({ prompt: `picture ${i}`, meta: {} }));

test('a rollout takes no longer than drawing or scoring alone and a tenth, but for its first and last part', async () => {
  const model = await loadTiny(device, 'sd3');
  /** Draws the groups one by one, each call of the reward as long as `wait` says. Times in seconds. */
  async function timed(ahead: number, wait: number) {
    const grpo = { keep: [12, 8, 6], prune_at: [5, 7], groups_per_update: groups };
    const config = tinyConfig({ sampler: { steps: 10, batch: 12 }, grpo, rollout: { ahead } });
    let [start, first, last] = [0, 0, 0];
    const { reward, seen } = delayed({
      wait: async () => {
        const now = performance.now();
        first ||= now - start;
        await sleep(1000 * wait);
        last = performance.now() - now;
      },
    });
    const slots = slotsOf(groups, callSizeOf(model.latentShape, config, true));
    const store = Trajectories.create(model, { slots, groups, transitions: pathOf(model, config, 0) });
    const rollout = await Rollout.create(model, store, reward, config);
    store.encode(prompts.map(({ prompt }) => prompt));
    start = performance.now();
    const results = await rollout.sample(prompts, 0);
    const wall = (performance.now() - start) / 1000;
    for (const each of [rollout, store]) each.dispose();
    const all = results.reduce((sum, { seconds }) => sum + seconds.sample + seconds.reward, 0);
    return { wall, drawing: all - seen.seconds, scoring: seen.seconds, edges: (first + last) / 1000 };
  }
  await timed(0, 0); // compiles
  const wait = Math.max((await timed(0, 0)).drawing / groups / 3, 0.02); // three calls a group
  const apart = await timed(0, wait);
  expect(apart.wall, 'one after the other').toBeGreaterThan(0.95 * (apart.drawing + apart.scoring));
  const { wall, drawing, scoring, edges } = await timed(2, wait);
  const times = `${JSON.stringify({ wall, drawing, scoring, edges })}, apart ${JSON.stringify(apart)}`;
  expect(wall, times).toBeLessThan(1.1 * Math.max(drawing, scoring) + edges);
  expect(wall, times).toBeLessThan(drawing + scoring - 0.6 * Math.min(drawing, scoring));
  model.dispose();
});
