/** What is left out of stderr at the start of Dawn, in processes of their own: this one's stderr is a socket. */
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { temporaryFolder } from '../../temporary.js';

const folder = temporaryFolder();

const limit = (name: string): string =>
  `Warning: maxDynamic${name}BuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n`;
const harmless = [
  limit('Uniform'),
  limit('Storage'),
  'Warning: vkCreateInstance: Found no drivers!\n',
  'Warning: vkCreateInstance failed with VK_ERROR_INCOMPATIBLE_DRIVER\n    at CheckVkSuccessImpl (VulkanError.cpp:106)\n\n',
].join('');

/**
 * Runs a module by a shell command, which says where stderr goes, and returns what came on stdout. The module has `quietly()`,
 * and `print()` that writes as native code does.
 */
function run(body: string, shell: string): string {
  const module = `
    import { runnerImport } from 'vite';
    import { writeSync } from 'node:fs';
    const { module: { withoutLines, harmlessLines } } = await runnerImport('./engine/driver/quiet_start.ts', { configFile: false });
    const print = (text) => writeSync(2, text);
    const harmless = ${JSON.stringify(harmless)};
    const quietly = (body) => withoutLines(harmlessLines, body);
    ${body}`;
  const env = { ...process.env, MODULE: module, LOG: join(folder, 'log') };
  const node = `${JSON.stringify(process.execPath)} --input-type=module -e "$MODULE"`;
  return spawnSync('sh', ['-c', shell.replace('NODE', node)], { cwd: packageRoot(), env }).stdout.toString();
}

const usual = `
  process.stderr.write('before\\n');
  const result = await quietly(() => {
    print('one\\n' + harmless + 'two\\n' + 'Warning: maxDynamicX is low\\n');
    print(harmless + 'no line break');
    return Promise.resolve(3);
  });
  print('after ' + result + '\\n');
  process.stderr.write('end\\n');`;
const passed = 'before\none\ntwo\nWarning: maxDynamicX is low\nno line breakafter 3\nend\n';

describe.runIf(process.platform === 'linux')("Dawn's harmless lines", () => {
  test('are left out of a pipe, and all else comes in order', () => {
    expect(run(usual, '{ NODE 2>&1; } | cat')).toBe(passed);
  });

  test('are left out of a file that is appended to', async () => {
    await writeFile(join(folder, 'log'), 'old\n');
    run(usual, '{ NODE; echo shell >&2; } 2>>"$LOG"');
    expect(await readFile(join(folder, 'log'), 'utf8')).toBe(`old\n${passed}shell\n`);
  });

  const noTerminal = spawnSync('script', ['--version']).status !== 0;
  test.skipIf(noTerminal)("are left out of a terminal (needs util-linux's script)", () => {
    const stdout = run(`${usual} print(String(process.stderr.isTTY));`, `script -qec 'NODE' /dev/null`);
    expect(stdout.replaceAll('\r', '')).toBe(`${passed}true`);
  });

  test('stay in a file that is written from its start, whose place would be lost', async () => {
    run(usual, '{ NODE; echo shell >&2; } 2>"$LOG"');
    const log = await readFile(join(folder, 'log'), 'utf8');
    expect(log.replaceAll(harmless, '')).toBe(`${passed}shell\n`);
    expect(log).toContain(harmless);
  });

  test('do not take along what was printed before a crash', () => {
    const crash = "await quietly(() => { print('one\\n' + harmless + 'two'); process.kill(process.pid, 'SIGSEGV'); });";
    const stdout = run(crash, '{ NODE 2>&1; echo status $?; } | cat');
    expect(stdout).toMatch(/(^|\n)one\ntwo/);
    expect(stdout).toContain('status 139');
    const thrown = run("await quietly(() => { print('one\\n'); throw new Error('no'); });", '{ NODE 2>&1; } | cat');
    expect(thrown).toMatch(/^one\n[\s\S]*Error: no/);
  });

  test('a promise that is rejected is, after all is passed on', () => {
    const rejected =
      "await quietly(() => { print('one\\n'); return Promise.reject(new Error('no')); }).catch(({ message }) => print(message));";
    expect(run(rejected, '{ NODE 2>&1; } | cat')).toBe('one\nno');
  });

  test('cost nothing where nobody reads, and where there is no sed', async () => {
    const gone =
      "await new Promise((resolve) => setTimeout(resolve, 300)); await quietly(async () => {}); process.stdout.write('done');";
    expect(run(gone, '{ NODE 2>&1 >&3 | true; } 3>&1')).toBe('done');
    const none = "process.env.PATH = ''; const { stderr } = process; await quietly(async () => print(harmless));";
    expect(run(none, '{ NODE 2>&1; } | cat')).toBe(harmless);
  });

  test('are not there when a device is opened so', () => {
    const open = `
      const { module: { Device } } = await runnerImport('./engine/device/device.ts', { configFile: false });
      const device = await Device.create({ provideDriver: true, quiet: true });
      device.close();
      process.stdout.write('opened');`;
    const stdout = run(open, '{ NODE 2>&1; } | cat');
    expect(stdout).toContain('opened');
    expect(stdout).not.toContain('artificially reduced');
  });
});
