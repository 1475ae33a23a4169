import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NoAdapterError } from '../../../engine/driver/adapter.js';
import { describeError } from '../../../grpo/cli/describe_error.js';
import { formatReport } from '../../../grpo/cli/print/doctor.js';
import { runProgram } from '../../../grpo/cli/program.js';
import type { DoctorReport } from '../../../grpo/finetune/doctor.js';
import { exitCodeOf } from '../../../grpo/finetune/exit_codes.js';

let stdout = '';
let stderr = '';
beforeEach(() => {
  stdout = '';
  stderr = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());

const host: DoctorReport = {
  winnow: '1.2.3',
  node: '20.19.0',
  platform: 'linux x64 6',
  cpu: 'c',
  cores: 2,
  memoryBytes: 8e9,
  warnings: [],
};

test('doctor --json prints one object, with a kernel that agrees with the CPU', async () => {
  expect(await runProgram(['doctor', '--json'])).toBe(0);
  const report: DoctorReport = JSON.parse(stdout);
  expect(report.node).toBe(process.versions.node);
  expect(report.device!.adapter.description).not.toBe('');
  expect(report.device!.limits.maxStorageBufferBindingSize).toBeGreaterThan(0);
  expect(report.device!.checks[0]!.kernel).toMatch(/^matmul/);
  for (const { kernel, maxError, tolerance, ok } of report.device!.checks) {
    expect(ok, kernel).toBe(true);
    expect(maxError).toBeLessThanOrEqual(tolerance);
  }
  expect(report.device!.peaks.fma).toBeGreaterThan(0);
  if (report.device!.adapter.software) expect(stderr).toContain('! this adapter is a CPU');

  const text = formatReport(report);
  expect(text).toContain(report.device!.adapter.description);
  expect(text).toMatch(/^check +matmul .* ok$/m);
  expect(text).toMatch(/^peak +[\d.e+]+ GFLOP\/s/m);
});

test('a report without a device has the lines of the machine', () => {
  expect(formatReport(host).split('\n')).toEqual([
    'winnow    1.2.3',
    'node      20.19.0',
    'platform  linux x64 6',
    'cpu       c, 2 cores, 8.00 GB of memory',
  ]);
});

test.runIf(process.platform === 'linux')('without an adapter: the report, the reason and status 3', async () => {
  const empty = mkdtempSync(join(tmpdir(), 'winnow-test-'));
  vi.stubEnv('VK_DRIVER_FILES', join(empty, 'none.json'));
  vi.stubEnv('XDG_CACHE_HOME', empty);
  vi.stubEnv('WINNOW_NO_INSTALL', '1');
  try {
    expect(await runProgram(['doctor', '--json'])).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      node: process.versions.node,
      error: expect.stringContaining('no WebGPU adapter'),
    });
    expect(stderr).toMatch(/^error\[3\]: no WebGPU adapter.*WINNOW_NO_INSTALL=1/m);
  } finally {
    vi.unstubAllEnvs();
    rmSync(empty, { recursive: true });
  }
});

test('wrong arguments give status 2 and say what is wrong; help and version give 0', async () => {
  expect(await runProgram(['doctro'])).toBe(2);
  expect(stderr).toMatch(/unknown command 'doctro'[\s\S]*Did you mean doctor/);
  expect(await runProgram(['doctor', '--fast'])).toBe(2);
  expect(await runProgram([])).toBe(2);
  expect(stdout).toBe('');
  expect(await runProgram(['--help'])).toBe(0);
  expect(stdout).toContain('doctor');
  expect(await runProgram(['--version'])).toBe(0);
});

test('the status tells a missing adapter, a lost device and a bug apart', () => {
  expect(exitCodeOf(new NoAdapterError('no WebGPU adapter'))).toBe(3);
  expect(exitCodeOf(new Error('device lost: reset'))).toBe(5);
  expect(exitCodeOf(new TypeError('x is undefined'))).toBe(1);
  expect(describeError(new NoAdapterError('no WebGPU adapter.'))).toBe('error[3]: no WebGPU adapter.');
  expect(describeError(new TypeError('x is undefined'))).toMatch(
    /^error\[1\]: TypeError: x is undefined\n {4}at [\s\S]*please report/i,
  );
});
