/** Sections of the configuration that name what a run is given: its prompts, and its rewards. */
import { z } from 'zod';
import { above, number, section, text, whole } from './config_values.js';

export const prompts = section({
  train: text('a file of prompts, or scenes').describe(
    'A file, .txt (one a line) or .jsonl ({"prompt": ..., ...meta}), or scenes: captions drawn from the grammar of the scenes.',
  ),
  test: text('a file of prompts, or scenes').describe('Held-out prompts for evaluation, in the same forms.'),
});

/** The keys of one reward. */
export const reward = section({
  weight: number().default(1).describe('Factor of the reward in the sum.'),
  module: text('the path of an ES module')
    .optional()
    .describe("A user's ES module, default export (images) => scores."),
  http: z
    .url({ protocol: /^https?$/, error: 'an address, http:// or https://' })
    .optional()
    .describe('A server that is sent PNGs and answers with scores.'),
  headers: z
    .record(z.string(), text('a text, such as env:MY_TOKEN'), {
      error: 'headers by name: { Authorization: env:MY_TOKEN }',
    })
    .optional()
    .describe(
      "What a server is sent besides. env:NAME, here and in the address, is the value of the environment's variable; credentials are given so and not otherwise, as a run keeps its configuration.",
    ),
  batch: whole(1)
    .optional()
    .describe('Pictures in one POST to a server at most; several are sent one after another. Default: all at once.'),
  timeout_s: above(0)
    .default(60)
    .describe(
      'Seconds until a POST or a call of a module counts as failed. Within them a POST is tried again where the server was not reached or is busy (429, 502, 503, 504).',
    ),
  path: text('the path of a folder')
    .optional()
    .describe("The folder with the reward's own weights, where it reads some."),
});
