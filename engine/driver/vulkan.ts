/**
 * A software Vulkan driver for Linux machines that have none: Mesa's lavapipe by apt where this process may install
 * packages, else SwiftShader from npm in the user's cache folder. Only for a device that asks for it (`provideDriver`), and
 * `WINNOW_NO_INSTALL=1` forbids both.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { cacheFolder, forbidsInstalling } from '../environment.js';
import { messageOf } from '../errors.js';
import { readTar } from './tar.js';
import {
  type AptRecipe,
  aptRecipe,
  installHint,
  type OsRelease,
  parseOsRelease,
  suiteSource,
} from './vulkan_packages.js';

export interface Provided {
  readonly ok: boolean;
  /** What was provided, or why nothing was and what to install. */
  readonly message: string;
}

/** Settings that software drivers read when they start; to be called before Dawn's first `create()`. Leaves set ones alone. */
export function tuneSoftwareDrivers(): void {
  // lavapipe splits a dispatch in equal parts, one a thread: with two threads a core, a busy core delays it less.
  process.env.LP_NUM_THREADS ??= String(Math.min(2 * availableParallelism(), 32));
}

const loader = 'libvulkan.so.1';

/** Whether Dawn will look for a Vulkan loader in vain: beside itself, beside Node, and where the system looks for libraries. */
export function lacksVulkanLoader(): boolean {
  if (process.platform !== 'linux') return false;
  const dawn = join(dirname(createRequire(import.meta.url).resolve('webgpu')), 'dist', `linux-${process.arch}`);
  const beside = [dawn, dirname(process.execPath)].some((folder) => existsSync(join(folder, loader)));
  return !beside && isMissing(loader);
}

/** What to do by hand where there is no driver, and that a device can be asked to provide one. */
export function driverHint(): string {
  const hint = installHint(process.platform, readOsRelease());
  if (process.platform !== 'linux') return hint;
  return `${hint}\nOr let winnow provide a software driver: Device.create({ provideDriver: true }).`;
}

/**
 * Provides a driver that Dawn's next `create()` in this process finds. `log` gets a line before the work and one after.
 * The message of a failure says what was tried and what to install by hand. Rejects with an EnvironmentError alone.
 */
export async function provideVulkan(log: (line: string) => void): Promise<Provided> {
  const os = readOsRelease();
  const hint = installHint(process.platform, os);
  if (process.platform !== 'linux') return { ok: false, message: hint };
  const failures: string[] = [];
  const attempt = async (provide: () => string | Promise<string>): Promise<Provided | undefined> => {
    try {
      const message = await provide();
      log(`winnow: ${message}`);
      return { ok: true, message };
    } catch (error) {
      failures.push(messageOf(error));
      return undefined;
    }
  };

  const folder = swiftShaderFolder();
  if (existsSync(folder)) {
    const cached = await attempt(() => useSwiftShader(folder));
    if (cached) return cached;
  }
  if (forbidsInstalling()) {
    return { ok: false, message: [...failures, `WINNOW_NO_INSTALL=1 forbids providing one. ${hint}`].join('\n  ') };
  }
  const recipe = aptRecipe(os);
  const driverChosen = process.env.VK_DRIVER_FILES !== undefined || process.env.VK_ICD_FILENAMES !== undefined;
  if (recipe && !driverChosen && process.getuid?.() === 0) {
    log(`winnow: no Vulkan driver found; installing Mesa's software driver by apt (${recipe.packages.join(', ')})`);
    const installed = await attempt(() => installByApt(recipe));
    if (installed) return installed;
  }
  if (process.arch === 'x64') {
    log('winnow: no Vulkan driver found; fetching SwiftShader, a software driver, from npm (68 MB, once)');
    const fetched = await attempt(async () => {
      await fetchSwiftShader(folder);
      return useSwiftShader(folder);
    });
    if (fetched) return fetched;
  }
  return { ok: false, message: [...failures, hint].join('\n  ') };
}

function readOsRelease(): OsRelease {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    if (existsSync(path)) return parseOsRelease(readFileSync(path, 'utf8'));
  }
  return {};
}

const aptOptions = ['-qq', '-y', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3', '-o', 'Dpkg::Use-Pty=0'];

async function installByApt({ packages, suite }: AptRecipe): Promise<string> {
  const start = performance.now();
  if (suite) addSuite(suite);
  // A third party's broken source must not matter, so update may fail; install then says what it misses.
  const update = await apt(['update']);
  const from = suite ? ['-t', suite] : [];
  const keep = ['-o', 'Dpkg::Options::=--force-confdef', '-o', 'Dpkg::Options::=--force-confold'];
  const install = await apt(['install', '--no-install-recommends', ...keep, ...from, ...packages]);
  if (install.status !== 0) {
    const output = lastLines(`${update.output}\n${install.output}`);
    throw new Error(`apt-get install ${packages.join(' ')} failed (status ${install.status}): ${output}`);
  }
  return `installed ${packages.join(' and ')} by apt in ${((performance.now() - start) / 1000).toFixed(0)} s`;
}

/** Adds a suite to apt's sources, from the machine's own mirror. */
function addSuite(suite: string): void {
  const folder = '/etc/apt/sources.list.d';
  const paths = ['/etc/apt/sources.list', ...readdirSync(folder).map((name) => join(folder, name))];
  const files = paths.filter((path) => /\.(list|sources)$/.test(path) && existsSync(path));
  const source = suiteSource(suite, new Map(files.map((path) => [path, readFileSync(path, 'utf8')])));
  if (!source) return;
  const target = join(folder, `winnow-${suite}.${source.extension}`);
  writeFileSync(`${target}.${process.pid}.tmp`, source.text); // apt ignores this ending
  renameSync(`${target}.${process.pid}.tmp`, target);
}

/** Runs apt-get without questions. apt waits for dpkg's lock by itself; for the others of another apt-get this waits. */
async function apt(args: readonly string[]): Promise<{ status: number; output: string }> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C' };
  for (const start = performance.now(); ; ) {
    const result = await run('apt-get', [...aptOptions, ...args], { env });
    const locked = /Could not get lock|Unable to (acquire|lock)/.test(result.output);
    if (!locked || performance.now() - start > 300_000) return result;
    await setTimeout(2000);
  }
}

const swiftShader = {
  version: '147.0.0', // the last whose package allows Node 20
  integrity: '4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ==', // SHA-512 of the package
  files: ['libvk_swiftshader.so', loader, 'vk_swiftshader_icd.json'],
} as const;

/** The folder that holds SwiftShader once it has been fetched. */
export function swiftShaderFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheFolder(env), `swiftshader-${swiftShader.version}`);
}

/** Fetches SwiftShader with its Vulkan loader into `folder`, which appears complete or not at all. */
async function fetchSwiftShader(folder: string): Promise<void> {
  const parent = join(folder, '..');
  mkdirSync(parent, { recursive: true });
  const download = mkdtempSync(join(tmpdir(), 'winnow-'));
  const unpacked = mkdtempSync(join(parent, 'swiftshader-'));
  try {
    const name = `@sparticuz/chromium@${swiftShader.version}`;
    const { status, output } = await run('npm', ['pack', '--ignore-scripts', '--loglevel=error', name], {
      cwd: download,
    });
    const file = readdirSync(download).find((entry) => entry.endsWith('.tgz'));
    if (status !== 0 || !file) throw new Error(`npm pack ${name} failed (status ${status}): ${lastLines(output)}`);
    for (const [entry, data] of swiftShaderFiles(readFileSync(join(download, file))))
      writeFileSync(join(unpacked, entry), data);
    try {
      renameSync(unpacked, folder);
    } catch (error) {
      if (!existsSync(folder)) throw error; // another process was faster: its copy is the same
    }
  } finally {
    rmSync(download, { recursive: true, force: true });
    rmSync(unpacked, { recursive: true, force: true });
  }
}

/** The driver's files in the npm package, after a check of the package's hash, as what it holds will run as code. */
function swiftShaderFiles(archive: Uint8Array): Map<string, Uint8Array> {
  const hash = createHash('sha512').update(archive).digest('base64');
  if (hash !== swiftShader.integrity)
    throw new Error(`the package with SwiftShader has the SHA-512 ${hash}, expected ${swiftShader.integrity}`);
  const inner = [...readTar(gunzipSync(archive))].find(({ name }) => name === 'package/bin/swiftshader.tar.br');
  const entries = inner ? [...readTar(brotliDecompressSync(inner.data))] : [];
  return new Map(
    swiftShader.files.map((file) => {
      const entry = entries.find(({ name }) => name.replace(/^\.\//, '') === file);
      if (!entry) throw new Error(`the package with SwiftShader has no ${file}`);
      return [file, entry.data];
    }),
  );
}

/** Points the Vulkan loader at SwiftShader and puts that loader in this process, where Dawn finds it by its name. */
function useSwiftShader(folder: string): string {
  for (const file of swiftShader.files)
    if (!existsSync(join(folder, file))) throw new Error(`${join(folder, file)} is missing; delete the folder`);
  process.env.VK_DRIVER_FILES = join(folder, 'vk_swiftshader_icd.json');
  const noDelete = 0x1000; // RTLD_NODELETE: without it Node unloads what is not an addon of its own
  loadLibrary(join(folder, loader), noDelete);
  return `using SwiftShader (software) from ${folder}`;
}

/** Loads a library, by its path or by a name that the system finds. Throws where it can't be loaded. */
function loadLibrary(library: string, flags = 0): void {
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | flags);
  } catch (error) {
    // The library is not an addon, which Node says after loading it. Anything else is a library that can't be loaded.
    if (!String(error).includes('did not self-register')) throw error;
  }
}

/** Whether there is no library of a name where the system looks for them. One that is broken is not missing. */
export function isMissing(library: string): boolean {
  try {
    loadLibrary(library);
    return false;
  } catch (error) {
    return String(error).includes(`${library}: cannot open shared object file`);
  }
}

/** Runs a program to its end without input; its output is that of stdout and stderr together. A program that is missing has status -1. */
function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv },
): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => resolve({ status: -1, output: error.message }));
    child.on('close', (code) => resolve({ status: code ?? -1, output }));
  });
}

/** The end of a program's output on one line, without npm's prefix and its remark about the log file, for a message. */
export function lastLines(output: string, count = 5): string {
  const lines = output.split('\n').map((line) => line.replace(/^npm (error|ERR!)/, '').trim());
  const telling = lines.filter((line) => line.length > 1 && !line.startsWith('A complete log of this run'));
  return telling.slice(-count).join(' | ') || 'no output';
}
