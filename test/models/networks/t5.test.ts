import { expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import type { Tensor } from '../../../engine/tensor/tensor.js';
import { type ParameterOptions, Parameters } from '../../../models/blocks/parameters.js';
import { relativeBucket, T5EncoderModel, t5Tokens } from '../../../models/networks/t5.js';
import { checkBatchInvariance, expectClose, random, testDevice } from '../../check.js';
import {
  checkGoldenGradients,
  checkGoldenOutputs,
  fillByRule,
  goldenInput,
  modelTolerance,
  readConfig,
  readGolden,
  readShapes,
} from '../golden.js';
import { checkRecompute } from '../recompute.js';

const device = await testDevice();
const golden = readGolden('tiny_t5');

function load(options: ParameterOptions = {}) {
  const parameters = new Parameters(options);
  const model = new T5EncoderModel(parameters, readConfig('tiny_t5'));
  parameters.allocate(device);
  fillByRule(parameters.all);
  const ids = goldenInput(device, golden, 'input_ids');
  return {
    model,
    parameters: parameters.all,
    inputs: { ids },
    run: (forward?: { recompute: boolean }): Record<string, Tensor> => ({
      last_hidden_state: model.forward(ids, forward),
    }),
    dispose: (): void => {
      parameters.dispose();
      ids.dispose();
    },
  };
}

test('declares the weights of the file, the table of tokens once', () => {
  const model = load();
  const { 'encoder.embed_tokens.weight': repeated, ...shapes } = readShapes('tiny_t5');
  expect(repeated).toEqual(shapes['shared.weight']);
  expect(Object.fromEntries(model.parameters.map((weight) => [weight.name, weight.shape]))).toEqual(shapes);
  model.dispose();
});

test('outputs are those of transformers', async () => {
  const model = load();
  await checkGoldenOutputs(device, golden, model);
  model.dispose();
});

test('gradients are those of transformers, that of the relative position table too', async () => {
  const model = load();
  await checkGoldenGradients(device, golden, model);
  model.dispose();
});

/** In float64 PyTorch, rounding the weights to 16 bits moves this model's outputs by 2.341e-3 of their largest value. */
const roundingOfWeights = 2.35e-3;

test('weights of 16 bits give what their rounding gives, and wo stays in 32', async () => {
  const half = load({ storage: 'f16' });
  await checkGoldenOutputs(device, golden, { ...half, tolerance: roundingOfWeights });
  for (const { name, tensor: weight } of half.parameters) {
    const expected = name.endsWith('norm.weight') || name.endsWith('wo.weight') ? 'f32' : 'f16';
    expect(weight.dtype, name).toBe(expected);
  }
  const rounded = load();
  for (const [i, { tensor: weight }] of rounded.parameters.entries())
    weight.write(await half.parameters[i]!.tensor.data());
  const outputs = scope(device, () => [half, rounded].map(({ run }) => run().last_hidden_state!));
  const [actual, expected] = await Promise.all(outputs.map((output) => output.data()));
  expectClose(actual!, expected!, modelTolerance, 'stored in 16 bits, and rounded to 16 but stored in 32');
  for (const output of outputs) output.dispose();
  half.dispose();
  rounded.dispose();
});

test('recomputing blocks gives the same bits', async () => {
  const model = load();
  const frozen = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight';
  const wanted = model.parameters.filter(({ name }) => name !== frozen).map(({ tensor: weight }) => weight);
  await checkRecompute(device, (recompute) => model.run({ recompute }).last_hidden_state!, wanted);
  model.dispose();
});

test('a text has the same bits in any batch', async () => {
  const model = load();
  const ids = random([3, 20], 1, { low: 0, high: 64, dtype: 'u32' });
  await checkBatchInvariance(device, (texts) => model.model.forward(texts), [ids], { batched: [0], dtypes: ['u32'] });
  model.dispose();
});

test('relative positions fall into the buckets of T5 at every edge', () => {
  const bucket = (offset: number): number => relativeBucket(offset, { buckets: 32, maxDistance: 128 });
  const distances = [0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 127, 128, 500];
  const expected = [0, 1, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 15, 15];
  expect(distances.map((distance) => bucket(-distance))).toEqual(expected);
  expect(distances.slice(1).map(bucket)).toEqual(expected.slice(1).map((n) => n + 16));
});

test('tokens outside the vocabulary are an error', () => {
  expect(() => t5Tokens(device, [[3, 64]], readConfig('tiny_t5'))).toThrow('token 64; the vocabulary has 64');
});

test('a feed-forward layer that is not gated is an error', () => {
  expect(() => new T5EncoderModel(new Parameters(), {})).toThrow(
    'feed_forward_proj: found "relu", expected "gated-gelu"',
  );
});
