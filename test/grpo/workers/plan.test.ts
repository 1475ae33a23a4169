/** `winnow plan --workers`: shards among workers, bytes by the adapter's size, warnings; time where parts were probed. */
import { describe, expect, test } from 'vitest';
import { Device } from '../../../engine/index.js';
import { formatPlan } from '../../../grpo/cli/print/plan.js';
import { loadConfig } from '../../../grpo/finetune/config/file.js';
import { type PlanReport, plan } from '../../../grpo/finetune/plan/plan.js';
import { loadPolicy } from '../../../grpo/finetune/policy.js';
import { planWorkers, trainerBytesPerSecond } from '../../../grpo/workers/plan.js';
import { winnow } from '../cli/output.js';

const planned = async (...set: string[]): Promise<PlanReport> => plan(await loadConfig('scenes-flow', set));
const ten = { gigabits: 10 };

describe('shards among workers', () => {
  test('are as many as the run has, in rounds', async () => {
    const report = await planned('grpo.groups_per_update=7', 'workers.shards=5');
    expect(planWorkers(report, { workers: 2, ...ten })).toMatchObject({ shards: 5, rounds: 3, idle: 0, warnings: [] });
  });

  test('leave the rest of the workers idle, with the key that says so', async () => {
    const five = await planned('grpo.groups_per_update=8', 'workers.shards=5');
    expect(planWorkers(five, { workers: 8, ...ten })).toMatchObject({
      idle: 3,
      warnings: ['3 of 8 workers have nothing to do: workers.shards is 5'],
    });
    const four = await planned('workers.shards=16');
    expect(planWorkers(four, { workers: 8, ...ten }).warnings).toEqual([
      '4 of 8 workers have nothing to do: grpo.groups_per_update is 4',
    ]);
  });
});

describe('bytes', () => {
  test('are the weights once in and for each worker out, and each sum both ways', async () => {
    const report = await planned('workers.shards=4');
    const weights = 4 * report.learned!;
    const sum = weights + 4 * 8; // seven averages and a deviation
    const { bytes, moveSeconds } = planWorkers(report, { workers: 3, gigabits: 2 });
    expect(bytes).toEqual({ weights, sum, in: weights + 4 * sum, out: 3 * weights + 4 * sum });
    expect(moveSeconds).toBeCloseTo((8 * (4 * weights + 8 * sum)) / 2e9, 12);
  });

  test('are those of the adapter that loading makes', async () => {
    const config = await loadConfig('scenes-flow', ['lora.rank=3']);
    const { bytes } = planWorkers(await plan(config), { workers: 1, ...ten });
    const device = await Device.create({ provideDriver: true });
    try {
      const { trainable } = await loadPolicy(device, config);
      expect(bytes!.weights).toBe([...trainable.values()].reduce((sum, { size }) => sum + 4 * size, 0));
    } finally {
      device.close();
    }
  });

  test('come again with each optimizer step of a rollout', async () => {
    const [one, two] = [await planned(), await planned('grpo.updates_per_rollout=2')];
    const of = (report: PlanReport): number => planWorkers(report, { workers: 2, ...ten }).bytes!.in;
    expect(of(two)).toBe(2 * of(one));
  });

  test('are left out where the model folder is not there', async () => {
    const report = await plan(await loadConfig('sd35m'));
    const { bytes, moveSeconds, shards } = planWorkers(report, { workers: 2, ...ten });
    expect([bytes, moveSeconds, shards]).toEqual([undefined, undefined, 8]);
  });
});

test('an update that was probed is shared out, and the trainer adds', async () => {
  const report = { ...(await planned('workers.shards=4')), secondsPerUpdate: 0.8 };
  const { update, bytes } = planWorkers(report, { workers: 2, ...ten });
  expect(update!.seconds.work).toBeCloseTo(0.4, 12);
  // The sums of the last two shards, the second of which comes while the first is added.
  const late = (2 * bytes!.sum) / trainerBytesPerSecond - (8 * bytes!.sum) / 10e9;
  expect(update!.seconds.add).toBeCloseTo(late, 12);
  expect(update!.speedup).toBeGreaterThan(1.9);
  expect(update!.limit).toBe('work');
  const text = formatPlan({ ...report, workers: planWorkers(report, { workers: 2, ...ten }) });
  expect(text).toContain("workers  4 shards among 2 workers: 2 rounds, 100 % of the workers' time is used");
  expect(text).toMatch(/an update, 1\.9\d times the pace of one worker/);
});

describe('on the command line', () => {
  test('the object has the workers, and the warning is on stderr', async () => {
    const { status, stdout, stderr } = await winnow('plan', 'scenes-flow', '--workers', '3', '--json');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ workers: { workers: 3, shards: 2, rounds: 1, idle: 1, gigabits: 10 } });
    expect(stderr).toContain('! 1 of 3 workers have nothing to do: workers.shards is 2');
  });

  test('counts and speeds that are none are refused with status 2', async () => {
    for (const args of [
      ['--workers', '0'],
      ['--workers', 'redis://host:6379'],
      ['--workers', '2', '--network', '0'],
      ['--network', '10'],
    ])
      expect((await winnow('plan', 'scenes-flow', ...args)).status).toBe(2);
  });
});
