/** The declarations: every key is known, every configuration is run once, every claim is of methods that are there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { experiments, preliminary, quickExperiments } from '../../../grpo/study/experiments/index.js';
import { flash } from '../../../grpo/study/methods.js';
import { configOf, identityOf, planRuns } from '../../../grpo/study/planned_run.js';

const prompts = 'captions.jsonl';
const all = [...experiments, ...preliminary];
const trained = all.filter((each) => each.kind === 'training');

test('every claim, figure and baseline is of methods of its experiment; names are there once', () => {
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  const figures = trained.flatMap((each) => each.figures.map(({ name }) => name));
  expect(new Set(figures).size).toBe(figures.length);
  for (const { name, methods, baseline, claims, figures } of trained) {
    const names = methods.map((method) => method.name);
    expect(new Set(names).size, name).toBe(names.length);
    const used = [
      baseline,
      ...claims.flatMap(({ of, over }) => [of, over]),
      ...figures.flatMap((each) => each.methods ?? []),
    ];
    expect(used.filter((each) => !names.includes(each))).toEqual([]);
    expect(claims.filter(({ of, over }) => of === over)).toEqual([]);
  }
});

test('the whole fits 90 minutes, and the quick one 10, on the machine of the estimate', async () => {
  const minutes = async (...given: Parameters<typeof planRuns>): Promise<number> =>
    (await planRuns(...given)).reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  const whole = await minutes(experiments, { seeds: 6, prompts });
  expect(whole).toBeGreaterThan(30);
  expect(whole).toBeLessThan(90);
  expect(await minutes(quickExperiments, { seeds: 2, updates: 12, prompts })).toBeLessThan(10);
});

test('experiments share runs, and no two have one folder', async () => {
  const planned = await planRuns(experiments, { seeds: 6, prompts });
  const folders = planned.map(({ folder }) => folder);
  expect(new Set(folders).size).toBe(folders.length);
  expect(folders.filter((name) => name.startsWith('flash_s'))).toHaveLength(6);
  expect(planned[0]).toMatchObject({ seed: 0 });
  expect(planned.at(-1)).toMatchObject({ seed: 5 });
});

test('who a run is: its configuration, not where its captions lie', async () => {
  const config = await configOf(flash, 0, { prompts });
  const identity = identityOf(config);
  expect(identityOf(await configOf(flash, 0, { prompts: 'elsewhere.jsonl' }))).toBe(identity);
  expect(identityOf(await configOf(flash, 1, { prompts }))).not.toBe(identity);
  expect(identityOf(await configOf(flash, 0, { prompts, updates: 12 }))).not.toBe(identity);
  expect(config.prompts.test).toBe(prompts);
});

test('the names of two configurations, and two names of one, are refused', async () => {
  const [first] = trained;
  const other = { ...first!, methods: [{ ...first!.methods[0]!, name: 'other' }] };
  await expect(planRuns([first!, other], { seeds: 1, prompts })).rejects.toThrow(/are the same run under two names/);
  const twice = { ...first!, methods: [{ ...first!.methods[0]!, changes: { train: { lr: 1 } } }] };
  await expect(planRuns([first!, twice], { seeds: 1, prompts })).rejects.toThrow(/two methods are called full/);
});

test('npm run study is the command', () => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'));
  expect(scripts.study).toMatch(/main\.js study$/);
});
