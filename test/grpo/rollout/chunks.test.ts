import { expect, test } from 'vitest';
import { equalChunks, rowsOf } from '../../../grpo/rollout/chunks.js';

test('chunks are few, of one size, and cover every row', () => {
  expect(equalChunks(24, 16)).toEqual({ size: 12, starts: [0, 12] });
  expect(equalChunks(7, 3)).toEqual({ size: 3, starts: [0, 3, 4] });
  expect(equalChunks(5, Number.POSITIVE_INFINITY)).toEqual({ size: 5, starts: [0] });
  expect(equalChunks(5, 0.5), 'at least one at a time').toEqual({ size: 1, starts: [0, 1, 2, 3, 4] });
  for (let count = 1; count < 40; count++) {
    for (let most = 1; most < 45; most++) {
      const chunks = equalChunks(count, most);
      const rows = chunks.starts.flatMap((start) => rowsOf(start, chunks));
      expect([...new Set(rows)].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
      expect(chunks.size).toBeLessThanOrEqual(most);
    }
  }
});
