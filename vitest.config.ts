import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** Files that lose devices, start or end processes, change the environment, or open devices through the command line. */
const alone = [
  'test/bench/**/*.test.ts',
  'test/engine/{device,driver,tuning}/**/*.test.ts',
  'test/grpo/{cli,dashboard,finetune,rate,study,workers}/**/*.test.ts',
  'test/grpo/checkpoint.test.ts',
  'test/grpo/rollout/ahead_timing.test.ts',
  'test/examples.test.ts',
  'test/soak/**/*.test.ts',
  'test/models/files/weights*.test.ts', // their helper sets hooks up where it is first imported, which a shared process does once
];

/** Files that start so many processes that others would wait for their own: they come last. */
const crowded = ['test/grpo/workers/{processes,serve}.test.ts'];

// A software adapter compiles on one thread, which is most of the time of small tests: files run side by side, each with
// its share of the processors.
const workers = Math.min(Math.max(availableParallelism(), 1), 4);
const threads = Math.max(Math.floor(availableParallelism() / workers), 1);

export default defineConfig({
  test: {
    pool: 'forks', // processes, not threads: a driver crash takes the file at work with it, and no other
    maxWorkers: workers,
    env: { LP_NUM_THREADS: String(threads) },
    testTimeout: 120_000, // the first dispatch of a kernel compiles it, seconds on a software adapter
    hookTimeout: 300_000, // the first file may have to install a Vulkan driver
    projects: [
      { extends: true, test: { name: 'alone', include: alone, exclude: crowded, sequence: { groupOrder: 0 } } },
      // One process runs file after file, on one device (testDevice in test/check.ts), so that a kernel is compiled once.
      {
        extends: true,
        test: {
          name: 'shared',
          include: ['test/**/*.test.ts'],
          exclude: alone,
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      { extends: true, test: { name: 'crowded', include: crowded, sequence: { groupOrder: 1 } } },
    ],
  },
});
