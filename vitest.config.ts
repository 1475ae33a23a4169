import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks', // one process a file: a driver crash takes one file with it
    fileParallelism: false, // a software adapter already uses every core
    testTimeout: 120_000, // the first dispatch of a kernel compiles it, seconds on a software adapter
    hookTimeout: 300_000, // the first file may have to install a Vulkan driver
  },
});
