/** The study's runs: done once, gone on with, done anew where their declaration has changed; one after another as alone. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { InterruptedError } from '../../../grpo/finetune/errors.js';
import type { Method, TrainingExperiment } from '../../../grpo/study/experiment.js';
import { runStudy, type StudyEvent, type StudyOptions } from '../../../grpo/study/index.js';
import { rewardAfter, secondsRatio } from '../../../grpo/study/quantities.js';
import { temporaryFolder } from '../../temporary.js';

const folder = temporaryFolder();

/** The smallest that trains: one group of 4, three steps, one evaluated picture of each set. */
const tiny = {
  sampler: { steps: 3, eval_steps: 2 },
  train: { updates: 2 },
  eval: { every: 1, n: 2, rewards: [], probe_every: 0 },
  save: { every: 1 },
};
const methodOf = (name: string, grpo: object, more: object = {}): Method => ({
  name,
  label: name,
  changes: { ...tiny, ...more, grpo: { groups_per_update: 1, keep: [4], prune_at: [], prune: 'none', ...grpo } },
});
const plain = methodOf('plain', {});
const thinned = methodOf('thinned', { keep: [6, 4], prune_at: [1], prune: 'ovf' });

const experimentOf = (name: string, ...methods: Method[]): TrainingExperiment => ({
  kind: 'training',
  name,
  paper: 'none',
  title: name,
  about: 'A test.',
  methods,
  baseline: methods[0]!.name,
  columns: [rewardAfter(), secondsRatio],
  figures: [{ name: `${name}_reward`, title: 'pick', over: 'updates', y: { kind: 'reward', reward: 'scenes-pick' } }],
  claims: [],
});

async function study(out: string, options: StudyOptions): Promise<StudyEvent[]> {
  const events: StudyEvent[] = [];
  for await (const event of runStudy({ seeds: 1, out: join(folder, out), ...options })) events.push(event);
  return events;
}

const ran = (events: readonly StudyEvent[]): string[] =>
  events.flatMap((event) => (event.kind === 'ran' ? [event.run.split('_')[0]!] : []));

/** What a run has learned and measured, without its times. */
async function bitsOf(out: string, method: string): Promise<unknown[]> {
  const name = (await readdir(join(folder, out))).find((each) => each.startsWith(`${method}_s0_`))!;
  const adapter = join(folder, out, name, 'checkpoints', '000002', 'adapter.safetensors');
  const text = async (file: string) => readFile(join(folder, out, name, file), 'utf8');
  const metrics = (await text('metrics.jsonl')).trim().split('\n');
  const withoutTimes = metrics.map((line) =>
    Object.entries(JSON.parse(line) as Record<string, number>).filter(([key]) => !key.startsWith('seconds')),
  );
  return [await readFile(adapter, 'base64'), withoutTimes, await text('evaluations.jsonl'), await text('groups.jsonl')];
}

test('one after another gives the same bits as alone; experiments share runs; what is done is not done again', async () => {
  const both = [experimentOf('first', plain, thinned), experimentOf('second', plain)];
  const first = await study('shared', { experiments: both });
  expect(ran(first)).toEqual(['plain', 'thinned']);
  const rounds = (events: readonly StudyEvent[]): number => events.filter(({ kind }) => kind === 'timed').length;
  expect(rounds(first)).toBe(6);
  await study('alone', { experiments: [experimentOf('only', thinned)] });
  expect(await bitsOf('shared', 'thinned')).toEqual(await bitsOf('alone', 'thinned'));

  const again = await study('shared', { experiments: both });
  expect(again[0]).toMatchObject({ kind: 'planned', runs: 2, left: 0, seconds: 0 });
  expect(ran(again)).toEqual([]);
  expect(rounds(again), 'the clock is not measured again').toBe(0);
  const { seconds, rows } = JSON.parse(await readFile(join(folder, 'shared', 'report', 'first.json'), 'utf8'));
  expect(Object.keys(seconds)).toEqual(['plain', 'thinned']);
  const every = [...seconds.plain, ...seconds.thinned];
  expect([every.length, every.every((value: number) => value > 0)]).toEqual([12, true]);
  expect(rows[0].cells[1].mean).toBe(1);
  expect(rows[1].cells[1].mean).toBeCloseTo(seconds.plain[0] / seconds.thinned[0], 3);
  expect(again.at(-1)).toMatchObject({ kind: 'reported' });
  const files = ['README.md', 'first.json', 'first_reward.svg', 'index.html', 'second.json', 'second_reward.svg'];
  expect((await readdir(join(folder, 'shared', 'report'))).sort()).toEqual(files);

  const changed = methodOf('thinned', { keep: [6, 3], prune_at: [1], prune: 'ovf' });
  expect(ran(await study('shared', { experiments: [experimentOf('first', plain, changed)] }))).toEqual(['thinned']);
});

test('an interrupted run is gone on with to the same bits; one that was killed before its first checkpoint begins anew', async () => {
  const given = { experiments: [experimentOf('one', plain)] };
  await study('whole', given);
  const controller = new AbortController();
  const broken = (async () => {
    for await (const event of runStudy({ ...given, seeds: 1, out: join(folder, 'broken'), signal: controller.signal }))
      if (event.kind === 'progress' && event.update === 1) controller.abort(new InterruptedError('SIGINT'));
  })();
  await expect(broken).rejects.toBeInstanceOf(InterruptedError);
  const [run] = (await readdir(join(folder, 'broken'))).filter((name) => name.startsWith('plain'));
  expect(await readdir(join(folder, 'broken', run!, 'checkpoints'))).toEqual(['000001']);
  expect(ran(await study('broken', given))).toEqual(['plain']);
  expect(await bitsOf('broken', 'plain')).toEqual(await bitsOf('whole', 'plain'));

  await rm(join(folder, 'broken', run!, 'checkpoints'), { recursive: true });
  const path = join(folder, 'broken', run!, 'run.json');
  await writeFile(path, (await readFile(path, 'utf8')).replace('"done"', '"running"'));
  expect(ran(await study('broken', given))).toEqual(['plain']);
  expect(await bitsOf('broken', 'plain')).toEqual(await bitsOf('whole', 'plain'));
});

test('an experiment that is not there is refused with those that are', async () => {
  await expect(study('none', { names: ['tabel1'] })).rejects.toThrow(/^no experiment tabel1.*; there are figure1, /);
});
