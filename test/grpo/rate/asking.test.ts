/** Votes in the middle of a training: on the policy's pictures, for a head that the groups after them go by. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { RatingServer, RatingState } from '../../../grpo/rate/index.js';
import { decodePng } from '../../../models/pictures/png.js';
import { temporaryFolder } from '../../temporary.js';
import { pictureAt, post, stateOf, voteOn } from './client.js';
import { brightTaste } from './stand_in.js';
import { readVoteLines, startTiny, stateWhen, withPairs, writeTinyConfig } from './tiny.js';

const folder = temporaryFolder();

beforeAll(() => writeTinyConfig(folder));

type At = Pick<RatingServer, 'port'>;

const luma = async (server: At, { sha256 }: { readonly sha256: string }): Promise<number> => {
  const { rgb } = decodePng(await pictureAt(server, `/api/pictures/${sha256}.png`)).picture;
  return rgb.reduce((sum, value) => sum + value, 0) / rgb.length;
};

/** Votes for the brighter picture of the pair that is shown. */
async function voteBright(server: At): Promise<void> {
  const [pair] = (await withPairs(server)).pairs;
  const [left, right] = await Promise.all(pair!.pictures.map((picture) => luma(server, picture)));
  expect((await post(server, 'vote', voteOn(pair!, left! > right! ? 'left' : 'right'))).status).toBe(200);
}

const askedAt = (server: At, update: number): Promise<RatingState> =>
  stateWhen(server, ({ asking, pairs, lesson }) => {
    expect(lesson.status, lesson.message).not.toBe('failed');
    return asking?.update === update && pairs.length > 0;
  });

const three = { ask: 2, set: ['train.updates=3'] };

test('a training waits for votes on what it draws by then, after a third and two thirds of its updates, or goes on without', async () => {
  const taste = brightTaste({ agreesAfter: 1 });
  const server = await startTiny(folder, 'asked', { taste, runs: join(folder, 'runs'), ...three });
  const shown = ({ prompt, pictures }: RatingState['pairs'][number]) => [prompt, pictures[0]!.sha256];
  const before = (await stateWhen(server, ({ pairs }) => pairs.length === 3)).pairs.map(shown);
  await voteBright(server);
  expect((await post(server, 'train', {})).status).toBe(200);
  const first = await askedAt(server, 1);
  expect(first.asking).toEqual({ votes: 0, of: 2, update: 1 });
  expect(first.recent).toEqual([]); // votes on another policy's pictures are not taken back
  expect(before).not.toContainEqual(shown(first.pairs[0]!));
  await voteBright(server);
  const { recent, asking } = await stateOf(server);
  expect(asking?.votes).toBe(1);
  expect((await post(server, 'undo', { vote: recent[0] })).status).toBe(200);
  expect((await stateOf(server)).asking?.votes).toBe(0);
  for (let i = 0; i < 2; i++) await voteBright(server);
  await askedAt(server, 2);
  expect(taste.asked.written).toBe(2);
  expect((await post(server, 'go-on', {})).status).toBe(200);
  const { lesson } = await stateWhen(server, ({ lesson: { status } }) => status === 'done' || status === 'failed');
  expect(lesson).toMatchObject({ status: 'done', update: 3 });
  expect(taste.asked.written).toBe(2); // there was nothing new
  const cast = (await readVoteLines(join(folder, 'asked'))).filter(({ undo }) => undo === undefined);
  expect(cast.map(({ update }) => update)).toEqual([undefined, 1, 1, 1]);
  const { pairs } = await stateWhen(server, (state) => state.asking === undefined && state.pairs.length > 0);
  expect(shown(pairs[0]!)).toEqual(before[1]); // it goes on with those that waited
});

test('a training that waits for votes is stopped in good order, and so is its server', async () => {
  const options = { taste: brightTaste({ agreesAfter: 0 }), runs: join(folder, 'runs'), ...three };
  const server = await startTiny(folder, 'stopped', options);
  expect((await post(server, 'train', {})).status).toBe(200);
  await askedAt(server, 1);
  expect((await post(server, 'stop', {})).status).toBe(200);
  const { asking } = await stateWhen(server, ({ lesson: { status } }) => status === 'stopped');
  expect(asking).toBeUndefined();
  expect((await post(server, 'train', {})).status).toBe(200);
  await askedAt(server, 1);
  await server.close();
});

test("each group's rewards are by one head, whose hash is in groups.jsonl, and a head fitted to new votes takes its place between updates", async () => {
  const runs = join(folder, 'heads');
  const server = await startTiny(folder, 'heads-taste', { clip: 'scenes-clip', runs, ...three });
  for (let i = 0; i < 20; i++) await voteBright(server);
  const started = await post(server, 'train', { anyway: true });
  expect([started.status, started.status === 200 ? '' : started.text]).toEqual([200, '']);
  await askedAt(server, 1);
  const head = async (): Promise<string> =>
    JSON.parse(await readFile(join(folder, 'heads-taste', 'taste.json'), 'utf8')).weights;
  const old = await head();
  for (let i = 0; i < 2; i++) await voteBright(server);
  await askedAt(server, 2);
  const renewed = await head();
  expect(renewed).not.toBe(old);
  expect((await post(server, 'go-on', {})).status).toBe(200);
  const { lesson } = await stateWhen(server, ({ lesson: { status } }) => status === 'done' || status === 'failed');
  expect(lesson).toMatchObject({ status: 'done', renewed: true });
  const lines = (await readFile(join(runs, lesson.run!, 'groups.jsonl'), 'utf8')).trim().split('\n');
  const groups = lines.map((line) => JSON.parse(line));
  expect(groups.map(({ update, versions }) => [update, versions.taste])).toEqual([
    [1, old],
    [2, renewed],
    [3, renewed],
  ]);
  expect(await readFile(join(runs, lesson.run!, 'log.txt'), 'utf8')).toContain('taste is another one after update 1');
});
