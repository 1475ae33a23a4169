/** Ratings of a tiny model. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import {
  type RatingServer,
  type RatingServerOptions,
  type RatingState,
  startRating,
} from '../../../grpo/rate/index.js';
import { writeTinyFile } from '../tiny_file.js';
import { stateOf } from './client.js';

/** Writes prompts.txt and tiny.yaml. */
export async function writeTinyConfig(
  folder: string,
  prompts = 'a red circle\nthe blue cat\na green tree\n',
): Promise<void> {
  await writeTinyFile(
    folder,
    `lora: { rank: 2, alpha: 4, targets: attention }
reward: { brightness: { weight: 1 } }
sampler: { steps: 3, kind: ddim, noise: 1, eval_steps: 2 }
grpo: { keep: [3, 2], prune_at: [1], groups_per_update: 1 }
train: { updates: 2, lr: 1.0e-2, micro_batch: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
    prompts,
  );
}

/** Starts a rating of the folder's tiny.yaml, which ends with the test if not before. */
export async function startTiny(folder: string, out: string, options: Partial<RatingServerOptions> = {}) {
  const model = join(folder, 'tiny.yaml');
  const server = await startRating({ model, folder: join(folder, out), port: 0, ...options });
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (!isClosed) await server.close();
    isClosed = true;
  };
  onTestFinished(close);
  return { ...server, close };
}

/** The state once it is as it should be. */
export async function stateWhen(
  server: Pick<RatingServer, 'port'>,
  is: (state: RatingState) => boolean,
): Promise<RatingState> {
  let state = await stateOf(server);
  const poll = async (): Promise<boolean> => {
    state = await stateOf(server);
    return is(state);
  };
  await expect.poll(poll, { timeout: 60_000 }).toBe(true);
  return state;
}

export const withPairs = (server: Pick<RatingServer, 'port'>) => stateWhen(server, ({ pairs }) => pairs.length > 0);

/** The lines of a folder's votes.jsonl. */
export const readVoteLines = async (folder: string): Promise<Record<string, unknown>[]> =>
  (await readFile(join(folder, 'votes.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
