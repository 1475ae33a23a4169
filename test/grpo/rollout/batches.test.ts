import { expect, test } from 'vitest';
import { equalParts, placesOf } from '../../../grpo/rollout/batches.js';

test('parts are few, of one size, and cover every place', () => {
  expect(equalParts(24, 16)).toEqual({ size: 12, starts: [0, 12] });
  expect(equalParts(7, 3)).toEqual({ size: 3, starts: [0, 3, 4] });
  expect(equalParts(5, Number.POSITIVE_INFINITY)).toEqual({ size: 5, starts: [0] });
  expect(equalParts(5, 0.5), 'at least one at a time').toEqual({ size: 1, starts: [0, 1, 2, 3, 4] });
  for (let count = 1; count < 40; count++) {
    for (let most = 1; most < 45; most++) {
      const parts = equalParts(count, most);
      const places = parts.starts.flatMap((start) => placesOf(start, parts));
      expect([...new Set(places)].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
      expect(parts.size).toBeLessThanOrEqual(most);
    }
  }
});
