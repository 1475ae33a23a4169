/** `winnow study`: what it says before it begins, and how it ends. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../../temporary.js';
import { winnow } from '../output.js';
import { start } from '../process.js';

const folder = temporaryFolder();

test('an experiment that is not there ends with status 2', async () => {
  const { status, stderr } = await winnow('study', 'tabel1', '--out', join(folder, 'none'));
  expect(status).toBe(2);
  expect(stderr).toContain('no experiment tabel1');
});

test('Ctrl-C ends the run at hand in good order, with status 130', async () => {
  const { child, until, ended, printed } = start('study', 'table1', '--seeds', '1', '--out', join(folder, 'broken'));
  await until(/plan {5}3 runs, 3 of them to do, about \d+ (?:s|min) on two quiet cores/);
  child.kill('SIGINT');
  expect(await ended, printed()).toBe(130);
  expect(printed()).toContain('ending the run at hand and saving');
  expect(printed()).toContain('stopped; the same command goes on where it was');
  expect(printed()).not.toContain('winnow train');
});
