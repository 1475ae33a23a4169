/** Training by a program: events, files, early ends, errors of what it gives, on a tiny Stable Diffusion. */
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { loadModel, type Model, type RewardImage, type RunEvent, train } from '../../../grpo/finetune/index.js';
import { temporaryFolder } from '../../temporary.js';

const folder = temporaryFolder();
const source = join(packageRoot(), 'test/fixtures/pipelines/sd1');
const redness = (images: readonly RewardImage[]): number[] => images.map(({ rgb }) => rgb[0]! - rgb[1]!);
const config = {
  sampler: { steps: 4, eval_steps: 3 },
  grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 },
  train: { lr: 1e-2 },
  sample: { seeds: [1] },
  eval: { n: 4 },
};

const load = (): Promise<Model> => loadModel(source, { lora: { rank: 2 }, weights: 'f32' });
let model: Model;
beforeAll(async () => {
  model = await load();
  return () => model.close();
});

const given = (out: string) => ({
  prompts: ['a red circle', 'the blue cat'],
  rewards: { redness },
  config,
  updates: 3,
  out: join(folder, out),
});

async function eventsOf(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const found: RunEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const records = async (out: string, name: string) =>
  (await readFile(join(folder, out, name), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

test('events come in order, and the files say what they said', async () => {
  const events = await eventsOf(train({ model, ...given('told') }));
  expect(events.map(({ kind }) => kind)).toEqual([
    'started',
    'pictures',
    'evaluation',
    'previews',
    'update',
    'previews',
    'update',
    'previews',
    'update',
    'checkpoint',
    'pictures',
    'evaluation',
    'done',
  ]);
  const updates = events.filter((event) => event.kind === 'update');
  expect(updates.map(({ update, of }) => [update, of])).toEqual([
    [1, 3],
    [2, 3],
    [3, 3],
  ]);
  expect(await records('told', 'metrics.jsonl')).toEqual(updates.map(({ record }) => record));
  expect(await records('told', 'groups.jsonl')).toEqual(
    JSON.parse(JSON.stringify(updates.flatMap(({ groups }) => groups))),
  );
  expect(updates[0]!.reward.mean).toBe(updates[0]!.record.reward);
  const info = JSON.parse(await readFile(join(folder, 'told', 'run.json'), 'utf8'));
  const done = events.at(-1);
  expect(done).toMatchObject({ kind: 'done', updates: 3 });
  expect(info).toMatchObject({ status: 'done', updates: 3, rewards: done?.kind === 'done' && done.rewards });
  expect(await records('told', 'prompts_train.jsonl')).toEqual([
    { prompt: 'a red circle' },
    { prompt: 'the blue cat' },
  ]);
});

test('a loop that is left saves, says so, and is gone on with to the same bits', async () => {
  const whole = await load();
  await eventsOf(train({ model: whole, ...given('whole') }));
  const broken = await load();
  for await (const event of train({ model: broken, ...given('left'), progress: true }))
    if (event.kind === 'update' && event.update === 2) break;
  const info = JSON.parse(await readFile(join(folder, 'left', 'run.json'), 'utf8'));
  expect(info).toMatchObject({ status: 'interrupted', updates: 2, exit: { code: 130 } });
  expect(await readdir(join(folder, 'left', 'checkpoints'))).toEqual(['000002']);
  // What a run that was killed may have noted after its last checkpoint.
  for (const name of ['metrics.jsonl', 'groups.jsonl'])
    await appendFile(join(folder, 'left', name), `${JSON.stringify({ update: 3, lost: true })}\n`);
  const again = await load();
  await eventsOf(train({ model: again, ...given('left'), resume: true }));
  for (const name of ['metrics.jsonl', 'groups.jsonl']) {
    const found = await records('left', name);
    expect(
      found.map(({ update }) => update),
      name,
    ).toEqual((await records('whole', name)).map(({ update }) => update));
    expect(
      found.filter(({ lost }) => lost),
      name,
    ).toEqual([]);
  }
  const adapter = (out: string) =>
    readFile(join(folder, out, 'checkpoints', '000003', 'adapter.safetensors'), 'base64');
  expect(await adapter('left')).toBe(await adapter('whole'));
  for (const each of [whole, broken, again]) each.close();
});

test('a loop that is left in mid-update ends the update', async () => {
  const before = model.device.memory();
  for await (const event of train({ model, ...given('mid'), progress: true }))
    if (event.kind === 'progress' && event.at.phase === 'sampling' && event.at.step === 2) break;
  const info = JSON.parse(await readFile(join(folder, 'mid', 'run.json'), 'utf8'));
  expect(info).toMatchObject({ status: 'interrupted', updates: 0 });
  const { liveBytes, plannedBytes } = model.device.memory();
  expect([liveBytes, plannedBytes]).toEqual([before.liveBytes, before.plannedBytes]);
});

test('what a sink throws ends the run as if the run had thrown it', async () => {
  const fails = (event: RunEvent): void => {
    if (event.kind === 'update' && event.update === 2) throw new Error('the pen is dry');
  };
  const heard: string[] = [];
  const running = async (): Promise<void> => {
    for await (const { kind } of train({ model, ...given('dry'), sinks: [fails] })) heard.push(kind);
  };
  await expect(running()).rejects.toThrow('the pen is dry');
  expect(heard.at(-1)).toBe('failed');
  const info = JSON.parse(await readFile(join(folder, 'dry', 'run.json'), 'utf8'));
  expect(info).toMatchObject({ status: 'failed', exit: { code: 1, reason: 'the pen is dry' } });
});

test('what makes no sense is refused before anything is written', async () => {
  const cases: [string, object][] = [
    ['grpo.keep', { config: { ...config, grpo: { keep: [3, 4] } } }],
    ['train()', { config: { train: { lr: -1 } } }],
    ['no train prompts', { prompts: [] }],
    ['steps of kind dance are not for a diffusion model', { config: { ...config, sampler: { kind: 'dance' } } }],
    ['no reward is called beauty', { config: { ...config, eval: { rewards: ['beauty'] } } }],
    ['returned 1 scores for 2 images', { rewards: { one: () => [1] } }],
    ['expected one reward or more', { rewards: {} }],
  ];
  const { liveBytes, plannedBytes } = model.device.memory();
  for (const [message, changes] of cases) {
    await expect(eventsOf(train({ model, ...given('wrong'), ...changes })), message).rejects.toThrow(message);
    expect(await readdir(folder), message).not.toContain('wrong');
    const memory = model.device.memory();
    expect([memory.liveBytes, memory.plannedBytes], message).toEqual([liveBytes, plannedBytes]);
  }
  await expect(eventsOf(train({ model, ...given('told') }))).rejects.toThrow('exists');
  const frozen = await loadModel(source, { device: model.device });
  await expect(eventsOf(train({ model: frozen, ...given('frozen') }))).rejects.toThrow('nothing of it learns');
  frozen.close();
});

test('what was learned is saved for diffusers, and drawn after it is loaded again', async () => {
  const [picture] = await model.sample('a cat', { steps: 3, seed: 4 });
  const path = await model.save(join(folder, 'saved'));
  const again = await loadModel(source, { device: model.device, weights: 'f32', adapter: path });
  const [same] = await again.sample('a cat', { steps: 3, seed: 4 });
  const base = await loadModel(source, { device: model.device, weights: 'f32' });
  const [other] = await base.sample('a cat', { steps: 3, seed: 4 });
  expect(same!.rgb).toEqual(picture!.rgb);
  expect(other!.rgb).not.toEqual(picture!.rgb);
  await picture!.save(join(folder, 'cat.png'));
  expect((await readFile(join(folder, 'cat.png'))).subarray(1, 4).toString()).toBe('PNG');
  for (const each of [again, base]) each.close();
});
