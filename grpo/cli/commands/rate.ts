/** `winnow rate`: a page on which somebody chooses between pictures, and trains by what was liked. */
import type { Command } from 'commander';
import { startRating, usualPort } from '../../rate/index.js';
import { portNumber, seedNumber, wholeNumber } from '../arguments.js';
import * as shared from '../options.js';
import { Reporter } from '../reporter.js';
import { serveUntilInterrupted } from '../serve_page.js';

interface RateOptions {
  readonly prompts?: string;
  readonly pairs: number;
  readonly ask: number;
  readonly clip?: string;
  readonly out: string;
  readonly port: number;
  readonly seed: number;
  readonly set?: readonly string[];
  readonly device?: string;
  readonly json?: boolean;
}

export function addRate(program: Command): void {
  program
    .command('rate')
    .description('choose between pictures on a page of this machine, and train by what you like')
    .argument('<model>', 'an embedded model, a configuration, a run, or with --prompts a model folder')
    .option('--prompts <file>', 'a file of prompts, .txt or .jsonl (default: those that the configuration trains on)')
    .option('--pairs <count>', 'votes that are wanted; one may go on', wholeNumber(1, 100_000), 60)
    .option('--out <folder>', 'where votes and pictures are kept; a folder with votes is gone on with', 'taste')
    .option('--ask <count>', 'votes that a training asks for twice, on what it draws by then', wholeNumber(0, 1000), 0)
    .option('--clip <folder>', "a CLIP to tell pictures by (default: the small models' own, or that of reward.clip)")
    .option('--port <port>', 'where to listen, or a free one where it is taken', portNumber, usualPort)
    .option('--seed <number>', 'of the prompts and the noise', seedNumber, 0)
    .option(...shared.set)
    .option(...shared.device)
    .option(...shared.json)
    .action(rate);
}

async function rate(model: string, { json = false, out, ...options }: RateOptions): Promise<void> {
  const reporter = new Reporter({ json });
  const page = await startRating({ ...options, model, folder: out, warn: (message) => reporter.warn(message) });
  await serveUntilInterrupted(reporter, page);
}
