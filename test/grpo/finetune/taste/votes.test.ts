/** The file of votes: cut anywhere, edited, told twice, taken back. */
import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  appendVote,
  newVoteId,
  pictureFile,
  pictureHash,
  readVotes,
  undoVote,
  type Vote,
  votesIn,
  votesName,
} from '../../../../grpo/finetune/taste/votes.js';
import { ModelFileError } from '../../../../models/files/errors.js';
import { temporaryFolder } from '../../../temporary.js';

const root = temporaryFolder();
const newFolder = (): string => mkdtempSync(join(root, 'votes-'));

const pictureOf = (seed: number) => {
  const sha256 = pictureHash({ width: 1, height: 1, rgb: Uint8Array.of(seed, 0, 0) });
  return { sha256, seed, file: pictureFile(sha256) };
};

const voteOf = (id: string, choice: Vote['choice'] = 'left', prompt = 'a röd disc'): Vote => ({
  id,
  prompt,
  pictures: [pictureOf(1), pictureOf(2)],
  choice,
  seconds: 1.25,
  model: 'scenes-flow',
});

/** Nobody should be told anything. */
const quiet = (message: string): never => {
  throw new Error(message);
};

const idsIn = async (folder: string): Promise<string[]> =>
  (await readVotes(folder, { warn: quiet })).votes.map(({ id }) => id);

test('votes come back as they were given, in their order', async () => {
  const folder = newFolder();
  expect(await readVotes(folder, { warn: quiet })).toMatchObject({ votes: [], lines: 0, bytes: 0 });
  const votes = [voteOf('a'), { ...voteOf('b', 'equal'), update: 3 }, voteOf('c', 'skip')];
  for (const vote of votes) await appendVote(folder, vote);
  const read = await readVotes(folder, { warn: quiet });
  expect(read.votes).toEqual(votes);
  expect(read.lines).toBe(3);
  expect(read.bytes).toBe(readFileSync(join(folder, votesName)).length);
});

test('a vote told twice counts once, as it was told first, and stays undone', async () => {
  const folder = newFolder();
  await appendVote(folder, voteOf('a', 'left'));
  await appendVote(folder, voteOf('a', 'right'));
  await appendVote(folder, voteOf('b'));
  const read = await readVotes(folder, { warn: quiet });
  expect(read.votes.map(({ id, choice }) => [id, choice])).toEqual([
    ['a', 'left'],
    ['b', 'left'],
  ]);
  await undoVote(folder, 'a');
  expect(await idsIn(folder)).toEqual(['b']);
  await appendVote(folder, voteOf('a', 'left'));
  expect(await idsIn(folder)).toEqual(['b']);
  await undoVote(folder, 'a');
  expect(await idsIn(folder)).toEqual(['b']);
});

test('a file cut at any byte gives the votes whose lines are whole, and goes on from there', async () => {
  const folder = newFolder();
  for (const id of ['a', 'b', 'c']) await appendVote(folder, voteOf(id));
  await undoVote(folder, 'b');
  const path = join(folder, votesName);
  const bytes = readFileSync(path);
  const ends = [...bytes.keys()].filter((i) => bytes[i] === 0x0a);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const warnings: string[] = [];
    const read = votesIn(bytes.subarray(0, cut), path, (message) => warnings.push(message));
    const whole = ends.filter((end) => end <= cut).length; // a line that lacks but its end is whole
    const expected = [[], ['a'], ['a', 'b'], ['a', 'b', 'c'], ['a', 'c']][whole]!;
    expect(read.votes.map(({ id }) => id)).toEqual(expected);
    expect(read.lines).toBe(whole);
    const torn = cut > 0 && !ends.includes(cut) && !ends.includes(cut - 1);
    expect(warnings).toEqual(torn ? [`${path}: line ${whole + 1} was cut in the middle, and is left out`] : []);
    if (cut % 29 > 1) continue; // some of the places also with a vote after them
    writeFileSync(path, bytes.subarray(0, cut));
    await appendVote(folder, voteOf('d'));
    expect(await idsIn(folder)).toEqual([...expected, 'd']);
  }
});

test('a line that is no vote is refused by its number, with what was expected', async () => {
  const folder = newFolder();
  await appendVote(folder, voteOf('a'));
  const path = join(folder, votesName);
  const line = readFileSync(path, 'utf8');
  const edits: readonly (readonly [from: string | RegExp, to: string, message: string])[] = [
    ['"left"', '"Left"', 'line 2: choice is "Left", expected one of left, right, equal, skip'],
    ['"version":1', '"version":2', 'line 2: version is 2, expected 1'],
    ['"seconds":1.25', '"seconds":-1', 'line 2: seconds is -1, expected a number of 0 or more'],
    ['"seconds":1.25,', '', 'line 2: seconds is missing, expected a number of 0 or more'],
    [/"id":"a"/, '"id":7', 'line 2: id is 7, expected a text'],
    ['pictures/', '../', 'line 2: pictures[0].file is'],
    [/"sha256":"./, '"sha256":"', 'line 2: pictures[0].sha256 is'],
    ['"seed":2', '"seed":2.5', 'line 2: pictures[1].seed is 2.5, expected a whole number of 0 or more'],
    [/"pictures":\[.*\]/, '"pictures":[]', 'line 2: pictures is [], expected two pictures'],
    [/.*/, '{"version":1,"undo":"z"}', 'line 2: undo is "z", expected the id of a vote before it'],
    [/.*/, '', 'line 2: is no JSON object, expected a vote'],
    ['}', '', 'line 2: is no JSON object, expected a vote'],
  ];
  for (const [from, to, message] of edits) {
    const edited = line.replace(from, to);
    expect(edited).not.toBe(line);
    writeFileSync(path, line + edited + line);
    const error = await readVotes(folder, { warn: quiet }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ModelFileError);
    expect((error as Error).message.startsWith(`${path}\n  ${message}`), (error as Error).message).toBe(true);
  }
  writeFileSync(path, line);
  appendFileSync(path, Buffer.from([0xff, 0x0a]));
  await expect(readVotes(folder)).rejects.toThrow('line 2: is no JSON object');
});

test('the hash of a picture is of its size and its pixels; ids differ', () => {
  const rgb = Uint8Array.from({ length: 18 }, (_, i) => i);
  const hashes = [
    pictureHash({ width: 3, height: 2, rgb }),
    pictureHash({ width: 2, height: 3, rgb }),
    pictureHash({ width: 3, height: 2, rgb: rgb.map((value) => value ^ 1) }),
  ];
  expect(new Set(hashes).size).toBe(3);
  // python3: hashlib.sha256(struct.pack('>II', 3, 2) + bytes(range(18))).hexdigest()
  expect(hashes[0]).toBe('8250b203ca438dcca5765bb5ad152165ee8ab3b852c161b7aad1c729e333abb6');
  expect(newVoteId()).toMatch(/^[0-9a-f]{24}$/);
  expect(newVoteId()).not.toBe(newVoteId());
});
