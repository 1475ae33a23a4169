/**
 * The programs of README, from a package as a user installs it: packed, unpacked into an empty project, checked by TypeScript
 * under both resolutions that projects use, and run.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { openSafetensors } from '../engine/safetensors.js';
import { packageRoot } from '../engine/version.js';
import { decodePng } from '../models/pictures/png.js';
import { temporaryFolder } from './temporary.js';

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const project = temporaryFolder();
const examples = join(packageRoot(), 'test', 'examples');
const at = (...path: string[]): string => join(project, ...path);
const packageJson = JSON.parse(await readFile(join(packageRoot(), 'package.json'), 'utf8'));

/** Runs a program of the project to its end. */
const node = (...args: string[]) => run(process.execPath, args, { cwd: project });
const tsc = (resolution: 'bundler' | 'nodenext') =>
  node(join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc'), '-p', `tsconfig.${resolution}.json`);

beforeAll(async () => {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', project], { cwd: packageRoot() });
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[')));
  await mkdir(at('node_modules', 'winnow'), { recursive: true });
  await run('tar', ['-xzf', at(filename), '-C', at('node_modules', 'winnow'), '--strip-components', '1']);
  // What `npm install` would fetch: the package's dependencies, and Node's types for TypeScript.
  for (const name of [...Object.keys(packageJson.dependencies), '@types/node']) {
    await mkdir(dirname(at('node_modules', name)), { recursive: true });
    await symlink(join(packageRoot(), 'node_modules', name), at('node_modules', name));
  }
  await writeFile(at('package.json'), '{ "type": "module" }');
  await cp(examples, project, { recursive: true });
  const sd3 = join(packageRoot(), 'test', 'fixtures', 'pipelines', 'sd3');
  await symlink(sd3, at('my-model'));
  const compilerOptions = { target: 'ES2023', lib: ['ES2023', 'DOM'], strict: true, types: ['node'], outDir: 'out' };
  for (const resolution of ['bundler', 'nodenext'] as const) {
    const module = resolution === 'bundler' ? 'ESNext' : 'NodeNext';
    const options = { ...compilerOptions, module, moduleResolution: resolution };
    await writeFile(at(`tsconfig.${resolution}.json`), JSON.stringify({ compilerOptions: options, include: ['*.ts'] }));
  }
  await tsc('nodenext');
  await cp(at('softsign.wgsl'), at('out', 'softsign.wgsl'));
});

test('types resolve under bundler as under nodenext', async () => {
  await tsc('bundler');
});

test('the package has what its exports name, presets, kernels and models, and no tests', async () => {
  const files = await readdir(at('node_modules', 'winnow'), { recursive: true });
  for (const { types, default: js } of Object.values<{ types?: string; default?: string }>(packageJson.exports))
    for (const path of [types, js]) if (path) expect(files).toContain(path.slice('./'.length));
  expect(files).toContain('kernels/matmul_tiled.wgsl');
  expect(files).toContain('grpo/finetune/presets/scenes-flow.yaml');
  for (const page of ['dashboard/page/index.html', 'rate/page/index.html', 'serve/page/style.css'])
    expect(files).toContain(`grpo/${page}`);
  expect(files).toContain('models/embedded/scenes-flow/model_index.json');
  expect(files.filter((file) => /(^|\/)(test|bench)\//.test(file) || /(?<!\.d)\.ts$/.test(file))).toEqual([]);
});

describe('the programs', () => {
  test('training by a function, with the adapter saved', async () => {
    const program = await readFile(at('out', 'train.js'), 'utf8');
    const shorter = program.replace('updates: 20', 'updates: 2, config: { eval: { n: 32 } }');
    expect(shorter).not.toBe(program);
    await writeFile(at('out', 'train.js'), shorter);
    const { stdout } = await node(at('out', 'train.js'));
    expect(stdout).toMatch(/^1 -?\d+\.\d+\n2 -?\d+\.\d+\n$/);
    const file = await openSafetensors(at('red-lora', 'pytorch_lora_weights.safetensors'));
    expect(file.entries.size).toBeGreaterThan(0);
    await file.close();
  });

  test('a picture', async () => {
    await node(at('out', 'sample.js'));
    const { picture, text } = decodePng(await readFile(at('circle.png')));
    expect([picture.width, picture.height]).toEqual([32, 32]);
    expect(text).toMatchObject({ prompt: 'a red circle', seed: '1', steps: '20' });
  });

  test('a kernel of its own, with its gradient', async () => {
    const { stdout } = await node(at('out', 'softsign.js'));
    const [values, gradient] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as number[]);
    const x = [-3, -1, 0, 0.5, 2];
    for (const [i, each] of x.entries()) {
      expect(values![i]).toBeCloseTo(each / (1 + Math.abs(each)), 6);
      expect(gradient![i]).toBeCloseTo(1 / (1 + Math.abs(each)) ** 2, 6);
    }
  });

  test('the network of a model folder', async () => {
    const { stdout } = await node(at('out', 'network.js'));
    expect(stdout).toMatch(/^\[1, 4, 8, 8\] f32 -?\d+\.\d+\n$/);
  });
});

test('README shows these programs as they are', async () => {
  const readme = await readFile(join(packageRoot(), 'README.md'), 'utf8');
  for (const name of ['train.ts', 'sample.ts', 'softsign.ts', 'network.ts', 'softsign.wgsl'])
    expect(readme, name).toContain((await readFile(join(examples, name), 'utf8')).trim());
});
