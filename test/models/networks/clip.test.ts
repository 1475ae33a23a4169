import { describe, expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { type ParameterOptions, Parameters } from '../../../models/blocks/parameters.js';
import { CLIPModel } from '../../../models/networks/clip.js';
import {
  CLIPTextModel,
  CLIPTextModelWithProjection,
  type CLIPTokens,
  clipTokens,
  pooledPosition,
} from '../../../models/networks/clip_text.js';
import { CLIPVisionModelWithProjection } from '../../../models/networks/clip_vision.js';
import { checkBatchInvariance, random, testDevice } from '../../check.js';
import {
  checkGoldenGradients,
  checkGoldenOutputs,
  fillByRule,
  type Golden,
  goldenInput,
  modelTolerance,
  readConfig,
  readGolden,
  readShapes,
} from '../golden.js';
import { checkRecompute } from '../recompute.js';

const device = await testDevice();

const idsOf = (golden: Golden): number[][] => {
  const { shape, data } = golden.inputs.input_ids!;
  const ids = data as readonly number[];
  return Array.from({ length: shape[0]! }, (_, i) => ids.slice(i * shape[1]!, (i + 1) * shape[1]!));
};

interface Loaded {
  readonly parameters: Parameters;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** The outputs by their golden names. */
  readonly run: (options?: { recompute?: boolean }) => Record<string, Tensor>;
}

function loadText(name: string, options: ParameterOptions = {}): Loaded {
  const golden = readGolden(name);
  const config = readConfig(name);
  const parameters = new Parameters(options);
  const model = new CLIPTextModelWithProjection(parameters, config);
  parameters.allocate(device);
  fillByRule(parameters.all);
  const tokens: CLIPTokens = clipTokens(device, idsOf(golden), config);
  return {
    parameters,
    inputs: { ...tokens },
    run: (forward) => {
      const { hiddenStates, lastHiddenState, textEmbeds } = model.forward(tokens, forward);
      return { hidden_m2: hiddenStates.at(-2)!, last_hidden_state: lastHiddenState, text_embeds: textEmbeds };
    },
  };
}

function loadFull(options: ParameterOptions = {}): Loaded {
  const golden = readGolden('tiny_clip_full');
  const config = readConfig('tiny_clip_full');
  const parameters = new Parameters(options);
  const model = new CLIPModel(parameters, config);
  parameters.allocate(device);
  fillByRule(parameters.all);
  const tokens = clipTokens(device, idsOf(golden), model.textConfig);
  const pixels = goldenInput(device, golden, 'pixel_values');
  return {
    parameters,
    inputs: { ...tokens, pixel_values: pixels },
    run: (forward) => {
      const texts = model.textFeatures(tokens, forward);
      const images = model.imageFeatures(pixels, forward);
      return { text_embeds_norm: texts, image_embeds_norm: images, logits_per_text: model.logits(texts, images) };
    },
  };
}

const models: Readonly<Record<string, (options?: ParameterOptions) => Loaded>> = {
  tiny_clip_text_quickgelu: (options) => loadText('tiny_clip_text_quickgelu', options),
  tiny_clip_text_gelu: (options) => loadText('tiny_clip_text_gelu', options),
  tiny_clip_full: loadFull,
};

function dispose({ parameters, inputs }: Loaded): void {
  parameters.dispose();
  for (const input of Object.values(inputs)) input.dispose();
}

describe.each(Object.entries(models))('%s', (name, load) => {
  const golden = readGolden(name);

  test('declares exactly the weights of the file', () => {
    const model = load();
    expect(Object.fromEntries(model.parameters.all.map((weight) => [weight.name, weight.shape]))).toEqual(
      readShapes(name),
    );
    dispose(model);
  });

  test('outputs are those of transformers', async () => {
    const model = load();
    // PyTorch's own error is a third of what it is elsewhere here, and ours is 2.1 times that: 2.0e-7.
    const tolerance = { text_embeds_norm: modelTolerance };
    await checkGoldenOutputs(device, golden, { ...model, parameters: model.parameters.all, tolerance });
    dispose(model);
  });

  test('gradients are those of transformers', async () => {
    const model = load();
    await checkGoldenGradients(device, golden, { ...model, parameters: model.parameters.all });
    dispose(model);
  });

  test('weights of 16 bits move the outputs by 2e-3 at most', async () => {
    const model = load({ storage: 'f16' });
    await checkGoldenOutputs(device, golden, { ...model, parameters: model.parameters.all, tolerance: 2e-3 });
    dispose(model);
  });

  test('recomputing layers gives the same bits', async () => {
    const model = load();
    const wanted = model.parameters.all.map(({ tensor: weight }) => weight);
    await checkRecompute(device, (recompute) => model.run({ recompute })[golden.loss_terms.at(-1)!]!, wanted);
    dispose(model);
  });
});

test('the gradient of a key bias is 0 but for rounding', async () => {
  const model = loadText('tiny_clip_text_gelu');
  const named = (end: string): Tensor =>
    model.parameters.all.find(({ name }) => name.endsWith(`layers.0.self_attn.k_proj.${end}`))!.tensor.requireGrad();
  const wanted = [named('weight'), named('bias')];
  const gradients = scope(device, () => {
    const output = model.run().last_hidden_state!;
    const seed = tensor(device, random(output.shape, 4).data, output.shape);
    return backward(output, wanted, { seed });
  });
  const [weight, bias] = await Promise.all(
    gradients.map(async (gradient) => Math.max(...(await gradient.data()).map(Math.abs))),
  );
  for (const gradient of gradients) gradient.dispose();
  expect(bias!).toBeLessThan(1e-5 * weight!);
  dispose(model);
});

test('a text encoder gives a text the same bits in any batch', async () => {
  const parameters = new Parameters();
  const model = new CLIPTextModel(parameters, readConfig('tiny_clip_text_quickgelu'));
  parameters.allocate(device);
  fillByRule(parameters.all);
  const ids = random([3, 12], 1, { low: 0, high: 64, dtype: 'u32' });
  await checkBatchInvariance(device, (texts) => model.forward(texts).lastHiddenState, [ids], {
    batched: [0],
    dtypes: ['u32'],
  });
  parameters.dispose();
});

test('an image encoder gives an image and its gradient the same bits in any batch', async () => {
  const parameters = new Parameters();
  const { vision_config } = readConfig('tiny_clip_full');
  const model = new CLIPVisionModelWithProjection(parameters, vision_config!);
  parameters.allocate(device);
  fillByRule(parameters.all);
  await checkBatchInvariance(device, (pixels) => model.forward(pixels).imageEmbeds, [random([3, 3, 28, 28], 2)], {
    batched: [0],
  });
  parameters.dispose();
});

test('a shorter text reads the first positions', async () => {
  const parameters = new Parameters();
  const model = new CLIPTextModel(parameters, readConfig('tiny_clip_text_gelu'));
  parameters.allocate(device);
  fillByRule(parameters.all);
  const ids = [62, 5, 17, 33, 8, 63, 1, 2, 3, 4, 5, 6];
  const run = async (values: number[]): Promise<number[]> => {
    const y = scope(device, () => model.forward(tensor(device, values, [1, values.length], 'u32')).lastHiddenState);
    const found = Array.from(await y.data()).slice(0, 6 * 20);
    y.dispose();
    return found;
  };
  expect(await run(ids.slice(0, 6))).toEqual(await run(ids));
  parameters.dispose();
});

test('the pooled token is the first end of text, by its id or as the largest one', () => {
  expect(pooledPosition([62, 5, 63, 63, 2], 63)).toBe(2);
  expect(pooledPosition([62, 5, 63, 0, 2], 2)).toBe(2);
  expect(pooledPosition([62, 5, 4], 63)).toBe(0);
});

test('the parts of an old config count alone', () => {
  const { text_config, vision_config, projection_dim } = readConfig('tiny_clip_full');
  const names = (config: object): string[] => {
    const parameters = new Parameters();
    new CLIPModel(parameters, config);
    parameters.dispose();
    return parameters.all.map(({ name, shape }) => `${name} ${shape}`);
  };
  const wrong = { hidden_size: 8, num_hidden_layers: 1 };
  const old = {
    text_config: wrong,
    text_config_dict: text_config,
    vision_config: wrong,
    vision_config_dict: vision_config,
  };
  expect(names({ ...old, projection_dim })).toEqual(names({ text_config, vision_config, projection_dim }));
});

test('tokens that the model cannot read are errors', () => {
  const config = readConfig('tiny_clip_text_gelu');
  expect(() => clipTokens(device, [], config)).toThrow('expected 1 to 12 a text, found 0');
  expect(() => clipTokens(device, [[1, 2], [1]], config)).toThrow('text 1 has 1, text 0 has 2');
  expect(() => clipTokens(device, [[1, 64]], config)).toThrow('token 64; the vocabulary has 64');
  const parameters = new Parameters();
  const swish: Record<string, unknown> = { ...config, hidden_act: 'swish' };
  expect(() => new CLIPTextModel(parameters, swish)).toThrow('hidden_act: found "swish"');
  parameters.dispose();
});
