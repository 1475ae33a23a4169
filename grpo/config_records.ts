/** The sections of a configuration that change what a run keeps and shows, and not what it computes. */
import { z } from 'zod';
import { flag, list, most, section, seed, text, whole } from './config_values.js';

/** The keys of checkpoints. */
export const save = section({
  every: whole(1).default(20).describe('Updates between checkpoints; the last is always written.'),
  keep: whole(1).default(5).describe('How many checkpoints stay on disk.'),
  previews: whole(0)
    .default(4)
    .describe(
      'Groups whose previews stay on disk, the newest, one of an update: the pictures of every selection. 0: none.',
    ),
});

/** The keys of sample grids. */
export const sample = section({
  every: whole(0).default(0).describe('Updates between sample grids; 0 for before and after alone.'),
  prompts: text('a file of prompts').optional().describe('A file of prompts. Default: the first test prompts.'),
  seeds: list(seed(), 'seeds, such as [1, 2]')
    .default([1, 2, 3, 4])
    .describe('Seeds of the noise; each makes a picture of every prompt.'),
  labels: flag().default(false).describe('Seed and reward below each picture; the pictures are scored for it.'),
});

/** The keys of evaluations. */
export const evaluation = section({
  every: whole(0).default(0).describe('Updates between evaluations; 0 for before and after alone.'),
  n: whole(1, most).default(64).describe('Held-out pictures.'),
  rewards: list(text('the name of a reward'), 'names of rewards')
    .default([])
    .describe('Rewards reported besides those that are trained on.'),
  probe_every: whole(0)
    .default(0)
    .describe(
      'Updates between probes: a group that is drawn to its end without pruning, beside the training, to measure how well previews foretell final rewards and what pruning loses. 0: none.',
    ),
});

/** The keys of trackers. */
export const track = section({
  tensorboard: flag().default(false).describe("Write TensorBoard's event files into tb/ of the run's folder."),
  trackio: z
    .url({ protocol: /^https?$/, error: 'an address, http:// or https://' })
    .optional()
    .describe('A Trackio server that is sent the metrics. One that is not reached is told of once and stops nothing.'),
});
