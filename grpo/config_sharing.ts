/** Sections of the configuration that say who does the work of an update, and when: nothing of what is computed but the order of one sum. */
import { flag, most, section, whole } from './config_values.js';

export const rollout = section({
  ahead: whole(0, most)
    .default(2)
    .describe(
      'Groups that may wait for scores of a server or a module while others are drawn: memory, not the result. Groups that are drawn together wait together or not at all. 0: none do.',
    ),
});

export const workers = section({
  shards: whole(1, most)
    .default(8)
    .describe(
      'Shards of an update at most: each is some of its groups, drawn and differentiated together, by this machine or by a worker. The sums of gradients are added in their order, so that the number of machines changes no bit.',
    ),
  mixed: flag()
    .default(false)
    .describe(
      'Take workers whose adapter, driver or kernels are others, too. They compute other bits: a run then has no longer those of one machine.',
    ),
  lock_s: whole(5, 86_400)
    .default(60)
    .describe('Seconds without a sign of life until a worker counts as lost and its shard goes to another.'),
});
