/** The server of `winnow rate`: what it takes and gives, to whom; votes count once, are kept at once, and are gone on with. */
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { pictureHash } from '../../../grpo/finetune/taste/votes.js';
import {
  type RatingServer,
  type RatingServerOptions,
  type RatingState,
  startRating,
} from '../../../grpo/rate/index.js';
import { decodePng } from '../../../models/pictures/png.js';
import { temporaryFolder } from '../../temporary.js';
import { ask } from '../http.js';
import { post, stateOf, voteOn } from './client.js';
import { brightTaste } from './stand_in.js';
import { readVoteLines, startTiny, stateWhen, withPairs, writeTinyConfig } from './tiny.js';

const folder = temporaryFolder();

beforeAll(() => writeTinyConfig(folder));

const start = (out: string, options: Partial<RatingServerOptions> = {}) => startTiny(folder, out, options);

/** Votes on the pair that is shown. */
async function voteNext(server: Pick<RatingServer, 'port'>, choice = 'left'): Promise<void> {
  const { pairs } = await withPairs(server);
  expect((await post(server, 'vote', voteOn(pairs[0]!, choice))).status).toBe(200);
}

const linesOf = (out: string) => readVoteLines(join(folder, out));

test('a vote is a line with its pictures beside it at once, counts once however often it is sent, and is taken back once', async () => {
  const server = await start('once');
  const { pairs } = await withPairs(server);
  const [pair] = pairs;
  const shown = await fetch(`${server.url}/api/pictures/${pair!.pictures[1]!.sha256}.png`);
  expect(pictureHash(decodePng(new Uint8Array(await shown.arrayBuffer())).picture)).toBe(pair!.pictures[1]!.sha256);
  const vote = voteOn(pair!, 'right', 2.25);
  const answers = await Promise.all([1, 2, 3].map(() => post(server, 'vote', vote)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  const [line, ...more] = await linesOf('once');
  expect(more).toEqual([]);
  expect(line).toMatchObject({
    version: 1,
    id: pair!.id,
    prompt: pair!.prompt,
    choice: 'right',
    seconds: 2.25,
    model: join(packageRoot(), 'test/fixtures/pipelines/sd1'),
  });
  const hashes = pair!.pictures.map(({ sha256 }) => sha256);
  expect(line!.pictures).toMatchObject(hashes.map((sha256) => ({ sha256, file: `pictures/${sha256}.png` })));
  expect((await readdir(join(folder, 'once', 'pictures'))).sort()).toEqual(hashes.map((hash) => `${hash}.png`).sort());
  expect((await ask(server, `/api/pictures/${hashes[0]}.png`)).status).toBe(200); // another tab may be at it yet
  const kept = await readFile(join(folder, 'once', 'pictures', `${hashes[0]}.png`));
  expect(pictureHash(decodePng(kept).picture)).toBe(hashes[0]);

  await voteNext(server, 'skip');
  const { recent, counted, skipped } = await stateOf(server);
  expect([counted, skipped, recent.length]).toEqual([1, 1, 2]);
  expect((await post(server, 'undo', { vote: recent[0] })).status).toBe(409); // not the last one
  const undone = await Promise.all([1, 2].map(() => post(server, 'undo', { vote: recent[1] })));
  expect(undone.map(({ status }) => status).sort()).toEqual([200, 409]);
  expect((await post(server, 'undo', { vote: recent[0] })).status).toBe(200);
  const after = await stateOf(server);
  expect([after.counted, after.skipped, after.recent]).toEqual([0, 0, []]);
  expect(after.pairs[0]!.pictures.map(({ sha256 }) => sha256)).toEqual(hashes); // it is shown again
  expect(after.pairs[0]!.id).not.toBe(pair!.id);
  expect((await linesOf('once')).map(({ undo }) => undo)).toEqual([undefined, undefined, recent[1], recent[0]]);
  expect((await post(server, 'undo', { vote: recent[0] })).status).toBe(409);
});

test('a rating that was ended goes on with the pair it was at; a vote of a page that outlived its server counts', async () => {
  const first = await start('resumed');
  for (const choice of ['left', 'equal', 'skip']) await voteNext(first, choice);
  const before = await stateWhen(first, ({ pairs }) => pairs.length > 1);
  await first.close();
  await appendFile(join(folder, 'resumed', 'votes.jsonl'), '{"version":1,"id":"ab'); // as a kill leaves it
  const warnings: string[] = [];
  const second = await start('resumed', { warn: (message) => warnings.push(message) });
  expect(warnings).toEqual([expect.stringMatching(/votes\.jsonl: line 4 was cut/)]);
  const vote = voteOn(before.pairs[0]!);
  const status = (await post(second, 'vote', vote)).status; // no picture is drawn yet: it is waited for
  expect([status, (await post(second, 'vote', vote)).status]).toEqual([200, 200]);
  const after = await withPairs(second);
  expect([after.counted, after.skipped]).toEqual([3, 1]);
  const shown = ({ prompt, pictures }: RatingState['pairs'][number]) => [prompt, pictures.map(({ sha256 }) => sha256)];
  expect(shown(after.pairs[0]!)).toEqual(shown(before.pairs[1]!));
  expect(after.pairs[0]!.id).not.toBe(before.pairs[1]!.id);
  const lines = await linesOf('resumed');
  expect(lines.map(({ choice }) => choice)).toEqual(['left', 'equal', 'skip', 'left']);
  expect(lines[3]).toMatchObject({
    id: before.pairs[0]!.id,
    pictures: before.pairs[0]!.pictures.map(({ sha256 }) => ({ sha256 })),
  });
});

test('seeds decide which pictures are shown', async () => {
  const pictures = async (out: string, seed: number) => {
    const server = await start(out, { seed });
    const { pairs } = await withPairs(server);
    await server.close();
    return pairs[0]!.pictures.map(({ sha256 }) => sha256);
  };
  const [one, again, other] = [await pictures('s1', 1), await pictures('s2', 1), await pictures('s3', 2)];
  expect(again).toEqual(one);
  expect(other).not.toEqual(one);
});

test('the queue is bounded, and what waits for a vote leaves no files', async () => {
  const server = await start('bounded');
  await stateWhen(server, ({ pairs }) => pairs.length === 3);
  await new Promise((done) => setTimeout(done, 500));
  expect((await stateOf(server)).pairs.length).toBe(3);
  await expect(readdir(join(folder, 'bounded'))).rejects.toThrow(/ENOENT/);
});

test('without the token, by a foreign name, or with what is no vote, nothing is written', async () => {
  const server = await start('guarded');
  const { pairs } = await withPairs(server);
  const vote = voteOn(pairs[0]!);
  const status = async (body: object, headers = {}, what = 'vote') => (await post(server, what, body, headers)).status;
  expect(await status(vote, { 'x-winnow-token': '' })).toBe(403);
  expect(await status(vote, { 'x-winnow-token': 'guess' })).toBe(403);
  expect(await status(vote, { host: 'evil.example' })).toBe(421);
  for (const what of ['train', 'stop', 'undo']) expect(await status({}, { 'x-winnow-token': 'guess' }, what)).toBe(403);
  for (const wrong of [
    {},
    [],
    { ...vote, choice: 'both' },
    { ...vote, choice: '__proto__' },
    { ...vote, pair: '../x' },
    { ...vote, pair: 7 },
    { ...vote, pictures: 'x' },
    { ...vote, seconds: -1 },
    { ...vote, seconds: null },
    { ...vote, more: 'x'.repeat(5000) },
  ])
    expect([wrong, await status(wrong)]).toEqual([wrong, 400]);
  expect(await status({ ...vote, pair: 'abcdef', pictures: [] })).toBe(409);
  expect(await status({ vote: 'abcdef' }, {}, 'undo')).toBe(409);
  expect(await status({}, {}, 'constructor')).toBe(404);
  expect(await status({}, {}, 'vote/x')).toBe(404);
  await expect(readdir(join(folder, 'guarded'))).rejects.toThrow(/ENOENT/);
  expect(await status(vote)).toBe(200);
});

test('the page has its parts, allows nothing inline and nothing from elsewhere, and no path leads out', async () => {
  const server = await start('served');
  for (const path of ['/', '/main.js', '/rate.css', '/serve/page/style.css', '/serve/page/dom.js', '/api/state']) {
    const { status, headers } = await ask(server, path);
    expect([path, status]).toEqual([path, 200]);
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
  }
  expect((await ask(server, '/')).text).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|style=|https?:/);
  for (const path of [
    '/serve/page/../site.ts',
    '/serve/page/%2e%2e/site.ts',
    '/package.json',
    '/api/pictures/..%2f..%2fvotes.jsonl',
    `/api/pictures/${'0'.repeat(64)}.png`,
    '/api/samples/000000.png', // there is no run
    '/api/samples/..%2frun.json',
    '/api/state/x',
  ])
    expect([path, (await ask(server, path)).status]).toEqual([path, 404]);
  expect((await ask(server, '/api/state', { host: 'evil.example' })).status).toBe(421);
});

test('after twenty votes the fitted taste chooses the pairs, and it is fitted as votes come', async () => {
  const taste = brightTaste();
  const server = await start('chosen', { taste });
  for (let i = 0; i < 9; i++) await voteNext(server, i % 2 === 0 ? 'left' : 'right');
  expect((await stateOf(server)).taste).toBeUndefined();
  await voteNext(server, 'skip'); // teaches nothing
  expect(taste.asked.fits).toBe(0);
  await voteNext(server);
  await stateWhen(server, (state) => state.taste !== undefined && !state.fitting);
  expect(taste.asked).toMatchObject({ fits: 1, written: 0, pairs: 0 });
  for (let i = 0; i < 15; i++) await voteNext(server);
  await expect.poll(() => taste.asked.pairs, { timeout: 60_000 }).toBeGreaterThan(0);
  expect(taste.asked.candidates).toBe(6);
  expect(taste.asked.fits).toBeGreaterThan(1);
});

test('a training is refused while votes do not agree, is done by what they teach when they do, and its samples can be seen', async () => {
  const taste = brightTaste({ agreesAfter: 2 });
  const server = await start('trained', { taste, runs: join(folder, 'runs') });
  await voteNext(server);
  const refused = await post(server, 'train', {});
  expect([refused.status, refused.text]).toEqual([409, expect.stringMatching(/^Your votes do not agree/)]);
  expect((await stateOf(server)).lesson.status).toBe('none');
  await voteNext(server);
  expect((await post(server, 'train', {})).status).toBe(200);
  expect((await post(server, 'train', {})).status).toBe(409); // one goes on
  const { lesson } = await stateWhen(server, ({ lesson: { status } }) => status === 'done' || status === 'failed');
  expect(lesson).toMatchObject({ status: 'done', update: 2, of: 2, grids: [0, 2] });
  expect(lesson.rewards).toHaveProperty('brightness');
  expect(lesson.run).not.toContain('/');
  for (const name of ['000000.png', '000002.png']) {
    const { status, headers } = await ask(server, `/api/samples/${name}`);
    expect([status, headers['content-type']]).toEqual([200, 'image/png']);
  }
  expect((await fetch(lesson.dashboard!)).status).toBe(200);
  await voteNext(server); // pictures are drawn again
  await server.close();
  await expect(fetch(lesson.dashboard!)).rejects.toThrow();
});

test('pictures of a run are its own, votes on them tell its update, and a training goes on from what it has learned', async () => {
  const options = { taste: brightTaste({ agreesAfter: 1 }), runs: join(folder, 'chain') };
  const trained = async (server: Awaited<ReturnType<typeof start>>): Promise<RatingState['lesson']> => {
    await voteNext(server);
    expect((await post(server, 'train', {})).status).toBe(200);
    const { lesson } = await stateWhen(server, ({ lesson: { status } }) => status === 'done' || status === 'failed');
    expect(lesson.status).toBe('done');
    return lesson;
  };
  const one = await start('chain-1', options);
  const shown = (await withPairs(one)).pairs[0]!.pictures.map(({ sha256 }) => sha256);
  const first = await trained(one);
  await one.close();
  const two = await start('chain-2', { ...options, model: join(folder, 'chain', first.run!) });
  expect((await withPairs(two)).pairs[0]!.pictures.map(({ sha256 }) => sha256)).not.toEqual(shown);
  const second = await trained(two);
  const [vote] = await linesOf('chain-2');
  expect(vote).toMatchObject({ update: 2, model: join(packageRoot(), 'test/fixtures/pipelines/sd1') });
  const [was, is] = [first.rewards!.brightness!, second.rewards!.brightness!];
  expect(is.before).toBeCloseTo(was.after, 6);
  expect(is.before).not.toBeCloseTo(was.before, 6);
});

test('a training that is stopped ends in good order, and so does one whose server ends', async () => {
  const out = join(folder, 'stopped-runs');
  const server = await start('stopped', {
    taste: brightTaste({ agreesAfter: 0 }),
    runs: out,
    set: ['train.updates=5000'],
  });
  const train = async (): Promise<void> => {
    expect((await post(server, 'train', {})).status).toBe(200);
    await stateWhen(server, ({ lesson }) => lesson.update > 0);
  };
  await train();
  expect((await post(server, 'stop', {})).status).toBe(200);
  const { lesson } = await stateWhen(server, ({ lesson: { status } }) => status === 'stopped');
  expect(lesson.message).toBeUndefined();
  await train();
  await server.close();
  const runs = await Promise.all(
    (await readdir(out)).map(async (run) => JSON.parse(await readFile(join(out, run, 'run.json'), 'utf8'))),
  );
  expect(runs.map(({ status }) => status)).toEqual(['interrupted', 'interrupted']);
});

test('votes of another model are refused, and so is a model folder without prompts', async () => {
  const server = await start('other');
  await voteNext(server);
  await server.close();
  const scenes = { model: 'scenes-flow', folder: join(folder, 'other') };
  await expect(startRating(scenes)).rejects.toThrow(/has votes on pictures of .*sd1, expected those of scenes-flow/);
  const plain = join(packageRoot(), 'test/fixtures/pipelines/sd1');
  await expect(startRating({ model: plain, folder })).rejects.toThrow(/give --prompts FILE/);
});
