/** votes.jsonl: what a person chose between two pictures, a line a vote, in a file that only grows. */
import { createHash, randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, reading, sha256Of, writing } from '../../../engine/files.js';
import { ModelFileError, processWarning, type Warn } from '../../../models/files/errors.js';
import type { Picture } from '../../../models/pictures/png.js';

export const votesName = 'votes.jsonl';

/** What a person may say of two pictures. */
export const choices = ['left', 'right', 'equal', 'skip'] as const;

export type Choice = (typeof choices)[number];

/** One of the two pictures of a vote. */
export interface VotedPicture {
  /** Its pictureHash(), 64 hexadecimal digits. */
  readonly sha256: string;
  /** The seed of its noise. */
  readonly seed: number;
  /** Where it is in the folder of the votes, `pictures/SHA256.png`. */
  readonly file: string;
}

/** A choice between two pictures of one prompt. */
export interface Vote {
  /** At random, as newVoteId() makes it: a vote that is sent twice counts once. */
  readonly id: string;
  readonly prompt: string;
  /** Left and right, as they were shown. */
  readonly pictures: readonly [VotedPicture, VotedPicture];
  readonly choice: Choice;
  /** From seeing the pictures to the choice. */
  readonly seconds: number;
  /** What drew the pictures, as it was named to the program. */
  readonly model: string;
  /** Updates that the model had been trained for, where it was in training. */
  readonly update?: number;
}

/** What a file of votes holds. */
export interface Votes {
  /** Those that count, in the order of the file: each id once, without what was undone. */
  readonly votes: readonly Vote[];
  /** How many whole lines the file has, and their bytes and SHA-256. A line that was cut is no part of them. */
  readonly lines: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** 24 hexadecimal digits. */
export const newVoteId = (): string => randomBytes(12).toString('hex');

/** SHA-256 of a picture's width, height (32 bits each, the largest byte first) and RGB bytes, in hexadecimal digits. */
export function pictureHash({ width, height, rgb }: Picture): string {
  const size = Buffer.alloc(8);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  return createHash('sha256').update(size).update(rgb).digest('hex');
}

/** Where a picture with this hash is kept in a folder of votes. */
export const pictureFile = (sha256: string): string => `pictures/${sha256}.png`;

/** Adds a vote to the folder's file by one write, and makes both where there are none. Throws a FileError where that can't be. */
export const appendVote = (folder: string, vote: Vote): Promise<void> =>
  appendLine(folder, {
    version: 1,
    id: vote.id,
    time: new Date().toISOString(),
    prompt: vote.prompt,
    pictures: vote.pictures.map(({ sha256, seed, file }) => ({ sha256, seed, file })),
    choice: vote.choice,
    seconds: vote.seconds,
    model: vote.model,
    ...(vote.update !== undefined && { update: vote.update }),
  });

/** Takes a vote back, by a line that says so. Throws a FileError where that can't be written. */
export const undoVote = (folder: string, id: string): Promise<void> =>
  appendLine(folder, { version: 1, undo: id, time: new Date().toISOString() });

/** Appends by one write. What a kill has left of a line before it goes; a line that lacks but its end is ended. */
async function appendLine(folder: string, line: object): Promise<void> {
  const path = join(folder, votesName);
  await writing(path, async () => {
    await makeFolder(folder);
    const file = await open(path, 'a+');
    try {
      const { whole, cut } = split(await file.readFile());
      if (cut.length > 0 && !isWhole(cut)) await file.truncate(whole.length);
      const start = cut.length > 0 && isWhole(cut) ? '\n' : '';
      await file.appendFile(`${start}${JSON.stringify(line)}\n`);
    } finally {
      await file.close();
    }
  });
}

/** The lines that have their end, and what comes after them. */
function split(bytes: Uint8Array): { readonly whole: Uint8Array; readonly cut: Uint8Array } {
  const end = bytes.lastIndexOf(0x0a) + 1;
  return { whole: bytes.subarray(0, end), cut: bytes.subarray(end) };
}

/** Whether a line without its end is complete: no beginning of an object is one. */
const isWhole = (line: Uint8Array): boolean => parsed(line) !== undefined;

function parsed(line: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The votes of a folder; none where it has no file of them yet. A last line that a kill has cut is left out, of which `warn` is
 * told. Throws a ModelFileError with each line that is no vote, and a FileError where the file can't be read.
 */
export async function readVotes(folder: string, { warn = processWarning }: { warn?: Warn } = {}): Promise<Votes> {
  const path = join(folder, votesName);
  const bytes = await reading(path, 'a file of votes', () => readFile(path)).catch((error: unknown) => {
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    if (cause?.code === 'ENOENT') return new Uint8Array();
    throw error;
  });
  return votesIn(bytes, path, warn);
}

/** The votes that a file's bytes hold, as readVotes() gives them. */
export function votesIn(bytes: Uint8Array, path: string, warn: Warn = processWarning): Votes {
  const { whole, cut } = split(bytes);
  const lines = linesOf(whole);
  if (cut.length > 0) {
    if (isWhole(cut)) lines.push(cut);
    else warn(`${path}: line ${lines.length + 1} was cut in the middle, and is left out`);
  }
  const problems: string[] = [];
  const votes = new Map<string, Vote>();
  const undone = new Set<string>();
  for (const [i, line] of lines.entries()) {
    const record = parsed(line);
    const wrong = record ? problemOf(record) : 'is no JSON object, expected a vote';
    if (record === undefined || wrong !== undefined) problems.push(`line ${i + 1}: ${wrong}`);
    else if (typeof record.undo !== 'string') {
      const vote = voteOf(record);
      if (!votes.has(vote.id)) votes.set(vote.id, vote);
    } else if (votes.has(record.undo)) undone.add(record.undo);
    else problems.push(`line ${i + 1}: undo is ${JSON.stringify(record.undo)}, expected the id of a vote before it`);
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  const read = cut.length > 0 && isWhole(cut) ? bytes : whole;
  return {
    votes: [...votes.values()].filter(({ id }) => !undone.has(id)),
    lines: lines.length,
    bytes: read.length,
    sha256: sha256Of(read),
  };
}

function linesOf(whole: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < whole.length; ) {
    const end = whole.indexOf(0x0a, start);
    lines.push(whole.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isIn = (low: number) => (value: unknown) => typeof value === 'number' && Number.isFinite(value) && value >= low;
const isWholeNumber = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isHash = (value: unknown): boolean => isText(value) && /^[0-9a-f]{64}$/.test(value);

/** Keys of a vote, what each must be, and how that is called. */
const keys: readonly (readonly [key: string, is: (value: unknown) => boolean, expected: string])[] = [
  ['id', (value) => isText(value) && value !== '', 'a text'],
  ['time', (value) => isText(value) && !Number.isNaN(Date.parse(value)), 'a time such as 2026-01-31T12:00:00.000Z'],
  ['prompt', isText, 'a text'],
  ['choice', (value) => choices.some((choice) => choice === value), `one of ${choices.join(', ')}`],
  ['seconds', isIn(0), 'a number of 0 or more'],
  ['model', isText, 'a text'],
  ['update', (value) => value === undefined || isWholeNumber(value), 'a whole number of 0 or more'],
];

/** What is wrong with a line's object; undefined for a vote and for an undo. */
function problemOf(record: Readonly<Record<string, unknown>>): string | undefined {
  const told = (key: string, value: unknown, expected: string): string =>
    `${key} is ${value === undefined ? 'missing' : JSON.stringify(value)}, expected ${expected}`;
  if (record.version !== 1) return told('version', record.version, '1');
  if ('undo' in record) return isText(record.undo) ? undefined : told('undo', record.undo, 'the id of a vote');
  const wrong = keys.find(([key, is]) => !is(record[key]));
  if (wrong) return told(wrong[0], record[wrong[0]], wrong[2]);
  const { pictures } = record;
  if (!Array.isArray(pictures) || pictures.length !== 2) return told('pictures', pictures, 'two pictures');
  for (const [i, picture] of pictures.entries()) {
    const { sha256, seed, file } = Object(picture) as Partial<Record<keyof VotedPicture, unknown>>;
    const at = `pictures[${i}]`;
    if (!isHash(sha256)) return told(`${at}.sha256`, sha256, '64 hexadecimal digits');
    if (!isWholeNumber(seed)) return told(`${at}.seed`, seed, 'a whole number of 0 or more');
    if (file !== pictureFile(sha256 as string)) return told(`${at}.file`, file, `"${pictureFile(sha256 as string)}"`);
  }
  return undefined;
}

/** The vote of a line's object, which has been checked. */
function voteOf(record: Readonly<Record<string, unknown>>): Vote {
  const { id, prompt, pictures, choice, seconds, model, update } = record as unknown as Vote; // as problemOf() found
  return { id, prompt, pictures, choice, seconds, model, ...(update !== undefined && { update }) };
}
