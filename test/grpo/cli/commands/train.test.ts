/** The commands around a run, on a tiny Stable Diffusion: training, resuming, interruptions, bad input, evaluation, export. */
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors } from '../../../../engine/safetensors.js';
import { packageRoot } from '../../../../engine/version.js';
import { crop, decodePng } from '../../../../models/pictures/png.js';
import { temporaryFolder } from '../../../temporary.js';
import { type Output, winnow } from '../output.js';
import { start } from '../process.js';

const folder = temporaryFolder();
const out = join(folder, 'runs');
const config = join(folder, 'tiny.yaml');
const file = (name: string): string => join(folder, name);
const run = (name: string, ...path: string[]): string => join(out, name, ...path);

beforeAll(async () => {
  await writeFile(file('train.txt'), 'a red circle\nthe blue cat\na cat\n');
  await writeFile(file('test.jsonl'), '{"prompt": "the red cat", "count": 1}\n{"prompt": "a blue circle"}\n');
  await writeFile(
    config,
    `model: { path: ${join(packageRoot(), 'test/fixtures/pipelines/sd1')}, weights: f32 }
lora: { rank: 2, alpha: 4, targets: attention }
prompts: { train: ${file('train.txt')}, test: ${file('test.jsonl')} }
reward: { brightness: { weight: 1 } }
sampler: { steps: 4, kind: ddim, noise: 1, eval_steps: 3 }
grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 }
train: { updates: 4, lr: 1.0e-2, micro_batch: 4 }
save: { every: 2, keep: 2 }
sample: { seeds: [1, 2] }
eval: { n: 6, rewards: [color] }
`,
  );
});

const train = (name: string, ...more: string[]): Promise<Output> =>
  winnow('train', config, '--out', out, '--name', name, ...more);
const records = async (name: string, records: string) =>
  (await readFile(run(name, `${records}.jsonl`), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const info = async (name: string) => JSON.parse(await readFile(run(name, 'run.json'), 'utf8'));
const bytes = (path: string): Promise<string> => readFile(path, 'base64');
const exists = (path: string): Promise<boolean> =>
  readdir(path).then(
    () => true,
    () => false,
  );

const number = String.raw`-?\d+\.\d+`;
const done = /^done {5}4 updates, \d+ s; 6 held-out pictures before and after:$/;
const result = (reward: string): RegExp =>
  new RegExp(String.raw`^${reward} +${number} +${number}  \+?${number} \(${number} to ${number}\)`);

describe('a run', () => {
  // What the tests read: a run, and one of the same configuration that was stopped after two updates and resumed.
  let first: Output;
  let half: Output;
  let rest: Output;
  let left: string[];
  beforeAll(async () => {
    first = await train('first');
    left = await readdir(run('first'));
    half = await train('half', '--steps', '2', '--quiet');
    rest = await winnow('train', '--resume', run('half'), '--steps', '4');
  });

  test('prints facts on stdout, the results last, and what it does on stderr, without control codes', () => {
    expect(first).toMatchObject({ status: 0 });
    const lines = first.stdout.trimEnd().split('\n');
    expect(lines.slice(0, 4).map((line) => line.split(' ')[0])).toEqual(['winnow', 'device', 'model', 'funnel']);
    expect(first.stdout).toContain('4 -> 3 -> 2 at steps 1, 2 of 4   13 of 16 network calls a group');
    expect(lines.filter((line) => /^ +\d\/4 /.test(line)).length).toBe(4 + 2); // updates, and evaluations around them
    expect(lines.at(-4)).toMatch(done);
    expect(lines.at(-3)).toMatch(/^reward +before +after {2}difference \(95 % interval\)$/);
    expect(lines.at(-2)).toMatch(result('brightness'));
    expect(lines.at(-2)).toMatch(/ {2}trained on: -?\d+\.\d deviations of a group$/);
    expect(lines.at(-1)).toMatch(result('color'));
    expect(first.stderr).toContain(`saved ${run('first', 'checkpoints', '000004')}`);
    expect(first.stderr.trimEnd().split('\n').slice(-2)).toEqual([
      `look  ${run('first', 'samples', 'before_after.png')}`,
      `next  winnow export ${run('first')} --format diffusers`,
    ]);
    expect(first.stdout + first.stderr).not.toContain('\x1b');
  });

  test('leaves its folder, with every count', async () => {
    expect(left.sort()).toEqual([
      'checkpoints',
      'config.yaml',
      'evaluations.jsonl',
      'groups.jsonl',
      'log.txt',
      'metrics.jsonl',
      'previews',
      'run.json',
      'samples',
    ]);
    expect(await readdir(run('first', 'checkpoints'))).toEqual(['000002', '000004']);
    expect(await readdir(run('first', 'samples'))).toEqual(['000000.png', '000004.png', 'before_after.png']);
    expect(await info('first')).toMatchObject({
      status: 'done',
      updates: 4,
      of: 4,
      totals: { calls: 4 * 2 * 13, decodes: 4 * 2 * (4 + 3 + 2), trained: 4 * 2 * 2 * 3 },
      exit: { code: 0 },
    });
    const metrics = await records('first', 'metrics');
    expect(metrics.map(({ update }) => update)).toEqual([1, 2, 3, 4]);
    for (const record of metrics) {
      expect(record['ratio/max_deviation']).toBe(0);
      expect(record.reward).toBeCloseTo(record['rewards/brightness/mean'], 12);
      expect(record['spread/kept']).toBeGreaterThan(0);
    }
    const groups = await records('first', 'groups');
    expect(groups.length).toBe(8);
    for (const { selections, survivors, rewards } of groups) {
      expect(selections.map(({ step, kept }: { step: number; kept: number[] }) => [step, kept.length])).toEqual([
        [1, 3],
        [2, 2],
      ]);
      expect(selections[0].rewards.length).toBe(4);
      expect(survivors).toEqual(selections[1].kept);
      expect(rewards.length).toBe(2);
    }
    const log = await readFile(run('first', 'log.txt'), 'utf8');
    for (const line of first.stdout.trimEnd().split('\n')) expect(log).toContain(line);
  });

  test('stopped after two updates and resumed, it ends with the same bits and the same results', async () => {
    expect(half.stdout.trimEnd().split('\n').length).toBe(4);
    expect(rest.status).toBe(0);
    for (const name of ['adapter', 'optimizer']) {
      const path = ['checkpoints', '000004', `${name}.safetensors`];
      expect(await bytes(run('half', ...path)), name).toBe(await bytes(run('first', ...path)));
    }
    const results = ({ stdout }: Output) =>
      stdout
        .trimEnd()
        .split('\n')
        .slice(-2)
        .map((line) => line.replace(/\d+ s\./, ''));
    expect(results(rest)).toEqual(results(first));
    const figures = async (name: string) =>
      (await records(name, 'metrics')).map(({ update, reward }) => [update, reward]);
    expect(await figures('half')).toEqual(await figures('first'));
    expect((await records('half', 'evaluations')).map(({ update }) => update)).toEqual([0, 2, 4]);
    expect((await info('half')).totals).toEqual((await info('first')).totals);
  });

  test('before and after are those of its grids, also when it was stopped between, under their prompts', async () => {
    const read = async (name: string, picture: string) =>
      decodePng(await readFile(run(name, 'samples', `${picture}.png`)));
    const both = await read('first', 'before_after');
    expect(both.text).toMatchObject({ prompts: 'the red cat\na blue circle', seeds: '1 2', updates: '4' });
    const [before, after] = [await read('first', '000000'), await read('first', '000004')];
    expect(both.picture.height).toBe(before.picture.height);
    // The rows of the grids, below their headings and captions, make the left and the right half.
    const side = 128;
    const at = (left: number) => ({ left, top: both.picture.height - 16 - side, width: 2 * side + 4, height: side });
    expect(crop(both.picture, at(16))).toEqual(crop(before.picture, at(16)));
    expect(crop(both.picture, at(16 + 2 * side + 4 + 16))).toEqual(crop(after.picture, at(16)));
    expect(await bytes(run('half', 'samples', 'before_after.png'))).toBe(
      await bytes(run('first', 'samples', 'before_after.png')),
    );
    const others = file('others');
    await cp(run('half'), others, { recursive: true });
    const { stderr } = await winnow('train', '--resume', others, '--set', 'sample.seeds=[3]');
    expect(stderr).toContain('000000.png is gone, or of other prompts, seeds or size');
    expect(stderr).toContain(`look  ${join(others, 'samples', '000000.png')} and 000004.png`);
  });

  test('it goes on with the kernels that it began with, whatever has been measured since', async () => {
    const kernels = { matmul: 'matmul_tiled' };
    const tuned = file('tuned');
    await cp(run('half'), tuned, { recursive: true });
    const path = join(tuned, 'checkpoints', '000004', 'state.json');
    const { hash: _, ...state } = JSON.parse(await readFile(path, 'utf8')); // edited by hand, it has no hash of itself
    await writeFile(path, JSON.stringify({ ...state, kernels }));
    expect((await winnow('train', '--resume', tuned, '--steps', '5', '--quiet')).status).toBe(0);
    const after = JSON.parse(await readFile(join(tuned, 'checkpoints', '000005', 'state.json'), 'utf8'));
    expect(after.kernels).toEqual(kernels);
  });

  test('it is refused with another configuration, and left as it was', async () => {
    const before = await bytes(run('first', 'run.json'));
    const other = await winnow('train', '--resume', run('first'), '--set', 'grpo.keep=[6,3,2]');
    expect(other.status).toBe(6);
    expect(other.stderr).toContain(
      'it was made with grpo.keep [4,3,2], the configuration says [6,3,2].  Start a new run',
    );
    expect((await winnow('train', '--resume', run('first'), '--steps', '3')).status).toBe(2);
    expect((await winnow('train', '--resume', run('none'))).status).toBe(6);
    expect(await bytes(run('first', 'run.json'))).toBe(before);
  });

  test('eval finds what the run reported, with a status for what falls short', async () => {
    const judged = await winnow('eval', run('first'), '--json', '--min', 'reward=0', '--min', 'color=2');
    expect(judged.status).toBe(9);
    expect(judged.stderr).toMatch(/! reward color is 0\.\d+, expected at least 2/);
    const report = JSON.parse(judged.stdout);
    expect(report.differences).toEqual((await info('first')).rewards);
    expect(report.missed).toEqual([{ reward: 'color', least: 2 }]);
    const earlier = await winnow('eval', run('first'), '--against', run('half'), '--step', '4', '--n', '2');
    expect(earlier.stdout).toMatch(/^brightness +(\d\.\d+) +\1 {2}0\.0+ \(0\.0+ to 0\.0+\)/m);
    expect((await winnow('eval', run('first'), '--min', 'beauty=1')).status).toBe(2);
    const noisy = await winnow('eval', run('first'), '--n', '2', '--set', 'sampler.eval_noise=1');
    expect(noisy.stdout).toMatch(/^2 held-out pictures before and after:$/m);
    expect(noisy.stdout).not.toBe((await winnow('eval', run('first'), '--n', '2')).stdout);
    const base = await winnow('eval', config, '--rewards', 'png-compressibility', '--n', '3');
    expect(base.stdout).toMatch(
      /^brightness \d.\d+ on 3 held-out pictures \(95 % interval: .*\)\npng-compressibility -/,
    );
  });

  test('its adapter, exported, draws what the run draws', async () => {
    const exported = await winnow('export', run('first'));
    expect(exported.stdout).toBe(`${run('first', 'export', 'diffusers', 'pytorch_lora_weights.safetensors')}\n`);
    const peft = await winnow('export', run('first'), '--format', 'peft', '--step', '2', '--out', file('peft'));
    expect(peft.stdout).toBe(`${join(file('peft'), 'adapter_model.safetensors')}\n`);
    const grid = async (name: string, ...more: string[]): Promise<string> => {
      const path = file(`${name}.png`);
      const made = await winnow('sample', ...more, '--prompt', 'a cat', '--n', '2', '--grid', path, '--steps', '2');
      expect(made.stderr.split('\n').filter((line) => line.startsWith('error'))).toEqual([]);
      const png = await readFile(path);
      return png.subarray(png.indexOf('IDAT')).toString('base64'); // without the texts
    };
    const last = await grid('run', run('first'));
    expect(await grid('diffusers', config, '--lora', join(run('first'), 'export', 'diffusers'))).toBe(last);
    const second = await grid('step', run('first'), '--step', '2');
    expect(await grid('peft', config, '--lora', file('peft'))).toBe(second);
    const base = await grid('base', run('first'), '--base');
    expect(await grid('config', config)).toBe(base);
    expect(await grid('ode', config, '--ode')).toBe(base);
    const noisy = await grid('sde', config, '--sde');
    expect(new Set([last, second, base, noisy]).size).toBe(4);
    expect((await winnow('sample', config, '--prompt', 'a cat', '--ode', '--sde')).status).toBe(2);
    expect((await winnow('export', run('first'), '--ema')).status).toBe(2);
  });

  test('a new run can begin with its adapter', async () => {
    const adapter = file('adapter');
    expect((await winnow('export', run('first'), '--out', adapter)).status).toBe(0);
    const again = await train('again', '--steps', '0', '--init-lora', adapter);
    expect(again.status).toBe(0);
    const { rewards } = await info('again');
    expect(rewards.reward.before).toBeCloseTo((await info('first')).rewards.reward.after, 6);
    // Of every format that export writes the same adapter is begun with.
    for (const format of ['peft', 'kohya']) {
      const other = file(`adapter-${format}`);
      expect((await winnow('export', run('first'), '--out', other, '--format', format)).status).toBe(0);
      expect(await train(`again-${format}`, '--steps', '0', '--init-lora', other)).toMatchObject({ status: 0 });
      expect((await info(`again-${format}`)).rewards.reward.before).toBeCloseTo(rewards.reward.before, 6);
    }
    const checkpoint = join(run('first'), 'checkpoints', (await readdir(run('first', 'checkpoints'))).sort().at(-1)!);
    for (const [i, own] of [run('first'), checkpoint, join(checkpoint, 'adapter.safetensors')].entries()) {
      expect(await train(`own-${i}`, '--steps', '0', '--init-lora', own)).toMatchObject({ status: 0 });
      expect((await info(`own-${i}`)).rewards.reward.before).toBe((await info('first')).rewards.reward.after);
    }
    const wrong = await train('wrong', '--init-lora', adapter, '--set', 'lora.rank=3');
    expect(wrong.status).toBe(6);
    expect(wrong.stderr).toContain('has rank 2, expected lora.rank, 3: --set lora.rank=2');
    expect(await exists(run('wrong'))).toBe(false);
  });

  test('inspect compares the spreads of a group, a uniform half and the half of largest variance', async () => {
    const found = await winnow('inspect', run('first'), '--n', '8', '--out', file('inspect.png'), '--json');
    expect(found.status).toBe(0);
    const { subsets, rewards } = JSON.parse(found.stdout);
    expect(rewards.length).toBe(8);
    expect(subsets.map(({ name, samples }: { name: string; samples: number[] }) => [name, samples.length])).toEqual([
      ['full group', 8],
      ['uniform half', 4],
      ['OVF half', 4],
    ]);
    expect(subsets[2].std).toBeGreaterThan(subsets[0].std);
    expect((await readFile(file('inspect.png'))).subarray(1, 4).toString()).toBe('PNG');
  });

  test('runs lists it', async () => {
    const { stdout } = await winnow('runs', '--out', out);
    expect(stdout).toMatch(/^first +done +4\/4 .* -> /m);
  });
});

test('--json prints one object a line and nothing else; moving averages are what is judged', async () => {
  const { stdout, status } = await train('json', '--steps', '1', '--json', '--set', 'train.ema=0.9');
  expect(status).toBe(0);
  const events = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(events.map(({ event }) => event)).toEqual(['run', 'evaluation', 'update', 'checkpoint', 'evaluation', 'done']);
  expect(events.at(-1)).toMatchObject({ updates: 1, run: run('json'), rewards: { reward: { n: 6 }, color: { n: 6 } } });
  const judged = await winnow('eval', run('json'), '--json');
  expect(JSON.parse(judged.stdout).differences).toEqual(events.at(-1).rewards);
  const weights = async (...more: string[]) => bytes((await winnow('export', run('json'), ...more)).stdout.trim());
  expect(await weights('--ema', '--out', file('ema'))).not.toBe(await weights());
});

test('bad input is named before anything is written', async () => {
  await writeFile(file('bad.txt'), 'a\n\nb\n');
  await writeFile(file('throws.mjs'), 'export default () => { throw new Error("no mood"); };');
  await writeFile(file('few.mjs'), 'export default (images) => images.slice(1).map(() => 1);');
  await writeFile(file('nan.mjs'), 'export default (images) => images.map(() => NaN);');
  const reward = (module: string) => ['--set', `reward={mine: {module: ${file(module)}}}`];
  const cases: [number, string, string[]][] = [
    [2, 'unknown key (did you mean "clip"?)', ['--set', 'grpo.clp=1']],
    [2, 'expected a number, found "fast"', ['--set', 'train.lr=fast']],
    [2, 'is named by to_x', ['--set', 'lora.targets=to_x']],
    [2, 'steps of kind dance are not for a diffusion model', ['--set', 'sampler.kind=dance']],
    [2, 'this name is taken', ['--set', `reward={reward: {module: ${file('few.mjs')}}}`]],
    [6, 'bad.txt:2: empty prompt', ['--set', `prompts.train=${file('bad.txt')}`]],
    [6, 'none.txt: no such file', ['--set', `prompts.test=${file('none.txt')}`]],
    [6, 'none.txt: no such file', ['--set', `sample.prompts=${file('none.txt')}`]],
    [6, 'model_index.json', ['--set', `model.path=${folder}`]],
    [6, 'none', ['--init-lora', file('none')]],
    [6, "can't be imported", reward('none.mjs')],
    [8, 'reward "mine" threw for 2 images', reward('throws.mjs')],
    [8, 'reward "mine" returned 1 scores for 2 images', reward('few.mjs')],
    [8, 'reward "mine" returned NaN', reward('nan.mjs')],
  ];
  for (const [status, message, args] of cases) {
    const found = await train('bad', ...args);
    expect(found.stderr).toContain(message);
    expect(found.status, message).toBe(status);
    expect(await exists(run('bad')), message).toBe(false);
  }
});

test('a reward that fails later costs no update', async () => {
  await writeFile(
    file('tires.mjs'),
    'let calls = 0; export default (images) => { if (++calls > 9) throw new Error("tired"); return images.map(({ rgb }) => rgb[0]); };',
  );
  const found = await train(
    'tires',
    '--set',
    `reward={mine: {module: ${file('tires.mjs')}}}`,
    '--set',
    'save.every=100',
  );
  expect(found.status).toBe(8);
  expect(found.stderr).toMatch(/error\[8\]: reward "mine" threw for \d+ images \(.*tires\.mjs\): tired/);
  const { status, updates, exit } = await info('tires');
  expect([status, exit.code]).toEqual(['failed', 8]);
  expect(updates).toBeGreaterThan(0);
  expect(await readdir(run('tires', 'checkpoints'))).toEqual([`00000${updates}`]);
  expect(found.stderr).toContain(`go on with: winnow train --resume ${run('tires')}`);
});

test('weights that are no longer finite end a run with status 7', async () => {
  const found = await train('lost', '--set', 'train.lr=1e30', '--set', 'save.every=1');
  expect(found.status).toBe(7);
  expect(found.stderr).toMatch(/! the last checkpoint is .*\nerror\[7\]: update 1: no picture of its groups is finite/);
  expect(await info('lost')).toMatchObject({ status: 'failed', exit: { code: 7 } });
});

test('a checkpoint that can not be written is an error, and the one before stays', async () => {
  await train('stuck', '--steps', '2');
  await writeFile(run('stuck', 'checkpoints', `000004.${process.pid}.part`), 'in the way of the folder');
  const found = await winnow('train', '--resume', run('stuck'), '--steps', '4');
  expect(found.status).toBe(6);
  expect(found.stderr).toContain(`error[6]: can't write ${run('stuck', 'checkpoints', '000004')}`);
  expect(found.stderr).toContain(`the last checkpoint is ${run('stuck', 'checkpoints', '000002')}`);
  const adapter = await openSafetensors(run('stuck', 'checkpoints', '000002', 'adapter.safetensors'));
  expect(adapter.entries.size).toBeGreaterThan(0);
  await adapter.close();
});

describe.runIf(process.platform !== 'win32')('signals', () => {
  /** Trains in a process of its own, which gets the signal after its first update. */
  const interrupted = async (name: string, signal: 'SIGINT' | 'SIGTERM') => {
    const { child, until, printed, ended } = start('train', config, '--out', out, '--name', name, '--steps', '500');
    await until(/^ +1\/500 /m);
    child.kill(signal);
    return { code: await ended, text: printed() };
  };

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} ends the run with a checkpoint and status ${status}`, async () => {
      const { code, text } = await interrupted(signal, signal);
      expect(text).toContain('ending after the group at hand and saving');
      expect(code).toBe(status);
      const { status: state, updates, exit } = await info(signal);
      expect([state, exit.code]).toEqual(['interrupted', status]);
      expect((await readdir(run(signal, 'checkpoints'))).at(-1)).toBe(String(updates).padStart(6, '0'));
      expect(text).toContain(`stopped after update ${updates}; go on with: winnow train --resume ${run(signal)}`);
      const steps = String(updates + 1);
      expect((await winnow('train', '--resume', run(signal), '--steps', steps)).status).toBe(0);
    }, 300_000); // a process of its own compiles everything anew
  }
});
