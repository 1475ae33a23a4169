/** `winnow rate` in a process of its own: one that is killed loses no vote, and one that is interrupted ends in good order. */
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { temporaryFolder } from '../../temporary.js';
import { winnow } from '../cli/output.js';
import { type Process, start } from '../cli/process.js';
import { post, voteOn } from './client.js';
import { readVoteLines, withPairs, writeTinyConfig } from './tiny.js';

const folder = temporaryFolder();

beforeAll(() => writeTinyConfig(folder));

/** Starts it, and reads where its page is. */
async function rate(): Promise<Process & { readonly port: number }> {
  const model = join(folder, 'tiny.yaml');
  const process = start('rate', model, '--out', join(folder, 'taste'), '--port', '0');
  await process.until(/^page {5}http.*\n/m);
  const [, port] = /^page {5}http:\/\/127\.0\.0\.1:(\d+)$/m.exec(process.printed())!;
  return { ...process, port: Number(port) };
}

test('a process that is killed has every vote that it has answered, and the next one goes on', async () => {
  const first = await rate();
  const sent: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { pairs } = await withPairs(first);
    expect((await post(first, 'vote', voteOn(pairs[0]!))).status).toBe(200);
    sent.push(pairs[0]!.id);
  }
  first.child.kill('SIGKILL');
  await first.ended;
  expect((await readVoteLines(join(folder, 'taste'))).map(({ id }) => id)).toEqual(sent);
  const second = await rate();
  const { counted, pairs } = await withPairs(second);
  expect(counted).toBe(3);
  expect((await post(second, 'vote', voteOn(pairs[0]!))).status).toBe(200);
  second.child.kill('SIGINT');
  expect(await second.ended).toBe(0);
  expect((await readVoteLines(join(folder, 'taste'))).map(({ id }) => id)).toEqual([...sent, pairs[0]!.id]);
});

test('what makes no sense is refused as usage', async () => {
  const plain = join(packageRoot(), 'test/fixtures/pipelines/sd1');
  expect(await winnow('rate', plain)).toMatchObject({ status: 2, stderr: expect.stringContaining('--prompts') });
  expect((await winnow('rate', join(folder, 'tiny.yaml'), '--pairs', '0')).status).toBe(2);
  expect((await winnow('rate')).status).toBe(2);
});
