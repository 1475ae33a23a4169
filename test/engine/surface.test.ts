/** What `winnow/engine` gives a program: all that it needs, each with its documentation. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as engine from '../../engine/index.js';
import { packageRoot } from '../../engine/version.js';

const read = (path: string): string => readFileSync(join(packageRoot(), 'engine', path), 'utf8');

const declaration = /(\*\/\n)?^export (?:async )?(?:const|let|function|class|interface|type) (\w+)/gm;

/** Names that a file exports, and whether a doc comment stands before each. */
const documented = (path: string): Map<string, boolean> =>
  new Map([...read(path).matchAll(declaration)].map(([, doc, name]) => [name!, doc !== undefined]));

/** The names of the surface, types included, by the file that declares them. */
const surface = [...read('index.ts').matchAll(/^export (?:\*|(?:type )?\{([^}]*)\}) from '(.+)\.js';$/gm)].map(
  ([, names, path]) => {
    const declared = documented(`${path}.ts`);
    const listed = names?.split(',').flatMap((name) => name.replace(/\btype\b/, '').trim() || []);
    return { path: path!, names: listed ?? [...declared.keys()], declared };
  },
);

test('every name has a doc comment where it is declared', () => {
  expect(surface.flatMap(({ names }) => names).length).toBeGreaterThan(150);
  const bare = surface.flatMap(({ path, names, declared }) =>
    names.filter((name) => !declared.get(name)).map((name) => `${path}: ${name}`),
  );
  expect(bare).toEqual([]);
});

test('a program finds what it needs', () => {
  const names = [
    ...['Device', 'NoAdapterError', 'CheckError', 'OutOfMemoryError', 'FileError', 'check'],
    ...['tensor', 'scalar', 'empty', 'emptyLike', 'zeros', 'ones', 'full', 'arange', 'normal', 'uniform'],
    ...['scope', 'capture', 'backward', 'noGrad', 'recompute', 'AdamW', 'EMA', 'zerosTogether', 'moveTogether'],
    ...['Linear', 'Conv2d', 'GroupNorm', 'LayerNorm', 'RMSNorm', 'Embedding', 'Attention', 'parameters', 'stateDict'],
    ...['matmul', 'linear', 'conv2d', 'attention', 'softmax', 'groupNorm', 'sum', 'concat', 'crossEntropy'],
    ...[
      'openSafetensors',
      'writeSafetensors',
      'loadKernel',
      'defineOp',
      'dispatch',
      'once',
      'linearGrid',
      'elementTypes',
    ],
  ];
  expect(names.filter((name) => !(name in engine))).toEqual([]);
});

test('what belongs to the inside stays there', () => {
  const names = ['Encoder', 'BufferPool', 'Storage', 'PipelineCache', 'sourceOf', 'packParams', 'owning', 'Step'];
  // Step is there as a type: capture() makes it.
  expect(names.filter((name) => name in engine)).toEqual([]);
});
