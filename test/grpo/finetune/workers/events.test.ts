/** What a run's files and trackers take of its workers: a source on this device tells of some that are not there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { evaluate } from '../../../../grpo/evaluate.js';
import { withSampler } from '../../../../grpo/finetune/drawing.js';
import { linesOf } from '../../../../grpo/finetune/report/run.js';
import type { WorkersEvent } from '../../../../grpo/finetune/run/events.js';
import { runConfig } from '../../../../grpo/finetune/run/run_config.js';
import type { OpenSource, RemoteSource } from '../../../../grpo/finetune/run/start.js';
import { LocalShards } from '../../../../grpo/shards/local.js';
import { temporaryFolder } from '../../../temporary.js';
import { madeWorker } from '../../dashboard/run_folder.js';
import { writeTinyFile } from '../../tiny_file.js';
import { eventFiles, readTags } from '../track/event_reader.js';

const folder = temporaryFolder();
const run = join(folder, 'runs', 'one');
const config = await writeTinyFile(
  folder,
  `lora: { rank: 2, alpha: 4, targets: attention }
reward: { brightness: { weight: 1 } }
sampler: { steps: 4, kind: ddim, noise: 1, eval_steps: 3 }
grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 }
train: { updates: 1, micro_batch: 4 }
sample: { seeds: [1] }
eval: { n: 2 }
save: { previews: 1 }
track: { tensorboard: true }
`,
);

const file: WorkersEvent['file'] = {
  id: 'a-run',
  server: 'redis://a:1',
  workers: [
    madeWorker({ state: 'working', groups: 2 }),
    madeWorker({ name: 'b:2', state: 'aside', reason: 'tired' }),
    madeWorker({ name: 'c:3', state: 'refused', reason: 'another model' }),
  ],
};
const messages = [
  { text: 'worker host:1 is here: an adapter', isWarning: false },
  { text: 'worker c:3 is refused: another\nmodel \x1b[2J', isWarning: true },
];

const source: OpenSource = async ({ session, tell }) => {
  tell({ kind: 'workers', file, messages });
  const local = await LocalShards.create(session.model, session.rewards, session.config);
  const look: RemoteSource['look'] = (jobs) =>
    withSampler(session, jobs.length, (sampler) => evaluate(sampler, session.reported, jobs));
  return Object.assign(local, { look, close: async () => {} });
};

const written = async (): Promise<WorkersEvent['file']> =>
  JSON.parse(await readFile(join(run, 'workers.json'), 'utf8'));

test('workers stand in their file and the log alone; when the run is over, or goes on without them, they have left', async () => {
  const kinds: string[] = [];
  for await (const { kind } of runConfig({ config, out: join(folder, 'runs'), name: 'one', source })) {
    kinds.push(kind);
    if (kind === 'workers') expect(await written()).toEqual(file);
  }
  expect(kinds.filter((kind) => kind === 'workers' || kind === 'failed')).toEqual(['workers']);
  const ended = await written();
  expect(ended.workers.map(({ state }) => state)).toEqual(['left', 'left', 'refused']);
  expect({ ...ended, workers: [] }).toEqual({ ...file, workers: [] });

  const log = (await readFile(join(run, 'log.txt'), 'utf8')).split('\n');
  expect(log).toContain('           worker host:1 is here: an adapter');
  expect(log).toContain('! worker c:3 is refused: another model  [2J');
  const tags = Object.keys(readTags(await eventFiles(join(run, 'tb'))));
  expect(tags.filter((tag) => /worker/.test(tag))).toEqual([]);
  expect(tags).toContain('reward');
  expect(JSON.parse(await readFile(join(run, 'run.json'), 'utf8'))).toMatchObject({ status: 'done', updates: 1 });
});

test('a text of a worker is one line without what moves a cursor', () => {
  const text = 'worker a\r\n! worker b is refused \x1b]0;title\x07\x9b2J \u202etxt\u2028';
  const [line, ...more] = linesOf({ kind: 'workers', file, messages: [{ text, isWarning: true }] });
  expect(line).toEqual({ level: 'warning', text: 'worker a ! worker b is refused  ]0;title 2J  txt ' });
  expect(more).toEqual([]);
});
