import { describe, expect, test } from 'vitest';
import { capture, scalar, scope, type Tensor, tensor } from '../../../engine/index.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { UNet2DConditionModel } from '../../../models/networks/unet.js';
import type { UNet2DConditionConfig } from '../../../models/networks/unet_config.js';
import { checkBatchInvariance, host, random, testDevice } from '../../check.js';
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

/** The tiny network of a golden file, with its inputs. */
function setUp(name: string, storage: 'f32' | 'f16' = 'f32') {
  const golden = readGolden(name);
  const parameters = new Parameters({ storage });
  const model = new UNet2DConditionModel(parameters, readConfig(name.replace('_odd', '')));
  parameters.allocate(device);
  fillByRule(parameters.all);
  const inputs = Object.fromEntries(Object.keys(golden.inputs).map((key) => [key, goldenInput(device, golden, key)]));
  const { sample, timestep, encoder_hidden_states: context } = inputs;
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  const run = (recompute = false) => ({ sample: model.forward(sample!, timestep!, context!, { recompute }) });
  return { golden, parameters, model, inputs, run, dispose };
}

/** The bits of some tensors, which are freed. */
async function bitsOf(tensors: readonly Tensor[]): Promise<Uint32Array[]> {
  const bits: Uint32Array[] = [];
  for (const y of tensors) bits.push(new Uint32Array(Float32Array.from(await y.data()).buffer));
  for (const y of tensors) y.dispose();
  return bits;
}

describe.each(['tiny_unet_conv', 'tiny_unet_conv_odd', 'tiny_unet_linear', 'tiny_unet_linear_odd'])('%s', (name) => {
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

test.each(['tiny_unet_conv_odd', 'tiny_unet_linear'])('recomputing blocks gives the same bits: %s', async (name) => {
  const { parameters, inputs, run, dispose } = setUp(name);
  const leaves = [inputs.sample!, inputs.encoder_hidden_states!, ...parameters.all.map(({ tensor: weight }) => weight)];
  await checkRecompute(device, (recompute) => run(recompute).sample, leaves);
  dispose();
});

test('recomputing reaches what LoRA adds to frozen weights', async () => {
  const { parameters, run, dispose } = setUp('tiny_unet_linear');
  const lora = {
    down: tensor(device, random([2, 16], 1).data, [2, 16]),
    up: tensor(device, random([16, 2], 2).data, [16, 2]),
    scale: scalar(device, 0.5),
  };
  parameters.linears.get('mid_block.attentions.0.transformer_blocks.0.attn2.to_q')!.lora = lora;
  await checkRecompute(device, (recompute) => run(recompute).sample, [lora.down, lora.up]);
  for (const added of Object.values(lora)) added.dispose();
  dispose();
});

test('a sample does not depend on its batch', async () => {
  const { parameters, model, dispose } = setUp('tiny_unet_linear');
  await checkBatchInvariance(
    device,
    (sample, timestep, context) => model.forward(sample!, timestep!, context!),
    [random([2, 4, 6, 8], 1), host([2], [17, 640]), random([2, 5, 12], 2)],
    { batched: [0, 1, 2], wrt: [0, 2] },
  );
  expect(parameters.all.length).toBeGreaterThan(0);
  dispose();
});

test('one timestep serves the whole batch, as an integer or a fraction of one', async () => {
  const { model, inputs, dispose } = setUp('tiny_unet_linear');
  const outputs = scope(device, () =>
    [tensor(device, [981], [1], 'u32'), tensor(device, [981]), tensor(device, [981, 981])].map((timestep) =>
      model.forward(inputs.sample!, timestep, inputs.encoder_hidden_states!),
    ),
  );
  const [one, float, each] = await bitsOf(outputs);
  expect(float).toEqual(one);
  expect(each).toEqual(one);
  dispose();
});

test('a captured step replays the same bits with new inputs', async () => {
  const { inputs, run, dispose } = setUp('tiny_unet_linear');
  const step = await capture(device, () => run().sample);
  inputs.timestep!.write([500, 3]);
  step.run();
  const replayed = Float32Array.from(await step.outputs.data());
  const eager = scope(device, () => run().sample);
  expect(replayed).toEqual(Float32Array.from(await eager.data()));
  eager.dispose();
  step.dispose();
  dispose();
});

describe('a config that asks for another network is refused by its key', () => {
  test.each([
    ['addition_embed_type', 'text_time', /config addition_embed_type: found "text_time", expected null/],
    ['class_embed_type', 'timestep', /config class_embed_type: found "timestep", expected null/],
    ['act_fn', 'gelu', /config act_fn: found "gelu", expected "silu"/],
    ['down_block_types', ['AttnDownBlock2D', 'DownBlock2D'], /config down_block_types: found \["AttnDownBlock2D",/],
    ['up_block_types', ['UpBlock2D'], /config up_block_types: found \["UpBlock2D"\], expected 2 times/],
    ['attention_head_dim', [2, 3], /config attention_head_dim: found \[2,3\], expected numbers of heads that divide/],
    ['block_out_channels', [8, 18], /config block_out_channels: found \[8,18\], expected multiples of/],
    ['cross_attention_dim', [12, 12], /config cross_attention_dim: found \[12,12\], expected a positive integer/],
    ['layers_per_block', 0, /config layers_per_block: found 0, expected a positive integer/],
  ])('%s', (key, value, message) => {
    const config = { ...readConfig('tiny_unet_conv'), [key]: value };
    const parameters = new Parameters();
    expect(() => new UNet2DConditionModel(parameters, config)).toThrow(message);
    expect(parameters.all).toEqual([]);
  });

  test('null stands for the default, as in old files', () => {
    const parameters = new Parameters();
    const nulls = { upcast_attention: null, class_embed_type: null, norm_eps: null };
    const config: UNet2DConditionConfig = { ...readConfig('tiny_unet_conv'), ...nulls };
    expect(() => new UNet2DConditionModel(parameters, config)).not.toThrow();
    parameters.dispose();
  });
});

test('inputs that do not fit are refused', () => {
  const { model, inputs, dispose } = setUp('tiny_unet_conv');
  const { sample, timestep, encoder_hidden_states: context } = inputs;
  expect(() => model.forward(context!, timestep!, context!)).toThrow('expected 4 axes');
  expect(() => scope(device, () => model.forward(sample!, tensor(device, [1, 2, 3]), context!))).toThrow(
    'expected a timestep [2] or [1], found [3] f32',
  );
  expect(() => model.forward(sample!, timestep!, timestep!)).toThrow(
    'expected hidden states [2, T, 12], found [2] u32',
  );
  dispose();
});
