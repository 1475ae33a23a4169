/** Weights that are declared first and allocated afterwards. */
import { expect, test } from 'vitest';
import { Device, OutOfMemoryError } from '../../../engine/index.js';
import { linear } from '../../../models/blocks/layers.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { SD3Transformer2DModel } from '../../../models/networks/mmdit.js';
import { testDevice } from '../../check.js';
import { readConfig } from '../golden.js';

const device = await testDevice();
const liveBytes = (): number => device.memory().liveBytes;

/** What a buffer of so many bytes takes. */
const rounded = (bytes: number): number => Math.max(256, Math.ceil(bytes / 256) * 256);

test.each(['f32', 'f16'] as const)('a network declared in %s takes no memory, and then what it says', (storage) => {
  const before = liveBytes();
  const parameters = new Parameters({ storage });
  new SD3Transformer2DModel(parameters, readConfig('tiny_sd3_transformer'));
  expect(liveBytes()).toBe(before);
  expect(parameters.bytes).toBe(parameters.all.reduce((sum, { tensor }) => sum + tensor.bytes, 0));
  parameters.allocate(device);
  expect(liveBytes() - before).toBe(parameters.all.reduce((sum, { tensor }) => sum + rounded(tensor.bytes), 0));
  expect(parameters.device).toBe(device);
  parameters.dispose();
  expect(liveBytes()).toBe(before);
});

test('what has no memory yet says so', async () => {
  const parameters = new Parameters();
  const { weight } = linear(parameters, 'to_q', 4, 8);
  expect(() => parameters.device).toThrow('declared, but not allocated');
  expect(() => weight.write(new Float32Array(32))).toThrow('[8, 4] f32 is declared, but not allocated on a device yet');
  await expect(weight.data()).rejects.toThrow('declared, but not allocated');
  expect(weight.disposed).toBe(false);
  parameters.dispose();
  expect(weight.disposed).toBe(true);
  expect(() => weight.allocate(device)).toThrow('has had its memory already');
});

test('a name is declared once, and memory is given once', () => {
  const parameters = new Parameters();
  parameters.at('a').at(0).tensor('weight', [2]);
  expect(() => parameters.tensor('a.0.weight', [2])).toThrow('the network declares a.0.weight twice');
  parameters.allocate(device);
  expect(() => parameters.allocate(device)).toThrow('allocated already');
  parameters.dispose();
});

test('weights that do not fit leave nothing behind', async () => {
  const small = await Device.create({ memoryBudget: 1 << 20 });
  const parameters = new Parameters();
  for (const name of ['a', 'b', 'c']) linear(parameters, name, 400, 400);
  expect(() => parameters.allocate(small)).toThrow(OutOfMemoryError);
  expect(() => parameters.device).toThrow('not allocated');
  expect(small.memory().liveBytes).toBe(0);
  small.close();
});
