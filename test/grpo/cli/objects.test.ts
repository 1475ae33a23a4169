/** What --json prints of workers: a run's when something is to be told of them, and those of runs that are listed. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { objectOf } from '../../../grpo/cli/print/objects.js';
import { temporaryFolder } from '../../temporary.js';
import { madeWorker, makeRun, writeWorkers } from '../dashboard/run_folder.js';
import { winnow } from './output.js';

const folder = temporaryFolder();

test('workers are an object when one comes or goes, and not at every look', () => {
  const file = { id: 'a', server: 'redis://a:1', workers: [madeWorker({ state: 'refused', reason: 'another model' })] };
  const messages = [{ text: 'worker host:1 is refused: another model', isWarning: true }];
  expect(objectOf({ kind: 'workers', file, messages })).toEqual({
    event: 'workers',
    messages: ['worker host:1 is refused: another model'],
    workers: file.workers,
  });
  expect(objectOf({ kind: 'workers', file, messages: [] })).toBeUndefined();
});

test('runs --json has the workers of the runs that have some', async () => {
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await makeRun(first);
  await makeRun(second);
  const worker = madeWorker({ groups: 7 });
  await writeWorkers(second, [worker]);
  const { stdout } = await winnow('runs', '--out', folder, '--json');
  const runs = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  runs.sort((a, b) => a.folder.localeCompare(b.folder));
  expect(runs[0]).toMatchObject({ folder: first, status: 'done' });
  expect(runs[0]).not.toHaveProperty('workers');
  expect(runs[1].workers).toEqual([{ ...worker, state: 'left' }]);
});
