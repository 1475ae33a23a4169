/** config.json, read and refused; and whole folders of every network, written and read back. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { exitCodeOf } from '../../../grpo/finetune/exit_codes.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { readConfig } from '../../../models/files/config_file.js';
import { ModelFileError } from '../../../models/files/errors.js';
import { clipKeys, clipTextKeys, type KeyLayout, t5Keys, vaeKeys } from '../../../models/files/key_layouts.js';
import { loadWeights, saveWeights } from '../../../models/files/weights.js';
import { CLIPModel, clipConfig } from '../../../models/networks/clip.js';
import { CLIPTextModelWithProjection, clipTextConfig } from '../../../models/networks/clip_text.js';
import { DiTTransformer2DModel, ditConfig } from '../../../models/networks/dit.js';
import { SD3Transformer2DModel, sd3Config } from '../../../models/networks/mmdit.js';
import { T5EncoderModel, t5Config } from '../../../models/networks/t5.js';
import { UNet2DConditionModel } from '../../../models/networks/unet.js';
import { unetConfig } from '../../../models/networks/unet_config.js';
import { AutoencoderKL, vaeConfig } from '../../../models/networks/vae.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';
import { fillByRule, readConfig as fixtureConfig } from '../golden.js';

const device = await testDevice();
const root = temporaryFolder();
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, `${count++}`);
  mkdirSync(folder);
});

const write = (config: unknown): void =>
  writeFileSync(join(folder, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));

/** A class of network, whatever its config. */
type Network = new (parameters: Parameters, config: never) => unknown;

test.each<[string, () => Promise<unknown>, Network, KeyLayout]>([
  ['tiny_unet_linear', () => readConfig(folder, unetConfig), UNet2DConditionModel, {}],
  ['tiny_vae4', () => readConfig(folder, vaeConfig), AutoencoderKL, vaeKeys],
  ['tiny_sd3_transformer', () => readConfig(folder, sd3Config), SD3Transformer2DModel, {}],
  ['tiny_dit', () => readConfig(folder, ditConfig), DiTTransformer2DModel, {}],
  ['tiny_clip_text_gelu', () => readConfig(folder, clipTextConfig), CLIPTextModelWithProjection, clipTextKeys],
  ['tiny_clip_full', () => readConfig(folder, clipConfig), CLIPModel, clipKeys],
  ['tiny_t5', () => readConfig(folder, t5Config), T5EncoderModel, t5Keys],
])('the folder of %s is written and read back whole', async (name, readOwn, Network, keys) => {
  write(fixtureConfig(name));
  const config = (await readOwn()) as never; // of the class beside it
  const [written, read] = [new Parameters(), new Parameters()];
  new Network(written, config);
  written.allocate(device);
  fillByRule(written.all);
  await saveWeights(folder, written);
  new Network(read, config);
  await loadWeights(device, folder, read, { keys });
  expect(read.all.length).toBeGreaterThan(0);
  for (const [i, { name: weight, tensor }] of written.all.entries()) {
    expect(Array.from(await read.all[i]!.tensor.data()), weight).toEqual(Array.from(await tensor.data()));
  }
  for (const parameters of [written, read]) parameters.dispose();
});

const good = {
  _class_name: 'UNet2DConditionModel',
  in_channels: 4,
  block_out_channels: [8, 16],
  cross_attention_dim: 12,
  norm_num_groups: 8,
};

test('null stands for the default, keys of others are ignored, and Flax is one of the frameworks', async () => {
  for (const change of [
    { upcast_attention: null, norm_eps: null },
    { anything: { at: 'all' } },
    { _class_name: 'FlaxUNet2DConditionModel' },
    { _class_name: undefined },
  ]) {
    write({ ...good, ...change });
    expect((await readConfig(folder, unetConfig)).block_out_channels).toEqual([8, 16]);
  }
});

test.each<[string, unknown, () => Promise<unknown>, RegExp]>([
  ['no config', undefined, () => readConfig(folder, unetConfig), /config\.json\n {2}no such file or folder$/],
  [
    'a config that is not JSON',
    '{"in_channels": 4,',
    () => readConfig(folder, unetConfig),
    /config\.json\n {2}not JSON: /,
  ],
  [
    'a config that is a list',
    [],
    () => readConfig(folder, unetConfig),
    /config\.json\n {2}expected a JSON object, found \[\]$/,
  ],
  [
    'another class of diffusers',
    { ...good, _class_name: 'AutoencoderKL' },
    () => readConfig(folder, unetConfig),
    /config\.json\n {2}_class_name is "AutoencoderKL", expected UNet2DConditionModel$/,
  ],
  [
    'another class of transformers',
    { architectures: ['BertModel'], hidden_size: 8, num_hidden_layers: 1 },
    () => readConfig(folder, clipTextConfig),
    /config\.json\n {2}architectures is "BertModel", expected CLIPTextModel or CLIPTextModelWithProjection$/,
  ],
  [
    'missing keys',
    { ...good, in_channels: null, cross_attention_dim: undefined },
    () => readConfig(folder, unetConfig),
    /config\.json\n {2}in_channels is missing, expected an integer\n {2}cross_attention_dim is missing, expected an integer$/,
  ],
  [
    'a list that is a number',
    { ...good, block_out_channels: 8 },
    () => readConfig(folder, unetConfig),
    /block_out_channels is 8, expected a list of integers$/,
  ],
  [
    'a fraction',
    { ...good, in_channels: 4.5 },
    () => readConfig(folder, unetConfig),
    /in_channels is 4\.5, expected an integer$/,
  ],
  [
    'several wrong types',
    { ...good, norm_eps: '1e-5', use_linear_projection: 'true' },
    () => readConfig(folder, unetConfig),
    /use_linear_projection is "true", expected a boolean\n {2}norm_eps is "1e-5", expected a number$/,
  ],
  [
    'numbers out of bounds',
    { ...good, in_channels: 0, block_out_channels: [8, -16], layers_per_block: -1, norm_eps: 0 },
    () => readConfig(folder, unetConfig),
    /in_channels is 0, expected a positive integer\n {2}block_out_channels is \[8,-16\], expected a list of positive integers\n {2}layers_per_block is -1, expected a positive integer\n {2}norm_eps is 0, expected a positive number$/,
  ],
  [
    'numbers that do not go together',
    { ...good, norm_num_groups: 3, attention_head_dim: [2, 3] },
    () => readConfig(folder, unetConfig),
    /block_out_channels is \[8,16\], expected multiples of norm_num_groups 3\n {2}attention_head_dim is \[2,3\], expected numbers of heads that divide \[8, 16\]$/,
  ],
  [
    'a variant that is not implemented',
    { ...good, addition_embed_type: 'text_time' },
    () => readConfig(folder, unetConfig),
    /addition_embed_type is "text_time", expected null$/,
  ],
  [
    'a number within the half of a CLIP that counts',
    {
      text_config: { hidden_size: -8 },
      text_config_dict: { hidden_size: 0 },
      vision_config: { num_attention_heads: 5 },
    },
    () => readConfig(folder, clipConfig),
    /text_config_dict\.hidden_size is 0, expected a positive integer\n {2}vision_config\.num_attention_heads is 5, expected a divisor of hidden_size 768$/,
  ],
])('%s is refused by file and key', async (_name, config, readOwn, message) => {
  if (config !== undefined) write(config);
  const error = await readOwn().then(
    () => expect.fail('the config was accepted'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  expect((error as Error).message).toMatch(message);
  expect(exitCodeOf(error)).toBe(6);
});
