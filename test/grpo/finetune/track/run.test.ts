/** A run that is watched: previews and probes change no bit of it, and a resumed run has them as one that was never stopped. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../../engine/version.js';
import {
  loadModel,
  type RewardImage,
  type RunEvent,
  type TrainOptions,
  train,
} from '../../../../grpo/finetune/index.js';
import { temporaryFolder } from '../../../temporary.js';
import { eventFiles, readTags } from './event_reader.js';

const folder = temporaryFolder();
const redness = (images: readonly RewardImage[]): number[] => images.map(({ rgb }) => rgb[0]! - rgb[1]!);
const config = {
  sampler: { steps: 4, eval_steps: 3 },
  grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 },
  train: { lr: 1e-2 },
  sample: { seeds: [1, 2], labels: true },
  eval: { n: 4, probe_every: 2 },
  save: { every: 1, previews: 2 },
  track: { tensorboard: true },
};
const { track: _, ...untracked } = config;
const bare = { ...untracked, sample: { seeds: [1, 2] }, eval: { n: 4 }, save: { every: 1, previews: 0 } };

/** Trains a fresh model; `until` ends it early. */
async function run(
  out: string,
  options: Partial<TrainOptions>,
  until: (event: RunEvent) => boolean = () => false,
): Promise<void> {
  const model = await loadModel(join(packageRoot(), 'test/fixtures/pipelines/sd1'), {
    lora: { rank: 2 },
    weights: 'f32',
  });
  const given = { prompts: ['a red circle', 'the blue cat'], rewards: { redness }, config, updates: 4 };
  for await (const event of train({ model, ...given, out: join(folder, out), ...options })) if (until(event)) break;
  model.close();
}

const at = (out: string, ...path: string[]): string => join(folder, out, ...path);

/** The lines of a file but for the times in it. */
async function lines(out: string, name: string): Promise<Record<string, unknown>[]> {
  const timeless = (key: string, value: unknown): unknown => (key.startsWith('seconds') ? undefined : value);
  const text = await readFile(at(out, name), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line, timeless));
}

const adapter = (out: string): Promise<string> =>
  readFile(at(out, 'checkpoints', '000004', 'adapter.safetensors'), 'base64');

/** The files of the previews by name, as hashes. */
async function listing(out: string): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const name of (await readdir(at(out, 'previews'))).sort())
    hashes[name] = createHash('sha256')
      .update(await readFile(at(out, 'previews', name)))
      .digest('hex');
  return hashes;
}

test('previews, probes and totals are written, and the bits are those of a run without', async () => {
  await run('watched', {});
  await run('bare', { config: bare });
  expect(await adapter('watched')).toBe(await adapter('bare'));
  expect(await lines('watched', 'groups.jsonl')).toEqual(await lines('bare', 'groups.jsonl'));
  const isProbed = (name: string): boolean => /^(spearman\/|variance_kept$)/.test(name);
  const metrics = await lines('watched', 'metrics.jsonl');
  const unprobed = metrics.map((line) => Object.fromEntries(Object.entries(line).filter(([name]) => !isProbed(name))));
  expect(unprobed).toEqual(await lines('bare', 'metrics.jsonl'));
  expect(await readdir(at('bare'))).not.toContain('previews');
  expect(await readdir(at('bare'))).not.toContain('probes.jsonl');

  // 4 x 2 network calls to the first selection, 3 to the second, 2 to the end, in two groups.
  expect(metrics.map((line) => line['total/calls'])).toEqual([26, 52, 78, 104]);
  const flops = metrics.map((line) => line['total/flops'] as number);
  expect(flops[0]).toBeGreaterThan(1e6);
  for (const i of [1, 2, 3]) expect(flops[i]! - flops[i - 1]!).toBeCloseTo(flops[0]!, 0);

  const groups = await lines('watched', 'groups.jsonl');
  const probes = await lines('watched', 'probes.jsonl');
  expect(probes.map(({ update }) => update)).toEqual([2, 4]);
  for (const probe of probes) {
    const group = groups.find(({ update, group }) => update === probe.update && group === 0)!;
    const { steps, kept, spearman, variance_kept } = probe as {
      steps: number[];
      spearman: (number | null)[];
    } & typeof probe;
    expect([probe.prompt, kept, steps]).toEqual([group.prompt, group.survivors, [1, 2]]);
    expect((probe.previews as unknown[][])[0]).toEqual((group.selections as { rewards: unknown }[])[0]!.rewards);
    const line = metrics[(probe.update as number) - 1]!;
    expect(steps.map((step) => line[`spearman/step_${step}`] ?? null)).toEqual(spearman);
    expect(line.variance_kept ?? null).toBe(variance_kept);
  }
  expect(metrics.map((line) => Object.keys(line).some(isProbed))).toEqual([false, true, false, true]);

  const files = (name: string) => [`${name}.json`, `${name}_1.png`, `${name}_2.png`, `${name}_final.png`];
  expect(Object.keys(await listing('watched'))).toEqual([
    ...files('000003_0'),
    ...files('000004_0'),
    '000004_0_funnel.png',
  ]);
  const { selections, final } = JSON.parse(await readFile(at('watched', 'previews', '000004_0.json'), 'utf8'));
  const group = groups.at(-2)!;
  const strips = (selections as Record<string, unknown>[]).map(({ step, samples, rewards, kept }) => ({
    step,
    samples,
    rewards,
    kept,
  }));
  expect(strips).toEqual(group.selections);
  expect([final.samples, final.rewards]).toEqual([group.survivors, group.finals]);
});

test('a run that is ended and gone on with has what one in one piece has', async () => {
  await run('left', {}, (event) => event.kind === 'update' && event.update === 3);
  await run('left', { resume: true });
  expect(await adapter('left')).toBe(await adapter('watched'));
  for (const name of ['metrics.jsonl', 'probes.jsonl'])
    expect(await lines('left', name)).toEqual(await lines('watched', name));
  expect(await listing('left')).toEqual(await listing('watched'));
  const both = (out: string) => readFile(at(out, 'samples', 'before_after.png'));
  expect((await both('left')).equals(await both('watched'))).toBe(true);
  const heightOf = async (out: string): Promise<number> => (await both(out)).readUInt32BE(20);
  expect((await heightOf('watched')) - (await heightOf('bare'))).toBe(2 * (4 + 22)); // a label below each of two rows
});

test('TensorBoard has what the run told, each step once, also of a run that was ended and had come to its end', async () => {
  const tags = async (out: string) => {
    const read = readTags(await eventFiles(at(out, 'tb')));
    return Object.fromEntries(Object.entries(read).filter(([tag]) => !tag.startsWith('seconds')));
  };
  const watched = await tags('watched');
  const metrics = await lines('watched', 'metrics.jsonl');
  for (const name of Object.keys(metrics[1]!).filter((each) => each !== 'update')) {
    const expected = metrics.flatMap((line) => {
      const value = Math.fround(line[name] as number);
      return name in line ? [{ step: line.update, value: { scalar: value } }] : [];
    });
    expect(watched[name], name).toEqual(expected);
  }
  const groups = await lines('watched', 'groups.jsonl');
  const [first, second] = groups.filter(({ update }) => update === 1) as {
    selections: { rewards: number[] }[];
    finals: number[];
  }[];
  const all = [...first!.selections[0]!.rewards, ...second!.selections[0]!.rewards];
  const kept = [...first!.finals, ...second!.finals];
  for (const [tag, list] of Object.entries({ 'rewards/all': all, 'rewards/kept': kept })) {
    expect(watched[tag]!.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    const sum = (of: (value: number) => number): number => list.reduce((total, value) => total + of(value), 0);
    const moments = [
      Math.min(...list),
      Math.max(...list),
      list.length,
      sum((value) => value),
      sum((value) => value ** 2),
    ];
    expect(watched[tag]![0]!.value, tag).toMatchObject({ moments });
  }
  const steps = (tag: string, of = watched) => of[tag]!.map(({ step }) => step);
  expect([steps('samples'), steps('before_after'), steps('config')]).toEqual([[0, 4], [4], [0]]);
  expect(watched.samples![0]!.value).toMatchObject({
    png: new Uint8Array(await readFile(at('watched', 'samples', '000000.png'))),
  });
  expect(steps('eval/reward')).toEqual([0, 4]);
  expect((watched.config![0]!.value as { text: string }).text).toContain('    probe_every: 2');

  const { config: _config, ...others } = watched;
  const { config: left, ...othersLeft } = await tags('left');
  expect(othersLeft).toEqual(others);
  expect(left!.map(({ step }) => step)).toEqual([0, 4]); // as the run went on with update 4
  await run('watched', { resume: true });
  const { config: _configs, ...again } = await tags('watched');
  expect(again).toEqual(others);
});

test('a tracker that is not reached is told of as a warning, in the log too, and the run goes on', async () => {
  const warnings: string[] = [];
  const nowhere = { ...bare, track: { trackio: 'http://127.0.0.1:9' } };
  await run('alone', { config: nowhere, updates: 1 }, (event) => {
    if (event.kind === 'warning') warnings.push(event.message);
    return false;
  });
  expect(warnings).toEqual([expect.stringMatching(/^trackio: http:\/\/127\.0\.0\.1:9 does not take the metrics/)]);
  expect(await readFile(at('alone', 'log.txt'), 'utf8')).toContain(`! ${warnings[0]}`);
  expect(JSON.parse(await readFile(at('alone', 'run.json'), 'utf8'))).toMatchObject({ status: 'done', updates: 1 });
});
