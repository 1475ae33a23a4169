import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { expect, test } from 'vitest';

interface Import {
  readonly from: string;
  readonly to: string;
  /** Only types: gone when the program runs. */
  readonly types: boolean;
}

const folders = ['kernels', 'engine', 'models', 'grpo'].filter((folder) => existsSync(folder));
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
  'grpo/cli/': ['grpo/', 'models/', 'engine/'],
};

function allowed({ from, to, types }: Import): boolean {
  const folder = Object.keys(mayImport).findLast((prefix) => from.startsWith(prefix))!;
  const inside = Object.keys(mayImport).findLast((prefix) => to.startsWith(prefix));
  if (inside !== folder && !mayImport[folder]!.includes(inside ?? to)) return false;
  if (/^engine\/(device|memory|capture)\.ts$/.test(from) && to.startsWith('engine/ops/')) return false;
  return types || !/^engine\/(tape|op)\.ts$/.test(from) || !to.startsWith('kernels/');
}

const files = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
);
const sources = files.filter((file) => file.endsWith('.ts'));

test('imports point one way: kernels <- engine <- models, engine <- grpo', () => {
  const imports = sources.flatMap((file) => importsOf(file, readFileSync(file, 'utf8')));
  expect(imports.length).toBeGreaterThan(sources.length);
  const wrong = imports.filter((edge) => !allowed(edge)).map(({ from, to }) => `${from} -> ${to}`);
  expect(wrong).toEqual([]);
});

test('an import against the direction is found', () => {
  const wrong = [
    ['kernels/conv2d.ts', "import { check } from '../engine/errors.js';"],
    ['engine/tensor.ts', "export * from '../models/unet.js';"],
    ['grpo/train.ts', "import {\n  a,\n  b,\n} from '../models/unet.js';"],
    ['models/unet.ts', "import type { Config } from '../grpo/config.js';"],
    ['grpo/train.ts', "import { print } from './cli/main.js';"],
    ['engine/device.ts', "const ops = await import('./ops/matmul.js');"],
    ['engine/tape.ts', "import { loadKernel } from '../kernels/kernel.js';"],
    ['engine/tensor.ts', "import '../bench/main.js';"],
    ['models/unet.ts', "import { loadKernel } from '../kernels/kernel.js';"],
  ] as const;
  for (const [from, text] of wrong) expect(importsOf(from, text).map(allowed), text).toEqual([false]);
  const right = importsOf('engine/tape.ts', "import type { Plan } from '../kernels/kernel.js';");
  expect(right.map(allowed)).toEqual([true]);
});
