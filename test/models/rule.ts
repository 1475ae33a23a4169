/** The rule by which the reference models' weights and inputs are made, and their configs: no file of weights is needed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../engine/version.js';

/** A JSON file of test/fixtures/models. */
export const readModelFixture = (...path: string[]): unknown =>
  JSON.parse(readFileSync(join(packageRoot(), 'test', 'fixtures', 'models', ...path), 'utf8'));

/** Its config.json, without our own notes. */
export function readConfig(name: string): Record<string, unknown> {
  const config = readModelFixture('configs', `${name}.json`) as Record<string, unknown>;
  return Object.fromEntries(Object.entries(config).filter(([key]) => !key.startsWith('_')));
}

/** The name and shape of every tensor of its state dict. */
export const readShapes = (name: string): Record<string, number[]> =>
  readModelFixture('shapes', `${name}.json`) as Record<string, number[]>;

/** `count` numbers in [-0.5, 0.5) that a name stands for: a linear congruential generator seeded with its FNV-1a hash. */
export function stream(name: string, count: number): Float64Array {
  let state = 2166136261;
  for (const byte of new TextEncoder().encode(name)) state = Math.imul(state ^ byte, 16777619) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 16777216 - 0.5;
  });
}

const plainNames = [
  'token_embedding.weight',
  'position_embedding.weight',
  'embedding_table.weight',
  'shared.weight',
  'embed_tokens.weight',
  'relative_attention_bias.weight',
  'class_embedding',
  'word_embeddings.weight',
  'position_embeddings.weight',
  'cls_token',
  'pos_embed',
];

/** The value of a weight by the rule of the reference files. */
export function weightByRule(name: string, shape: readonly number[]): Float64Array {
  const u = stream(
    name,
    shape.reduce((product, n) => product * n, 1),
  );
  if (name === 'logit_scale') return u.map(() => 2.6592);
  if (plainNames.some((end) => name.endsWith(end))) return u;
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  if (shape.length >= 2) return u.map((value) => 2 * value * Math.sqrt(3 / fanIn));
  return name.endsWith('weight') ? u.map((value) => 1 + 0.2 * value) : u.map((value) => 0.2 * value);
}
