/** A turn that fails while others wait for scores ends them, and leaves no trace. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { type CombinedReward, RewardError } from '../../../grpo/rewards/reward.js';
import { type Progress, Trainer } from '../../../grpo/trainer.js';
import { testDevice } from '../../check.js';
import { loadTiny } from '../tiny.js';
import { configOf, delayed, prompts, untilAborted, withoutPlace } from './delayed.js';

const device = await testDevice();
const model = await loadTiny(device, 'sd3');
afterAll(() => model.dispose());

describe('a turn that fails', () => {
  /** An update that fails, then one that does not: that must be the calm one. */
  async function fails(
    reward: CombinedReward,
    message: string | RegExp,
    { ahead = 2, ...options }: Parameters<Trainer['update']>[1] & { ahead?: number } = {},
    mend = (): void => {},
  ): Promise<void> {
    const changes = { train: { lr: 0 } };
    const calm = await Trainer.create(model, delayed().reward, configOf(changes, 0));
    const { groups } = await calm.update(prompts);
    calm.dispose();
    const trainer = await Trainer.create(model, reward, configOf(changes, ahead));
    try {
      await expect(trainer.update(prompts, options)).rejects.toThrow(message);
      expect(trainer.updates).toBe(0);
      mend();
      const again = await trainer.update(prompts);
      expect(again.groups.map(withoutPlace)).toEqual(groups.map(withoutPlace));
    } finally {
      trainer.dispose();
    }
  }

  for (const [which, failing] of [
    ['the earliest', 0],
    ['a later one, while the earliest is drawn on', 1],
    ['one at its end', 4],
  ] as const)
    test(`ends the others, which leave nothing behind (${which})`, async () => {
      let broken = true;
      const { reward, seen } = delayed({
        wait: async (call) => {
          await sleep(5);
          if (broken && call === failing) throw new RewardError('delayed', 'broke', 6);
        },
      });
      let calls = 0;
      await fails(reward, 'reward "delayed" broke for 6 images', {}, () => {
        broken = false;
        calls = seen.calls;
      });
      expect(calls, 'no call after the one that failed').toBe(failing + 1);
    });

  test('by what its steps are told ends the others too', async () => {
    const { reward } = delayed({ wait: () => sleep(5) });
    let broken = true;
    const onProgress = (at: Progress): void => {
      if (broken && at.phase === 'sampling' && at.group === 2) throw new Error('no progress');
    };
    await fails(reward, 'no progress', { onProgress }, () => {
      broken = false;
    });
  });

  test('by the signal ends all that wait, and those that wait to be scored never are', async () => {
    const stop = new AbortController();
    let held = true;
    const { reward, seen } = delayed({ wait: async (_, signal) => (held ? untilAborted(signal) : undefined) });
    let begun = 0;
    const onProgress = (at: Progress): void => {
      if (at.phase !== 'sampling') return;
      if (at.step === 1) begun++;
      // Of three turns two wait, and the third is about to: after its second step its previews are asked for.
      if (begun === 3 && at.step === 2) setTimeout(() => stop.abort(new Error('stopped')), 20);
    };
    let calls = 0;
    await fails(reward, 'stopped', { onProgress, signal: stop.signal }, () => {
      held = false;
      calls = seen.calls;
    });
    expect([begun, calls]).toEqual([3, 1]);
  });
});
