/** Plans: counts, the paper's totals, memory against what loading really takes, and the probe on a tiny folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Device } from '../../../../engine/index.js';
import { packageRoot } from '../../../../engine/version.js';
import { formatPlan } from '../../../../grpo/cli/print/plan.js';
import { runProgram } from '../../../../grpo/cli/program.js';
import type { RunConfig } from '../../../../grpo/config.js';
import { loadConfig } from '../../../../grpo/finetune/config/file.js';
import { keptMemory } from '../../../../grpo/finetune/plan/memory.js';
import { plan } from '../../../../grpo/finetune/plan/plan.js';
import { loadPolicy } from '../../../../grpo/finetune/policy.js';
import { Trajectories } from '../../../../grpo/rollout/trajectories.js';
import { callSizeOf, slotsOf } from '../../../../grpo/rollout/turns.js';
import { transitionsOf } from '../../../../grpo/sampling/transitions.js';
import { readJson } from '../../../../models/files/weight_files.js';
import { measurePipeline } from '../../../../models/pipeline/pipeline.js';
import { temporaryFolder } from '../../../temporary.js';
import { folderWithScheduler } from '../../tiny.js';

const temporary = temporaryFolder();
const folder = (name: string): string => join(packageRoot(), 'test/fixtures/pipelines', name);
const { rows } = JSON.parse(readFileSync(join(packageRoot(), 'test/fixtures/grpo/table4.json'), 'utf8')) as {
  rows: { name: string; total: string; calls: number }[];
};

/** A preset over a tiny folder. */
const tiny = (preset: string, name: string, ...sets: string[]): Promise<RunConfig> =>
  loadConfig(preset, [`model.path=${folder(name)}`, ...sets]);

describe('counts', () => {
  test("the presets of the paper's methods give its totals to the printed digits, and its calls", async () => {
    for (const [i, preset] of ['flow-grpo', 'sd35m', 'sd35m-flash'].entries()) {
      const { paper, group } = await plan(await loadConfig(preset));
      expect(paper!.total.toFixed(2)).toBe(rows[i]!.total);
      expect(paper!.baseline.toFixed(2)).toBe(rows[0]!.total);
      expect(group.network).toBe(rows[i]!.calls);
    }
    expect((await plan(await loadConfig('sd14'))).paper).toBeUndefined(); // 50 steps
  });

  test('costs that are given are compared with the full group', async () => {
    const { update, callRatio } = await plan(await loadConfig('sd35m-flash', ['grpo.train_last_step=true']), {
      costs: { network: 3.88, decode: 2.82039 },
    });
    // 48 groups, half of the paper's, and the full group is Flow-GRPO's.
    expect(update).toMatchObject({ source: 'given', groups: 48 });
    expect((2 * update!.total).toFixed(2)).toBe(rows[2]!.total);
    expect((2 * update!.baseline).toFixed(2)).toBe(rows[0]!.total);
    expect(callRatio).toBeCloseTo((240 + 960) / (200 + 480), 12);
  });
});

describe('memory', () => {
  const cases = [
    ['sd35m-flash', 'sd3', 'model.weights=f16', 'sampler.resolution=16'],
    ['scenes-flow', 'sd3', 'lora.targets=[attn.to_q, proj_out]', 'model.weights=f32'],
    ['sd14', 'sd1', 'sampler.resolution=16', 'grpo.groups_per_update=2'],
    ['scenes-diffusion', 'dit', 'train.ema=0.9', 'lora.targets=blocks'],
  ] as const;
  for (const [preset, name, ...sets] of cases) {
    test(`of ${preset} on ${name} is what loading it takes`, async () => {
      const config = await tiny(preset, name, ...sets);
      const parts = await keptMemory(folder(name), config);
      const device = await Device.create({ provideDriver: true });
      try {
        const model = await loadPolicy(device, config);
        const bytes = (tensors: Iterable<{ bytes: number }>): number =>
          [...tensors].reduce((sum, t) => sum + t.bytes, 0);
        const adapter = bytes(model.trainable.values());
        const of = (pattern: RegExp): number => bytes(parts.filter(({ part }) => pattern.test(part)));
        expect(of(/^adapter/)).toBe(adapter * (config.train.ema > 0 ? 5 : 4));
        const store = Trajectories.create(model, {
          slots: slotsOf(config.grpo.groups_per_update, callSizeOf(model.latentShape, config)),
          transitions: transitionsOf(model.schedule(config.sampler.steps), config.sampler),
          groups: 1,
        });
        expect(of(/^trajectories$/)).toBe(store.latents.bytes);
        store.dispose();
        model.lora!.dispose();
        expect(of(/^(unet|transformer)$/)).toBe(model.pipeline.parameters.bytes);
        // Buffers are rounded up to 256 bytes.
        const { components } = await measurePipeline(folder(name), { storage: config.model.weights });
        const weights = [...components.values()].flatMap(({ all }) => all.map(({ tensor }) => tensor.bytes));
        const rounded = weights.map((size) => Math.max(256, Math.ceil(size / 256) * 256));
        expect(of(/^(?!adapter|trajectories)/)).toBe(weights.reduce((sum, size) => sum + size));
        expect(device.memory().liveBytes).toBe(rounded.reduce((sum, size) => sum + size));
      } finally {
        device.close();
      }
    });
  }

  test('of a run without adapter holds two moments and a gradient beside each weight', async () => {
    const config = await tiny('dance-grpo', 'sd1', 'sampler.resolution=16');
    const parts = await keptMemory(folder('sd1'), config);
    const [network, learning] = [
      parts.find(({ part }) => part === 'unet')!,
      parts.find(({ part }) => part === 'learning')!,
    ];
    expect(learning.bytes).toBe(3 * network.bytes);
    const named = await tiny('dance-grpo', 'sd1', 'model.weights=f16', 'train.weights=[conv_in.bias]');
    const { block_out_channels: channels } = await readJson(join(folder('sd1'), 'unet', 'config.json'));
    const few = (await keptMemory(folder('sd1'), named)).find(({ part }) => part === 'learning')!;
    expect(few.bytes).toBe(3 * 4 * (channels as number[])[0]!);
  });

  test('is left out, with a warning, where the model is not there', async () => {
    const { memory, warnings } = await plan(await loadConfig('sd35m'));
    expect(memory).toBeUndefined();
    expect(warnings).toEqual([expect.stringContaining('model_index.json')]);
  });

  test('comes with what loading the folder would warn of', async () => {
    const path = await folderWithScheduler(temporary, 'sd1', { _class_name: 'EulerDiscreteScheduler' });
    const { warnings } = await plan(await loadConfig('sd14', [`model.path=${path}`, 'sampler.resolution=16']));
    expect(warnings).toEqual([expect.stringContaining('the folder names EulerDiscreteScheduler: DDIM samples')]);
  });
});

test('the probe loads the model, counts its arithmetic, and says how long an update takes', async () => {
  const sets = ['lora.rank=2', 'train.ema=0', 'grpo.keep=[4,3,2]', 'train.micro_batch=2', 'sampler.guidance=2'];
  const config = await tiny('scenes-flow', 'sd3', ...sets);
  config.grpo.timestep_fraction = 0.6;
  const report = await plan(config, { probe: true });
  const { probe, update, secondsPerUpdate } = report;
  expect(update!.source).toBe('counted');
  expect(probe!.memory.training).toBeGreaterThan(report.memory!.find(({ part }) => part === 'trajectories')!.bytes);
  const { call, decode, trained } = probe!.seconds;
  expect(Math.min(call, decode, trained)).toBeGreaterThan(0);
  // 4 x 6 + 3 x 2 + 2 x 2 calls, 4 + 3 + 2 decodes, 2 x 5 of 9 trainable steps, in 4 groups
  expect(secondsPerUpdate).toBeCloseTo(4 * (34 * call + 9 * decode + 10 * trained), 9);
  // Guidance asks the network twice.
  const alone = await plan({ ...config, sampler: { ...config.sampler, guidance: 1 } }, { probe: true });
  expect(update!.costs.network / alone.update!.costs.network).toBeCloseTo(2, 1);
  const text = formatPlan(report);
  expect(text).toContain('funnel   4 -> 3 -> 2 at steps 5, 7 of 10 (ovf)');
  expect(text).toMatch(/cost {5}[\d.,]+ [GM]FLOP an update, [\d.,]+ [GM]FLOP for the full group: [\d.]+x less/);
  expect(text).toMatch(/time {5}[\d.]+ (s|min|h) an update/);
});

test('a plan as text begins with the resolved configuration', async () => {
  const config = await tiny('flow-grpo', 'sd3', 'sampler.resolution=16');
  const text = formatPlan(await plan(config));
  expect(text.startsWith('model:\n  path: ')).toBe(true);
  expect(text).toContain('funnel   24 of 10 steps, none pruned');
  expect(text).toContain('         network calls            240         240      11,520  23,040,000');
  expect(text).toMatch(/paper {4}453474\.18 TFLOP by the count of its table 4; .* ratio 1\.000x/);
  expect(text).toMatch(/memory {3}transformer +[\d.]+ kB/);
});

describe('on the command line', () => {
  afterEach(() => vi.restoreAllMocks());

  /** Runs a command; what it printed, and its status. */
  async function run(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
    const printed = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      vi.spyOn(process[name], 'write').mockImplementation((text) => {
        printed[name] += text;
        return true;
      });
    }
    return { status: await runProgram(args), ...printed };
  }

  test('init prints a preset, and refuses another name', async () => {
    const { status, stdout } = await run('init', 'sd35m');
    expect([status, stdout.slice(0, 9)]).toEqual([0, '# sd35m: ']);
    expect(await run('init', 'sd35')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no preset sd35 (did you mean "sd35m"?)'),
    });
  });

  test('plan prints one JSON object, or lines, and warns on stderr', async () => {
    const { status, stdout, stderr } = await run('plan', 'sd35m-flash', '--json', '--costs', '3.88,2.82039');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ group: { network: 200 }, update: { costs: { decode: 2.82039 } } });
    expect(stderr).toContain('! no memory by part: ');
  });

  test('plan refuses what is not a configuration with status 2', async () => {
    expect(await run('plan', '--set', 'grpo.clp=1')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringContaining('--set grpo.clp=1  grpo.clp  unknown key (did you mean "clip"?)'),
    });
    expect((await run('plan', '--costs', '3')).status).toBe(2);
    expect((await run('plan', 'nowhere.yaml')).status).toBe(2);
  });
});
