/**
 * From a clone to a model that has begun to learn a taste, `npm run bench:rate [voter]`: clones this repository's last commit,
 * `npm ci`, builds, starts `winnow rate scenes-flow`, and has a voter with a known utility click every 1.5 s, every tenth vote
 * wrong; then «train now», until the grid of samples has changed. Writes bench/results/rate.json with the seconds of each part,
 * and ends with status 1 where it took longer than four minutes. It clicks by HTTP, as the page does.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { writeWhole } from '../engine/files.js';
import { packageRoot } from '../engine/version.js';
import type { RatingState } from '../grpo/rate/index.js';
import { decodePng } from '../models/pictures/png.js';
import { pictureAt, post, stateOf, voteOn } from '../test/grpo/rate/client.js';
import { random } from '../test/host.js';
import { scenePairs } from '../test/taste/pairs.js';
import { utilityBy, voters } from '../test/taste/voter.js';

const [votes, pace, wrong, limit] = [40, 1500, 0.1, 240]; // milliseconds a vote; a share of them; seconds
const results = join('bench', 'results', 'rate.json');
const voter = process.argv[2] ?? 'small and dark';
const liking = voters[voter];
if (!liking) throw new Error(`no voter is called ${voter}; there are ${Object.keys(voters).join(', ')}`);
const utility = utilityBy(
  liking,
  scenePairs(100).flatMap(({ pictures }) => [...pictures]),
);

const start = performance.now();
const seconds: Record<string, number> = {};
let last = start;
/** The part that has ended now takes the time since the one before. */
function ended(part: string): void {
  const now = performance.now();
  seconds[part] = Math.round((now - last) / 100) / 10;
  last = now;
  console.log(`${part}: ${seconds[part]} s`);
}

async function run(cwd: string, command: string, ...args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  const [status] = await once(child, 'exit');
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
}

/** The port of the page, once it is printed. */
async function portOf(child: ChildProcess): Promise<number> {
  let text = '';
  for await (const part of child.stdout!) {
    text += part;
    const [, port] = /^page +http:\/\/127\.0\.0\.1:(\d+)$/m.exec(text) ?? [];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`winnow rate printed no page: ${text}`);
}

/** Waits for a state, and throws where it can't come any more. */
async function stateWhen(at: { readonly port: number }, is: (state: RatingState) => boolean): Promise<RatingState> {
  for (;;) {
    const state = await stateOf(at);
    if (is(state)) return state;
    const { problem, lesson } = state;
    if (problem !== undefined || lesson.status === 'failed') throw new Error(problem ?? lesson.message);
    await wait(50);
  }
}

async function measure(work: string): Promise<void> {
  const clone = join(work, 'winnow');
  await run(work, 'git', 'clone', '-q', packageRoot(), clone);
  last = performance.now(); // a clone of the network's is none of this
  await run(clone, 'npm', 'ci', '--silent');
  ended('npm ci');
  await run(clone, 'npm', 'run', '-s', 'build');
  ended('build');
  const main = join(clone, 'dist', 'grpo', 'cli', 'main.js');
  const args = [main, 'rate', 'scenes-flow', '--port', '0', '--pairs', String(votes)];
  const child = spawn(process.execPath, args, { cwd: work, stdio: ['ignore', 'pipe', 'inherit'] });
  const over = once(child, 'exit');
  try {
    const at = { port: await portOf(child) };
    await stateWhen(at, ({ pairs }) => pairs.length > 0);
    ended('first pair');
    const chance = random([votes], 7, { low: 0, high: 1 }).data;
    const first = performance.now() + pace;
    for (let i = 0; i < votes; i++) {
      await wait(Math.max(0, first + i * pace - performance.now()));
      const { pairs } = await stateWhen(at, (state) => state.pairs.length > 0);
      const pair = pairs[0]!;
      const seen = await Promise.all(
        pair.pictures.map(async ({ sha256 }) => decodePng(await pictureAt(at, `/api/pictures/${sha256}.png`)).picture),
      );
      const isLeft = utility(seen[0]!) > utility(seen[1]!) !== chance[i]! < wrong;
      const { status, text } = await post(at, 'vote', voteOn(pair, isLeft ? 'left' : 'right', pace / 1000));
      if (status !== 200) throw new Error(`vote ${i + 1}: ${status} ${text}`);
    }
    ended(`${votes} votes`);
    const { status, text } = await post(at, 'train', {});
    if (status !== 200) throw new Error(`train now: ${status} ${text}`);
    ended('fit');
    const changed = await stateWhen(at, ({ lesson }) => lesson.grids.length > 1);
    const grids = await Promise.all(
      changed.lesson.grids
        .slice(0, 2)
        .map((grid) => pictureAt(at, `/api/samples/${String(grid).padStart(6, '0')}.png`)),
    );
    if (Buffer.from(grids[0]!).equals(grids[1]!)) throw new Error('the grid did not change');
    ended('changed grid');
    const total = Math.round(Object.values(seconds).reduce((sum, each) => sum + each, 0));
    const { taste, lesson } = await stateWhen(at, (state) => ['done', 'stopped'].includes(state.lesson.status));
    ended('rest of the training');
    const outcome = {
      date: new Date().toISOString(),
      commit: execFileSync('git', ['rev-parse', 'HEAD'], { cwd: clone, encoding: 'utf8' }).trim(),
      processors: availableParallelism(),
      load: loadavg()[0],
      voter,
      votes,
      agreement: taste?.agreement,
      words: taste?.words,
      seconds,
      /** From npm ci to the changed grid. */
      total,
      limit,
      firstChangedGrid: changed.lesson.grids[1],
      updates: lesson.of,
      rewards: lesson.rewards,
    };
    await writeWhole(results, `${JSON.stringify(outcome, null, 1)}\n`);
    console.log(`${total} s from npm ci to the changed grid, expected at most ${limit}: ${results}`);
    if (total > limit) process.exitCode = 1;
  } finally {
    child.kill('SIGINT');
    await over;
  }
}

const work = await mkdtemp(join(tmpdir(), 'winnow-rate-'));
try {
  await measure(work);
} finally {
  await rm(work, { recursive: true, force: true });
}
