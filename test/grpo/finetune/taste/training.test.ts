/** `winnow train --taste`: fitted where votes came, refused where they say nothing, and a reward of a run and of `winnow eval`. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { openDevice } from '../../../../grpo/finetune/device.js';
import { readTaste, tasteName } from '../../../../grpo/finetune/taste/folder.js';
import { refitTaste } from '../../../../grpo/finetune/taste/refit.js';
import { tasteTraining } from '../../../../grpo/finetune/taste/reward.js';
import { appendVote, readVotes, votesName } from '../../../../grpo/finetune/taste/votes.js';
import { scenePairs } from '../../../taste/pairs.js';
import { castVotes } from '../../../taste/voter.js';
import { temporaryFolder } from '../../../temporary.js';
import { winnow } from '../../cli/output.js';
import { tinyFolder } from '../../tiny.js';

const root = temporaryFolder();
const at = (...path: string[]): string => join(root, ...path);
const model = tinyFolder('sd1');
const config = at('tiny.yaml');
const brightness = ({ rgb }: { rgb: Uint8Array }): number => rgb.reduce((sum, value) => sum + value, 0);
const cast = (
  name: string,
  options: { readonly model?: string } = { model },
  utility: typeof brightness | undefined = brightness,
) => castVotes(at(name), scenePairs(30), utility, 1, options);
const train = (name: string, ...more: string[]) =>
  winnow('train', config, '--out', at('runs'), '--name', name, '--taste', at('taste'), ...more);

beforeAll(async () => {
  writeFileSync(at('prompts.txt'), 'a red circle on blue\na blue ring on green\n');
  writeFileSync(
    config,
    `model: { path: ${model}, weights: f32 }
lora: { rank: 2, alpha: 4, targets: attention }
prompts: { train: ${at('prompts.txt')}, test: ${at('prompts.txt')} }
reward: { color: { weight: 1 } }
sampler: { steps: 3, kind: ddim, noise: 1 }
grpo: { keep: [4], prune_at: [], prune: none, groups_per_update: 1, combine: normalised }
train: { updates: 1, micro_batch: 4 }
sample: { seeds: [1] }
eval: { n: 2, rewards: [scenes-clip] }
`,
  );
  await cast('taste');
});

test('a taste is fitted to votes that came, by the CLIP that was asked for, and is what a run and its evaluation go by', async () => {
  const missing = await train('first');
  expect([missing.status, missing.stderr]).toEqual([
    2,
    expect.stringContaining(`--clip FOLDER is missing: a taste in pictures of ${model}`),
  ]);
  const first = await train('first', '--clip', 'scenes-clip');
  expect(first.status, first.stderr).toBe(0);
  expect(first.stderr).toContain(`fitted the taste of ${at('taste')} to its votes`);
  expect(first.stderr).toMatch(
    /taste {4}\d+ % of 30 held-out votes .*\n {9}after 20 votes \d+ %, after 30 \d+ %\n {9}you like: lighter/,
  );
  const { base } = await readTaste(at('taste'));
  const written = readFileSync(at('runs', 'first', 'config.yaml'), 'utf8');
  for (const weight of [base.taste, base.clip]) expect(written).toContain(`weight: ${1 / weight}`);
  expect(written).toMatch(/combine: sum/);
  expect(written).not.toMatch(/color/);
  expect(first.stdout).toMatch(/taste .*\n(.*\n)*.*scenes-clip/);

  // Of a run, and of a configuration as any reward: the same pictures and scores.
  const judged = await winnow('eval', at('runs', 'first'), '--json');
  const set = `reward={"taste":{"path":${JSON.stringify(at('taste'))}}}`;
  const alone = await winnow('eval', config, '--set', set, '--json');
  const rewardOf = ({ stdout }: { stdout: string }, name: string) => JSON.parse(stdout)[name].taste;
  expect(rewardOf(judged, 'differences').before).toBe(rewardOf(alone, 'rewards').mean);
});

test('a taste is not fitted again unless votes come, and one that was edited can be made anew', async () => {
  const { votes } = await readTaste(at('taste'));
  const open = () => Promise.reject(new Error('nothing is to be fitted'));
  expect(await refitTaste(at('taste'), open)).toBe(false);
  expect(await refitTaste(at('taste'), open, { clip: 'scenes-clip' })).toBe(false);
  const [vote] = (await readVotes(at('taste'))).votes;
  await appendVote(at('taste'), { ...vote!, id: 'another' });
  const second = await train('second');
  expect(second.stderr).toContain('fitted the taste');
  expect((await readTaste(at('taste'))).votes.count).toBe(votes.count + 1);
  expect(second.status, second.stderr).toBe(0);

  // What was edited is refused with the remedy, which is one.
  const path = at('taste', votesName);
  writeFileSync(path, readFileSync(path, 'utf8').replace('"choice":"left"', '"choice":"equal"'));
  const edited = await train('third');
  expect([edited.status, edited.stderr]).toEqual([6, expect.stringMatching(/was edited or cut; remove taste.json/)]);
  rmSync(at('taste', tasteName));
  expect(await refitTaste(at('taste'), openDevice, { clip: 'scenes-clip' })).toBe(true);
  expect((await tasteTraining(at('taste'), { model })).messages.length).toBe(3);
});

test('votes on another model, on two models, at random or none are refused before a run begins', async () => {
  const told = async (name: string, ...more: string[]) => {
    const { status, stderr } = await train('never', '--taste', at(name), ...more);
    return [status, stderr];
  };
  await cast('other', { model: 'scenes-flow' });
  expect(await told('other')).toEqual([
    2,
    expect.stringContaining(
      `its votes are on pictures of scenes-flow, and ${model} is to be trained: expected the same model; --force`,
    ),
  ]);
  const { reward } = await tasteTraining(at('other'), { model, force: true });
  expect(reward.taste!.weight).toBeGreaterThan(0);
  expect((await tasteTraining(at('other'), { model: './scenes-flow' })).reward).toEqual(reward);

  const [vote] = (await readVotes(at('other'))).votes;
  await appendVote(at('other'), { ...vote!, id: 'stray', model: 'scenes-diffusion' });
  expect(await told('other')).toEqual([
    6,
    expect.stringContaining('vote stray is on pictures of scenes-diffusion, expected scenes-flow as before it'),
  ]);

  await castVotes(at('random'), scenePairs(30), undefined, 1, { model });
  expect(await told('random', '--clip', 'scenes-clip')).toEqual([
    2,
    expect.stringMatching(
      /your votes do not agree with one another yet \(\d+ % of 30 held-out pairs; chance is 50 %\): rate more; --force/,
    ),
  ]);

  expect(await told('nowhere')).toEqual([2, expect.stringContaining(`${at('nowhere', votesName)}: no votes`)]);
  appendFileSync(at('random', votesName), '{}\n');
  expect(await told('random')).toEqual([6, expect.stringContaining('line 31: version is missing, expected 1')]);
  expect(existsSync(at('runs', 'never'))).toBe(false);
  for (const flag of [['--force'], ['--clip', 'scenes-clip']])
    expect(await winnow('train', config, ...flag)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('is for --taste'),
    });
});
