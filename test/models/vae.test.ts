import { describe, expect, test } from 'vitest';
import { Parameters } from '../../models/parameters.js';
import { AutoencoderKL } from '../../models/vae.js';
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

/** The tiny autoencoder of a golden file, with its inputs. */
function setUp(name: string, storage: 'f32' | 'f16' = 'f32') {
  const golden = readGolden(name);
  const parameters = new Parameters(device, { storage });
  const model = new AutoencoderKL(parameters, readConfig(name));
  fillByRule(parameters.all);
  const inputs = { image: goldenInput(device, golden, 'image'), z: goldenInput(device, golden, 'z') };
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  const run = (checkpoint = false) => ({
    moments: model.encode(inputs.image, { checkpoint }),
    decoded: model.decode(inputs.z, { checkpoint }),
  });
  return { golden, parameters, model, inputs, run, dispose };
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
});
