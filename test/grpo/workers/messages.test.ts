/** What trainer and workers tell each other: numbers without a sign in JSON, what is refused, and what is never told. */
import { expect, test } from 'vitest';
import { loadConfig } from '../../../grpo/finetune/config/file.js';
import { differences } from '../../../grpo/workers/identity.js';
import { decode, encode, type Identity, reportSchema, type Task, taskSchema } from '../../../grpo/workers/messages.js';
import { configOfWorker, sharedConfig } from '../../../grpo/workers/own_config.js';
import { picturesOf } from '../../../grpo/workers/trainer/pictures.js';

const blob = { hash: 'a'.repeat(64), bytes: 12 };
const draw: Task = {
  kind: 'draw',
  run: blob.hash,
  update: 3,
  first: 2,
  prompts: [{ prompt: 'a cat', meta: { count: 1, deep: [{ x: null }] } }],
  drawn: blob,
  total: 36,
  pictures: true,
};

test('tasks and reports come through as they were, numbers that are not finite too', () => {
  expect(decode(taskSchema, encode(draw))).toEqual(draw);
  const learn: Task = {
    kind: 'learn',
    run: blob.hash,
    update: 3,
    first: 2,
    prompts: draw.prompts,
    drawn: blob,
    weights: blob,
    rows: [{ group: 2, sample: 7, step: 0, advantage: Number.NEGATIVE_INFINITY }],
    total: 9,
    kept: [],
  };
  expect(decode(taskSchema, encode(learn))).toEqual(learn);
  const group = {
    selections: [{ step: 2, samples: [0, 1], rewards: [Number.NaN, 0.1 + 0.2], kept: [1] }],
    survivors: [{ sample: 1, reward: 5e-324 }],
    lost: [0],
    finals: [Number.NaN, -0.1],
    byReward: { mine: [Number.POSITIVE_INFINITY, 1 / 3] },
    first: [0.3],
    baseline: [5e-324],
    calls: 20,
    decodes: 4,
    seconds: { sample: 1.5, reward: 0.25 },
  };
  const seconds = { draw: 1, learn: 2, move: 3 };
  const report = {
    task: blob.hash,
    worker: 'w',
    groups: [group],
    costs: { network: 1e12, decode: 2 },
    gradient: blob,
    seconds,
  };
  expect(decode(reportSchema, encode(report))).toEqual(report);
});

test('what does not fit is nothing: other keys, other kinds, other types, no JSON', () => {
  for (const text of [
    encode({ ...draw, module: './evil.mjs' }),
    encode({ ...draw, kind: 'run' }),
    encode({ ...draw, drawn: { hash: '../../etc/passwd', bytes: 1 } }),
    encode({ ...draw, update: -1 }),
    encode({ ...draw, prompts: [] }),
    '{',
    'null',
  ])
    expect(decode(taskSchema, text), text).toBeUndefined();
  expect(decode(taskSchema, null)).toBeUndefined();
});

const machine: Identity = {
  winnow: '0.1.0',
  adapter: 'A',
  kernels: '{}',
  model: 'b'.repeat(64),
  rewards: { mine: 'c' },
};

test('machines differ by name; mixed ones may have another adapter and other kernels, and nothing else', () => {
  expect(differences(machine, machine, { mixed: false })).toEqual([]);
  const other = { ...machine, adapter: 'B', kernels: '{"f16":true}' };
  expect(differences(machine, other, { mixed: false })).toEqual([
    'adapter is B, expected A',
    'kernels and features is {"f16":true}, expected {}',
  ]);
  expect(differences(machine, other, { mixed: true })).toEqual([]);
  for (const [changes, message] of [
    [{ winnow: '0.2.0' }, 'winnow is 0.2.0, expected 0.1.0'],
    [{ model: 'd'.repeat(64) }, `model folder (hash of its files) is ${'d'.repeat(64)}, expected ${machine.model}`],
    [{ rewards: {} }, 'reward mine is missing, expected c'],
    [{ rewards: { mine: 'c', more: 'built in' } }, 'reward more is built in, expected none'],
  ] as const)
    expect(differences(machine, { ...machine, ...changes }, { mixed: true })).toEqual([message]);
});

test("a configuration is told without what is opened, and comes back with the worker's own", async () => {
  const sets = [
    'reward={mine: {module: /secret/mine.mjs, weight: 2}, far: {http: "http://10.0.0.1/score", headers: {X-Team: red}}, brightness: {}}',
    'prompts.train=/secret/prompts.txt',
    'model.path=/secret/model',
    'workers.shards=3',
  ];
  const config = await loadConfig('scenes-flow', sets);
  const shared = sharedConfig(config);
  const text = encode(shared);
  for (const secret of ['/secret', '10.0.0.1', 'X-Team', 'prompts.txt']) expect(text).not.toContain(secret);
  const own = await loadConfig('scenes-flow', [
    'reward={mine: {module: /mine/other.mjs}, far: {http: "http://127.0.0.1/", headers: {X-Team: blue}}}',
    'model.path=/mine/model',
    'grpo.kl=0.5',
    'seed=7',
  ]);
  const found = configOfWorker(JSON.parse(text), own);
  expect(found.model.path).toBe('/mine/model');
  expect(found.reward).toEqual({
    mine: { ...config.reward.mine, module: '/mine/other.mjs' },
    far: { ...config.reward.far, http: 'http://127.0.0.1/', headers: { 'X-Team': 'blue' } },
    brightness: config.reward.brightness,
  });
  for (const section of ['sampler', 'grpo', 'train', 'workers', 'lora', 'seed'] as const)
    expect(found[section], section).toEqual(config[section]);
  expect(() => configOfWorker(JSON.parse(text), undefined)).toThrow("the run's model is a folder");
  const embedded = sharedConfig(await loadConfig('scenes-flow'));
  expect(configOfWorker(JSON.parse(encode(embedded)), undefined).model.path).toBe('scenes-flow');
  expect(() => configOfWorker({ ...shared, grpo: { keep: 'all' } }, own)).toThrow('the run');
});

test('pictures are cut out of their bytes, which have to be as many as they say', () => {
  const picture = { sample: 4, reward: 1, parts: { mine: 1 }, width: 2, height: 1, finite: true };
  const steps = [{ step: 2, pictures: [picture, { ...picture, sample: 5 }] }];
  const bytes = Uint8Array.from({ length: 12 }, (_, i) => i);
  const prompt = { prompt: 'a cat', meta: { count: 1 } };
  const [{ step, shown }] = picturesOf(steps, bytes, prompt) as [ReturnType<typeof picturesOf>[number]];
  expect(step).toBe(2);
  expect(shown[1]).toMatchObject({ sample: 5, prompt: 'a cat', rgb: bytes.subarray(6) });
  expect(() => picturesOf(steps, bytes.subarray(1), prompt)).toThrow('pictures of 11 bytes, expected 12');
});
