import { describe, expect, test } from 'vitest';
import { Parameters } from '../../models/parameters.js';
import { UNet2DConditionModel } from '../../models/unet.js';
import { testDevice } from '../check.js';
import {
  checkGoldenGradients,
  checkGoldenOutputs,
  fillByRule,
  goldenInput,
  readConfig,
  readGolden,
  readShapes,
} from './golden.js';

const device = await testDevice();

/** The tiny network of a golden file, with its inputs. */
function setUp(name: string, storage: 'f32' | 'f16' = 'f32') {
  const golden = readGolden(name);
  const parameters = new Parameters(device, { storage });
  const model = new UNet2DConditionModel(parameters, readConfig(name.replace('_odd', '')));
  fillByRule(parameters.all);
  const inputs = Object.fromEntries(Object.keys(golden.inputs).map((key) => [key, goldenInput(device, golden, key)]));
  const { sample, timestep, encoder_hidden_states: context } = inputs;
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  const run = (checkpoint = false) => ({ sample: model.forward(sample!, timestep!, context!, { checkpoint }) });
  return { golden, parameters, model, inputs, run, dispose };
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
});
