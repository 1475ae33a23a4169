import { describe, expect, test } from 'vitest';
import { scope } from '../../../engine/index.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { centredRows, PatchEmbedding, sinCosPositions } from '../../../models/blocks/patch_embedding.js';
import { expectClose, random, testDevice, tolerance, upload } from '../../check.js';
import { type Golden, readGolden } from '../golden.js';

const device = await testDevice();

describe('the table of positions', () => {
  test('equals the one stored with the reference transformer, of six patches for an image of four', () => {
    const golden = readGolden('tiny_sd3_transformer') as Golden & {
      readonly 'pos_embed.pos_embed': { readonly data: readonly number[] };
    };
    expectClose(sinCosPositions(6, 4, 16), golden['pos_embed.pos_embed'].data, 1e-8, 'table'); // the same numbers in f32
  });

  test('has the column in its first half and the row in its second', () => {
    const table = sinCosPositions(3, 3, 8);
    const code = (p: number): number[] => [Math.sin(p), Math.sin(p / 100), Math.cos(p), Math.cos(p / 100)];
    const row1column2 = table.slice((1 * 3 + 2) * 8, (1 * 3 + 3) * 8);
    expectClose(row1column2, [...code(2), ...code(1)], 1e-7, 'row 1, column 2');
  });
});

describe('the middle of the table', () => {
  test('of 384 patches for latents of 64 x 64 starts at row and column 176', () => {
    const rows = centredRows(384, 32, 32);
    expect(rows).toHaveLength(32 * 32);
    expect([rows[0], rows[31], rows[32]]).toEqual([176 * 384 + 176, 176 * 384 + 207, 177 * 384 + 176]);
  });

  test('of an odd difference lies nearer to the start', () => {
    expect([...centredRows(6, 4, 3)]).toEqual([7, 8, 9, 13, 14, 15, 19, 20, 21, 25, 26, 27]);
  });

  test('of a whole table is the table', () => {
    expect([...centredRows(2, 2, 2)]).toEqual([0, 1, 2, 3]);
  });
});

test('patches become tokens row by row, with their positions added', async () => {
  const [samples, channels, height, width, patch, features] = [2, 3, 4, 6, 2, 4];
  const parameters = new Parameters();
  const layer = new PatchEmbedding(parameters.at('pos_embed'), patch, channels, features);
  expect(parameters.all.map(({ name, shape }) => [name, shape])).toEqual([
    ['pos_embed.proj.weight', [features, channels, patch, patch]],
    ['pos_embed.proj.bias', [features]],
  ]);
  const weight = random([features, channels, patch, patch], 1);
  const bias = random([features], 2);
  const latents = random([samples, channels, height, width], 3);
  const positions = random([6, features], 4);
  parameters.allocate(device);
  parameters.all[0]!.tensor.write(weight.data);
  parameters.all[1]!.tensor.write(bias.data);
  const y = scope(device, () => layer.forward(upload(device, latents), upload(device, positions)));
  expect(y.shape).toEqual([6, samples, features]);

  const expected: number[] = [];
  for (let token = 0; token < 6; token++)
    for (let n = 0; n < samples; n++)
      for (let f = 0; f < features; f++) {
        let value = bias.data[f]! + positions.data[token * features + f]!;
        for (let c = 0; c < channels; c++)
          for (let p = 0; p < patch; p++)
            for (let q = 0; q < patch; q++) {
              const i = Math.floor(token / 3) * patch + p;
              const j = (token % 3) * patch + q;
              value +=
                weight.data[((f * channels + c) * patch + p) * patch + q]! *
                latents.data[((n * channels + c) * height + i) * width + j]!;
            }
        expected.push(value);
      }
  expectClose(await y.data(), expected, tolerance('f32', channels * patch * patch), 'tokens');
  y.dispose();
  parameters.dispose();
});
