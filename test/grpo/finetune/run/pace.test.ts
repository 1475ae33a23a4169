/** The rest of a run, by a clock that is set by hand. */
import { expect, test } from 'vitest';
import { Pace } from '../../../../grpo/finetune/run/pace.js';

test('the rest goes by the newest updates, less the one at hand, and by all evaluations', () => {
  let now = 0;
  const pace = new Pace(() => now);
  const update = (seconds: number): number => {
    pace.begin();
    now += 1000 * seconds;
    return pace.end();
  };
  expect(pace.left({ updates: 10, evaluations: 1 })).toBeUndefined();
  pace.evaluated(6);
  expect(update(40)).toBe(40); // the first, slow as it is, has no part once there are five newer ones
  expect(pace.left({ updates: 9, evaluations: 1 })).toBe(9 * 40 + 6);
  for (let i = 0; i < 5; i++) update(2);
  pace.evaluated(8);
  expect(pace.left({ updates: 4, evaluations: 3 })).toBe(4 * 2 + 3 * 7);
  pace.begin();
  now += 1500;
  expect(pace.left({ updates: 4, evaluations: 0 })).toBe(4 * 2 - 1.5);
  now += 60_000;
  expect(pace.left({ updates: 4, evaluations: 2 })).toBe(2 * 7);
  expect(pace.count).toBe(6);
});
