import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { scope, type Tensor, tensor } from '../../../engine/index.js';
import { packageRoot } from '../../../engine/version.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { TimestepEmbedding, timestepEmbedding } from '../../../models/blocks/timestep.js';
import { expectClose, testDevice } from '../../check.js';
import { modelTolerance } from '../golden.js';

const device = await testDevice();

interface Golden {
  readonly timesteps: readonly number[];
  readonly [layout: string]: readonly number[];
}
const golden = JSON.parse(
  readFileSync(join(packageRoot(), 'test/fixtures/models/golden/timestep_embedding.json'), 'utf8'),
) as Golden;

const valuesOf = async (run: () => Tensor): Promise<ArrayLike<number>> => {
  const y = scope(device, run);
  const values = await y.data();
  y.dispose();
  return values;
};

describe('the sinusoidal timestep embedding', () => {
  test.each([
    ['dim16_flip_shift0', { flipSinToCos: true, shift: 0 }],
    ['dim16_flip_shift1', { flipSinToCos: true, shift: 1 }],
    ['dim16_noflip_shift0', { shift: 0 }],
  ] as const)('equals the reference: %s', async (name, options) => {
    const actual = await valuesOf(() => timestepEmbedding(tensor(device, golden.timesteps), 16, options));
    expectClose(actual, golden[name]!, modelTolerance, name);
  });

  test('of every timestep of 1000 at the width of SD1.4 equals double precision', async () => {
    const actual = await valuesOf(() =>
      timestepEmbedding(
        tensor(
          device,
          Array.from({ length: 1000 }, (_, t) => t),
          [1000],
          'u32',
        ),
        320,
        { shift: 0 },
      ),
    );
    const angle = (t: number, k: number): number =>
      Math.fround(t * Math.fround(Math.exp(Math.fround(Math.fround(Math.fround(-Math.log(10000)) * k) / 160))));
    const expected = Array.from({ length: 1000 }, (_, t) =>
      Array.from({ length: 320 }, (_, i) => (i < 160 ? Math.sin(angle(t, i)) : Math.cos(angle(t, i - 160)))),
    ).flat();
    expectClose(actual, expected, 1e-6, 'sinusoids');
  });

  test('of an odd width ends in a zero', async () => {
    const even = await valuesOf(() => timestepEmbedding(tensor(device, [3.5]), 4));
    expect(Array.from(await valuesOf(() => timestepEmbedding(tensor(device, [3.5]), 5)))).toEqual([
      ...Array.from(even),
      0,
    ]);
  });
});

test('the two layers after it have the names and the activation of diffusers', async () => {
  const parameters = new Parameters();
  const layers = new TimestepEmbedding(parameters.at('time_embedding'), 1, 2);
  expect(parameters.all.map(({ name, shape }) => [name, shape])).toEqual([
    ['time_embedding.linear_1.weight', [2, 1]],
    ['time_embedding.linear_1.bias', [2]],
    ['time_embedding.linear_2.weight', [2, 2]],
    ['time_embedding.linear_2.bias', [2]],
  ]);
  parameters.allocate(device);
  const values = [
    [1, -1],
    [0.5, 0],
    [1, 2, 3, 4],
    [0.25, -0.25],
  ];
  parameters.all.forEach(({ tensor: weight }, i) => {
    weight.write(values[i]!);
  });
  const silu = (x: number): number => x / (1 + Math.exp(-x));
  const [a, b] = [silu(2.5), silu(-2)];
  const actual = await valuesOf(() => layers.forward(tensor(device, [2], [1, 1])));
  expectClose(actual, [a + 2 * b + 0.25, 3 * a + 4 * b - 0.25], 1e-6, 'layers');
  parameters.dispose();
});
