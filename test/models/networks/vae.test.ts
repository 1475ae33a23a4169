import { describe, expect, test } from 'vitest';
import { backward, scope, square, sum, type Tensor, tensor } from '../../../engine/index.js';
import { ImageAttention } from '../../../models/blocks/image_attention.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { AutoencoderKL, sampleLatents, splitMoments } from '../../../models/networks/vae.js';
import { checkBatchInvariance, checkForward, expectClose, random, testDevice } from '../../check.js';
import {
  checkGoldenGradients,
  checkGoldenOutputs,
  fillByRule,
  goldenInput,
  readConfig,
  readGolden,
  readShapes,
} from '../golden.js';
import { checkRecompute } from '../recompute.js';

const device = await testDevice();

/** The tiny autoencoder of a golden file, with its inputs. */
function setUp(name: string, storage: 'f32' | 'f16' = 'f32') {
  const golden = readGolden(name);
  const parameters = new Parameters({ storage });
  const model = new AutoencoderKL(parameters, readConfig(name));
  parameters.allocate(device);
  fillByRule(parameters.all);
  const inputs = { image: goldenInput(device, golden, 'image'), z: goldenInput(device, golden, 'z') };
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  const run = (recompute = false) => ({
    moments: model.encode(inputs.image, { recompute }),
    decoded: model.decode(inputs.z, { recompute }),
  });
  return { golden, parameters, model, inputs, run, dispose };
}

/** The values of some tensors, which are freed. */
async function valuesOf(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const values: Float32Array[] = [];
  for (const y of tensors) values.push(Float32Array.from(await y.data()));
  for (const y of tensors) y.dispose();
  return values;
}

describe.each(['tiny_vae4', 'tiny_vae16'])('%s', (name) => {
  test('declares the names and shapes of the file', () => {
    const { parameters, dispose } = setUp(name);
    const declared = Object.fromEntries(parameters.all.map(({ name, shape }) => [name, shape]));
    expect(declared).toEqual(readShapes(name));
    dispose();
  });

  test('outputs equal the reference', async () => {
    const { golden, parameters, inputs, run, dispose } = setUp(name);
    await checkGoldenOutputs(device, golden, { parameters: parameters.all, inputs, run });
    dispose();
  });

  test('gradients equal the reference', async () => {
    const { golden, parameters, inputs, run, dispose } = setUp(name);
    await checkGoldenGradients(device, golden, { parameters: parameters.all, inputs, run });
    dispose();
  });

  test('weights of f16 give outputs within 2e-3 of the reference', async () => {
    const { golden, parameters, inputs, run, dispose } = setUp(name, 'f16');
    await checkGoldenOutputs(device, golden, { parameters: parameters.all, inputs, run, tolerance: 2e-3 });
    dispose();
  });
});

test('recomputing blocks gives the same bits', async () => {
  const { parameters, model, inputs, dispose } = setUp('tiny_vae4');
  const weightsOf = (...parts: string[]): Tensor[] =>
    parameters.all.filter(({ name }) => parts.includes(name.split('.')[0]!)).map(({ tensor: weight }) => weight);
  const { image, z } = inputs;
  const encode = (recompute: boolean): Tensor => model.encode(image, { recompute });
  const decode = (recompute: boolean): Tensor => model.decode(z, { recompute });
  await checkRecompute(device, encode, [image, ...weightsOf('encoder', 'quant_conv')]);
  await checkRecompute(device, decode, [z, ...weightsOf('decoder', 'post_quant_conv')]);
  dispose();
});

test('a sample does not depend on its batch', async () => {
  const { model, dispose } = setUp('tiny_vae16');
  await checkBatchInvariance(device, (image) => model.encode(image!), [random([2, 3, 8, 12], 1)], { batched: [0] });
  await checkBatchInvariance(device, (z) => model.decode(z!), [random([2, 16, 4, 3], 2)], { batched: [0] });
  dispose();
});

test.each([
  ['samples', 4 * 35 * 35], // one of 2 samples at a time
  ['queries', 4 * 35 * 8], // 8 of 35 queries at a time
])('attention in parts, when the scores of all %s are too many, equals attention at once', async (_, maxScoreBytes) => {
  const norm = { groups: 4, eps: 1e-6 };
  const wholes = new Parameters();
  const parts = new Parameters();
  const whole = new ImageAttention(wholes, 16, norm);
  const inParts = new ImageAttention(parts, 16, norm, maxScoreBytes);
  wholes.allocate(device);
  fillByRule(wholes.all);
  parts.allocate(device);
  fillByRule(parts.all);
  const x = random([2, 16, 5, 7], 3);
  const evaluate = (attention: ImageAttention): Promise<Float32Array[]> =>
    valuesOf(
      scope(device, () => {
        const input = tensor(device, x.data, x.shape).requireGrad();
        const y = attention.forward(input);
        return [y, ...backward(sum(square(y)), [input])];
      }),
    );
  const [expected, actual] = [await evaluate(whole), await evaluate(inParts)];
  actual.forEach((values, i) => {
    expectClose(values, expected[i]!, 1e-6, i === 0 ? 'output' : 'gradient');
  });
  wholes.dispose();
  parts.dispose();
});

test('latents are shifted and scaled by the factors of the config, and back', async () => {
  const z = random([1, 16, 2, 2], 4);
  const { model, dispose } = setUp('tiny_vae16');
  const options = { terms: 4 };
  const scaled = (x: typeof z) => ({ ...x, data: x.data.map((value) => (value - 0.0609) * 1.5305) });
  const unscaled = (x: typeof z) => ({ ...x, data: x.data.map((value) => value / 1.5305 + 0.0609) });
  await checkForward(device, (x) => model.scaled(x!), scaled, [z], options);
  await checkForward(device, (x) => model.unscaled(x!), unscaled, [z], options);
  dispose();
});

test('a sample of the latents is mean + exp(logVariance / 2) noise, the logarithm clamped to [-30, 20]', async () => {
  const moments = [1, 2, 3, -40, 0.5, 30]; // [1, 2, 1, 3]: three means, three logarithms
  const noise = [0.5, -1, 2];
  const [mean, logVariance, sample] = await valuesOf(
    scope(device, () => {
      const input = tensor(device, moments, [1, 2, 1, 3]);
      const parts = splitMoments(input);
      return [parts.mean, parts.logVariance, sampleLatents(input, tensor(device, noise, [1, 1, 1, 3]))];
    }),
  );
  expectClose(mean!, [1, 2, 3], 0, 'mean');
  expectClose(logVariance!, [-30, 0.5, 20], 0, 'logVariance');
  expectClose(sample!, [1 + 0.5 * Math.exp(-15), 2 - Math.exp(0.25), 3 + 2 * Math.exp(10)], 1e-6, 'sample');
});

describe('a config that asks for another network is refused by its key', () => {
  test.each([
    ['act_fn', 'relu', /config act_fn: found "relu", expected "silu"/],
    ['latents_mean', [0, 0, 0, 0], /config latents_mean: found \[0,0,0,0\], expected null/],
    ['down_block_types', ['DownEncoderBlock2D', 'AttnDownEncoderBlock2D'], /config down_block_types: found/],
    ['up_block_types', ['UpDecoderBlock2D'], /config up_block_types: found .* expected 2 times UpDecoderBlock2D/],
    ['norm_num_groups', 3, /config block_out_channels: found \[8,16\], expected multiples of norm_num_groups 3/],
    ['scaling_factor', 0, /config scaling_factor: found 0, expected a number other than 0/],
  ])('%s', (key, value, message) => {
    const parameters = new Parameters();
    expect(() => new AutoencoderKL(parameters, { ...readConfig('tiny_vae4'), [key]: value })).toThrow(message);
  });
});

test('images that do not fit are refused', () => {
  const { model, inputs, dispose } = setUp('tiny_vae4');
  expect(() => model.encode(inputs.z)).toThrow('expected images [N, 3, H, W] with sides of at least 2');
  expect(() => model.decode(inputs.image)).toThrow('expected latents [N, 4, h, w], found [1, 3, 16, 12]');
  dispose();
});
