/** The house: which folder may import which, no circles, and no room that is too full. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

interface Import {
  readonly from: string;
  readonly to: string;
  /** Only types: gone when the program runs. */
  readonly types: boolean;
}

const importText = /^(?:import|export)\s+(type\s)?[^'";]*?(?:from\s+)?'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'\s*\)/gm;

/** The relative imports and re-exports of a file's text, as paths from the root. */
function importsOf(from: string, text: string): Import[] {
  return [...text.matchAll(importText)].map(([, types, still, dynamic]) => ({
    from,
    to: normalize(join(from, '..', still ?? dynamic!)).replace(/\.js$/, '.ts'),
    types: types !== undefined,
  }));
}

/** What a folder may import besides itself; the longest prefix of a path counts. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'kernels/': [],
  'engine/': ['kernels/'],
  'models/': ['engine/'],
  'grpo/': ['engine/'],
  'grpo/finetune/': ['grpo/', 'models/', 'engine/'],
  'grpo/workers/': ['grpo/finetune/', 'grpo/', 'models/', 'engine/'],
  'grpo/serve/': ['grpo/finetune/', 'engine/'],
  'grpo/dashboard/': ['grpo/serve/', 'grpo/finetune/', 'grpo/', 'models/', 'engine/'],
  'grpo/rate/': ['grpo/serve/', 'grpo/dashboard/', 'grpo/finetune/', 'grpo/', 'models/', 'engine/'],
  'grpo/study/': ['grpo/dashboard/', 'grpo/finetune/', 'grpo/', 'models/', 'engine/'],
  'grpo/cli/': [
    'grpo/workers/',
    'grpo/study/',
    'grpo/rate/',
    'grpo/dashboard/',
    'grpo/finetune/',
    'grpo/',
    'models/',
    'engine/',
  ],
};

const roomOf = (path: string): string | undefined =>
  Object.keys(mayImport).findLast((prefix) => path.startsWith(prefix));

function allowed({ from, to, types }: Import): boolean {
  const [room, other] = [roomOf(from)!, roomOf(to)];
  if (other !== room && !(other && mayImport[room]!.includes(other))) return false;
  if (from.startsWith('engine/device/') && to.startsWith('engine/ops/')) return false;
  return types || !/^engine\/tensor\/(tape|op)\.ts$/.test(from) || !to.startsWith('kernels/');
}

const sourcesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map((file) => join(folder, file));

const sources = ['kernels', 'engine', 'models', 'grpo'].flatMap(sourcesOf);
const imports = sources.flatMap((file) => importsOf(file, readFileSync(file, 'utf8')));

/** What a file's text imports by name: Node's modules and packages. */
const packagesIn = (text: string): string[] =>
  [...text.matchAll(/(?:\bfrom|\bimport|\brequire\()\s*\(?\s*'([^'.][^']*)'/g)].map(([, name]) => name!);

/** A circle of files that import each other, types included; undefined where there is none. */
function circleIn(edges: readonly Pick<Import, 'from' | 'to'>[]): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file];
    if (done.has(file)) return undefined;
    for (const { to } of edges.filter(({ from }) => from === file)) {
      const circle = visit(to, [...path, file]);
      if (circle) return circle;
    }
    done.add(file);
    return undefined;
  };
  for (const { from } of edges) {
    const circle = visit(from, []);
    if (circle) return circle;
  }
  return undefined;
}

test('imports point one way: kernels <- engine <- models and the method <- finetune <- serve <- dashboard <- {rate, study} <- cli', () => {
  expect(imports.length).toBeGreaterThan(sources.length);
  const wrong = imports.filter((edge) => !allowed(edge)).map(({ from, to }) => `${from} -> ${to}`);
  expect(wrong).toEqual([]);
});

test('an import against the direction is found', () => {
  const wrong = [
    ['kernels/conv2d.ts', "import { check } from '../engine/errors.js';"],
    ['engine/tensor/tensor.ts', "export * from '../../models/networks/unet.js';"],
    ['grpo/trainer.ts', "import {\n  a,\n  b,\n} from '../models/networks/unet.js';"],
    ['models/networks/unet.ts', "import type { Config } from '../../grpo/config.js';"],
    ['grpo/trainer.ts', "import { print } from './cli/main.js';"],
    ['grpo/trainer.ts', "import type { train } from './finetune/index.js';"],
    ['grpo/finetune/index.ts', "import { print } from '../cli/reporter.js';"],
    ['grpo/finetune/train.ts', "import { startDashboard } from '../dashboard/index.js';"],
    ['grpo/dashboard/index.ts', "import { print } from '../cli/reporter.js';"],
    ['grpo/dashboard/index.ts', "import { startRating } from '../rate/index.js';"],
    ['grpo/dashboard/index.ts', "import { runStudy } from '../study/index.js';"],
    ['grpo/serve/site.ts', "import { startDashboard } from '../dashboard/index.js';"],
    ['grpo/study/index.ts', "import { print } from '../cli/reporter.js';"],
    ['engine/device/device.ts', "const ops = await import('../ops/reduce.js');"],
    ['engine/tensor/tape.ts', "import { linearGrid } from '../../kernels/kernel.js';"],
    ['engine/tensor/tensor.ts', "import '../../bench/main.js';"],
    ['models/networks/unet.ts', "import { linearGrid } from '../../kernels/kernel.js';"],
  ] as const;
  for (const [from, text] of wrong) expect(importsOf(from, text).map(allowed), text).toEqual([false]);
  const right = importsOf('engine/tensor/tape.ts', "import type { Plan } from '../../kernels/kernel.js';");
  expect(right.map(allowed)).toEqual([true]);
});

test('kernels/ is pure: it imports neither modules of Node nor packages', () => {
  const kernels = sources.filter((file) => file.startsWith('kernels/'));
  expect(kernels.length).toBeGreaterThan(15);
  const impure = kernels.flatMap((file) => packagesIn(readFileSync(file, 'utf8')).map((name) => `${file} -> ${name}`));
  expect(impure).toEqual([]);
  const texts = [
    "import { readFileSync } from 'node:fs';",
    "import {\n  join,\n} from 'node:path';",
    "import 'node:process';",
    "export * from 'node:url';",
    "const fs = await import('node:fs');",
    "import { create } from 'webgpu';",
  ];
  for (const text of texts) expect(packagesIn(text), text).toHaveLength(1);
  expect(packagesIn("import { linearGrid } from './kernel.js';")).toEqual([]);
});

test('no files import each other in a circle, not even for types', () => {
  expect(circleIn(imports)).toBeUndefined();
  const made = [
    { from: 'a', to: 'b' },
    { from: 'b', to: 'c' },
    { from: 'c', to: 'b' },
  ];
  expect(circleIn(made)).toEqual(['b', 'c', 'b']);
});

test('a folder holds few enough files to be read at a glance', () => {
  const counts = new Map<string, number>();
  for (const file of [...sources, ...sourcesOf('bench'), ...sourcesOf('test')])
    counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  counts.delete('kernels'); // a kernel's plan stands beside its shader
  expect([...counts].filter(([, count]) => count > 15)).toEqual([]);
});
