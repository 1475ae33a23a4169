/** Files of adapters: there and back in every layout, what diffusers and PEFT make of them, and what is refused. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { noGrad, scope } from '../../../engine/index.js';
import {
  type FileTensor,
  openSafetensors,
  type SafetensorsFile,
  writeSafetensors,
} from '../../../engine/safetensors.js';
import { packageRoot } from '../../../engine/version.js';
import { exitCodeOf } from '../../../grpo/finetune/exit_codes.js';
import { linear } from '../../../models/blocks/layers.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { ModelFileError } from '../../../models/files/errors.js';
import { loadLora } from '../../../models/lora/load_lora.js';
import { Lora } from '../../../models/lora/lora.js';
import { saveLora } from '../../../models/lora/save_lora.js';
import { expectClose, testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';
import { modelTolerance } from '../golden.js';
import { adaptersByRule, tinyNetwork } from '../lora_network.js';

const device = await testDevice();
const root = temporaryFolder();
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, `${count++}`);
  mkdirSync(folder);
});

/** Linear layers of the given names, 16 to 8 features. */
function layersNamed(names: readonly string[]): Parameters {
  const parameters = new Parameters();
  for (const name of names) linear(parameters, name, 16, 8);
  parameters.allocate(device);
  return parameters;
}

const fileNames = {
  peft: 'adapter_model.safetensors',
  diffusers: 'pytorch_lora_weights.safetensors',
  kohya: 'kohya_lora.safetensors',
} as const;

async function reading<R>(path: string, read: (file: SafetensorsFile) => Promise<R>): Promise<R> {
  const file = await openSafetensors(path);
  try {
    return await read(file);
  } finally {
    await file.close();
  }
}

/** Made by the test below with UPDATE_FIXTURES=1, then read by test/reference/check_lora.py, which adds outputs.json. */
const fixtures = join(packageRoot(), 'test', 'fixtures', 'models', 'lora');

interface Outputs {
  /** By component and format: what the network puts out in Python with the file on it. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

const components = ['transformer', 'unet'] as const;
const formats = ['peft', 'diffusers', 'kohya'] as const;

test.each(components)('PEFT and diffusers load the adapters of a %s at full strength', async (component) => {
  const { parameters, forward, dispose } = tinyNetwork(device, component);
  const lora = adaptersByRule(parameters, component);
  for (const format of formats) await saveLora(folder, lora, { format, component });
  const known = join(fixtures, component);
  if (process.env.UPDATE_FIXTURES) cpSync(folder, known, { recursive: true });
  for (const file of [...Object.values(fileNames), 'adapter_config.json']) {
    expect(readFileSync(join(folder, file)).equals(readFileSync(join(known, file))), `${file} as Python read it`).toBe(
      true,
    );
  }
  const { outputs }: Outputs = JSON.parse(readFileSync(join(fixtures, 'outputs.json'), 'utf8'));
  expect(Object.keys(outputs[component]!)).toEqual(expect.arrayContaining(['peft', 'diffusers']));
  const y = scope(device, () => noGrad(forward));
  for (const [format, sample] of Object.entries(outputs[component]!)) {
    expectClose(await y.data(), sample, modelTolerance, `sample of Python with the ${format} file`);
  }
  y.dispose();
  lora.dispose();
  dispose();
});

test.each(['peft', 'diffusers'] as const)('what %s writes loads here at full strength', async (library) => {
  const { parameters, forward, dispose } = tinyNetwork(device, 'transformer');
  const lora = await loadLora(join(fixtures, 'python', library), parameters, { component: 'transformer' });
  expect(lora).toMatchObject({ rank: 4, alpha: 8 });
  const { outputs }: Outputs = JSON.parse(readFileSync(join(fixtures, 'outputs.json'), 'utf8'));
  const y = scope(device, () => noGrad(forward));
  expectClose(await y.data(), outputs.transformer![library]!, modelTolerance, 'sample');
  y.dispose();
  lora.dispose();
  dispose();
});

test.each(formats)('what was saved for %s loads here at full strength', async (format) => {
  const { parameters, forward, dispose } = tinyNetwork(device, 'transformer');
  const lora = adaptersByRule(parameters, 'transformer');
  await saveLora(folder, lora, { format, component: 'transformer' });
  const before = scope(device, () => noGrad(forward));
  lora.dispose();
  const loaded = await loadLora(folder, parameters, { component: 'transformer' });
  expect(loaded.alpha / loaded.rank).toBe(format === 'diffusers' ? 1 : 2);
  const after = scope(device, () => noGrad(forward));
  expectClose(await after.data(), await before.data(), modelTolerance, 'sample');
  for (const y of [before, after]) y.dispose();
  loaded.dispose();
  dispose();
});

test('the files have the keys, metadata and alpha that each library reads', async () => {
  const parameters = layersNamed(['blocks.0.attn.to_out.0']);
  const values = new Map([
    ['blocks.0.attn.to_out.0', { rank: 2, down: new Float32Array(32).fill(3), up: new Float32Array(16).fill(5) }],
  ]);
  const lora = Lora.of(parameters, { rank: 2, alpha: 4, values });
  for (const format of ['peft', 'diffusers', 'kohya'] as const)
    await saveLora(folder, lora, { format, component: 'unet' });
  await reading(join(folder, fileNames.peft), async (file) => {
    const key = 'base_model.model.blocks.0.attn.to_out.0';
    expect([...file.entries.keys()]).toEqual([`${key}.lora_A.weight`, `${key}.lora_B.weight`]);
    expect(file.metadata).toEqual({ format: 'pt' });
    expect((await file.read(`${key}.lora_B.weight`))[0]).toBe(5);
  });
  const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['blocks.0.attn.to_out.0'] });
  await reading(join(folder, fileNames.diffusers), async (file) => {
    const key = 'unet.blocks.0.attn.to_out.0';
    expect(file.metadata).toEqual({ format: 'pt' });
    expect((await file.read(`${key}.lora_A.weight`))[0]).toBe(3);
    expect((await file.read(`${key}.lora_B.weight`))[0]).toBe(10); // alpha / rank = 2
  });
  await reading(join(folder, fileNames.kohya), async (file) => {
    const key = 'lora_unet_blocks_0_attn_to_out_0';
    expect(file.entry(`${key}.alpha`).shape).toEqual([]);
    expect((await file.read(`${key}.alpha`))[0]).toBe(4);
    expect((await file.read(`${key}.lora_down.weight`))[0]).toBe(3);
    expect((await file.read(`${key}.lora_up.weight`))[0]).toBe(5);
  });
  await saveLora(folder, lora, { format: 'diffusers', component: 'unet', dtype: 'F16' });
  await reading(join(folder, fileNames.diffusers), async (file) => {
    expect(file.entry('unet.blocks.0.attn.to_out.0.lora_A.weight').dtype).toBe('F16');
  });
  lora.dispose();
  parameters.dispose();
});

const f32 = (shape: readonly number[], value: number): FileTensor => ({
  dtype: 'F32',
  shape,
  data: new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(value),
});
const pairOf = (down: string, up: string, own = 2) => ({ [down]: f32([own, 16], 3), [up]: f32([8, own], 5) });

const kohyaPair = (name = 'lora_unet_a_to_q') => pairOf(`${name}.lora_down.weight`, `${name}.lora_up.weight`);

/** Loads a diffusers file of the given tensors onto layers a.to_q and a.to_out.0, and reads up and scale of the first. */
async function loadedFrom(path: string, prefixOf: 'unet' | 'transformer' = 'unet', warn = (_: string): void => {}) {
  const parameters = layersNamed(['a.to_q', 'a.to_out.0']);
  const lora = await loadLora(path, parameters, { component: prefixOf, warn }).catch((error: unknown) => {
    parameters.dispose();
    throw error;
  });
  const modules = [];
  for (const { name, down, up } of lora.modules) {
    modules.push([name, (await down.data())[0]!, (await up.data())[0]! * (await lora.scale.item())]);
  }
  lora.dispose();
  parameters.dispose();
  return { modules, rank: lora.rank, alpha: lora.alpha };
}

test.each([
  ['lora.down and lora.up', pairOf('unet.a.to_out.0.lora.down.weight', 'unet.a.to_out.0.lora.up.weight')],
  [
    'attention processors',
    pairOf('unet.a.processor.to_out_lora.down.weight', 'unet.a.processor.to_out_lora.up.weight'),
  ],
  ["PEFT's names in memory", pairOf('unet.a.to_out.0.lora_A.default.weight', 'unet.a.to_out.0.lora_B.default.weight')],
])('files of older diffusers load: %s', async (_name, tensors) => {
  const path = join(folder, 'lora.safetensors');
  await writeSafetensors(path, {
    ...tensors,
    ...pairOf('text_encoder.x.lora_A.weight', 'text_encoder.x.lora_B.weight'),
  });
  expect(await loadedFrom(path)).toEqual({ modules: [['a.to_out.0', 3, 5]], rank: 2, alpha: 2 });
});

test("kohya's files load: alphas of their own, of a UNet or a transformer, beside text encoders", async () => {
  const path = join(folder, fileNames.kohya);
  const file = (component: string, alphas: readonly (FileTensor | undefined)[]) => {
    const [q, out] = ['a_to_q', 'a_to_out_0'].map((name) => `lora_${component}_${name}`);
    return {
      ...pairOf(`${q}.lora_down.weight`, `${q}.lora_up.weight`),
      ...pairOf(`${out}.lora_down.weight`, `${out}.lora_up.weight`, 4),
      ...(alphas[0] && { [`${q}.alpha`]: alphas[0] }),
      ...(alphas[1] && { [`${out}.alpha`]: alphas[1] }),
      ...pairOf('lora_te_x.lora_down.weight', 'lora_te_x.lora_up.weight'),
    };
  };
  await writeSafetensors(path, file('unet', [f32([], 1), f32([1], 6)]));
  const own = [
    ['a.to_q', 3, 2.5],
    ['a.to_out.0', 3, 7.5],
  ];
  expect((await loadedFrom(path)).modules).toEqual(own);
  expect((await loadedFrom(folder)).modules, 'by its folder').toEqual(own);
  await writeSafetensors(path, file('transformer', [f32([], 4), f32([], 8)]));
  expect(await loadedFrom(path, 'transformer'), 'of one strength').toMatchObject({ rank: 4, alpha: 8 });
  await writeSafetensors(path, file('unet', []));
  expect(
    (await loadedFrom(path)).modules.map(([, , up]) => up),
    'without alphas',
  ).toEqual([5, 5]);
});

test.each<[string, Record<string, FileTensor>, RegExp]>([
  [
    'an alpha of zero',
    { ...kohyaPair(), 'lora_unet_a_to_q.alpha': f32([], 0) },
    /a_to_q\.alpha is 0, expected one posi/,
  ],
  ['an alpha of two numbers', { ...kohyaPair(), 'lora_unet_a_to_q.alpha': f32([2], 1) }, /a_to_q\.alpha is \[2\] F32/],
  ['another layer', kohyaPair('lora_unet_b_to_q'), /lora_unet_b_to_q\.lora_down\.weight is for a layer that/],
  ['another kind', { ...kohyaPair(), 'lora_unet_a_to_q.hada_w1_a': f32([2], 1) }, /hada_w1_a is in the file, expected/],
  ['text encoders alone', kohyaPair('lora_te1_x'), /no adapter of this network/],
])("a file of kohya's is refused: %s", async (_name, tensors, message) => {
  const path = join(folder, fileNames.kohya);
  await writeSafetensors(path, tensors);
  const error = await loadedFrom(path).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ModelFileError);
  expect((error as Error).message).toMatch(message);
});

test('alpha comes from the metadata of a diffusers file', async () => {
  const path = join(folder, fileNames.diffusers);
  const metadata = { 'unet.r': 2, 'unet.lora_alpha': 6, 'unet.target_modules': ['a.to_q'] };
  const tensors = pairOf('unet.a.to_q.lora_A.weight', 'unet.a.to_q.lora_B.weight');
  await writeSafetensors(path, tensors, { format: 'pt', lora_adapter_metadata: JSON.stringify(metadata) });
  expect(await loadedFrom(folder)).toEqual({ modules: [['a.to_q', 3, 15]], rank: 2, alpha: 6 });
});

/** A PEFT folder with ranks 2 and 4. */
async function peftFolder(config: Readonly<Record<string, unknown>>): Promise<void> {
  const q = 'base_model.model.a.to_q';
  const out = 'base_model.model.a.to_out.0';
  await writeSafetensors(join(folder, fileNames.peft), {
    ...pairOf(`${q}.lora_A.weight`, `${q}.lora_B.weight`),
    ...pairOf(`${out}.lora_A.weight`, `${out}.lora_B.weight`, 4),
  });
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config));
}

test('rank and alpha may differ by module, there and back', async () => {
  const config = {
    peft_type: 'LORA',
    r: 2,
    lora_alpha: 6,
    rank_pattern: { 'to_out.0': 4 },
    alpha_pattern: { 'to_out.0': 6 },
  };
  const modules = [
    ['a.to_q', 3, 15],
    ['a.to_out.0', 3, 7.5],
  ];
  await peftFolder(config);
  expect(await loadedFrom(folder)).toEqual({ modules, rank: 2, alpha: 6 });

  const parameters = layersNamed(['a.to_q', 'a.to_out.0']);
  const lora = await loadLora(folder, parameters, { component: 'unet' });
  for (const format of ['peft', 'diffusers'] as const) {
    const copy = join(folder, format);
    mkdirSync(copy);
    await saveLora(copy, lora, { format, component: 'unet' });
    expect((await loadedFrom(copy)).modules.sort()).toEqual([...modules].sort());
  }
  lora.dispose();
  parameters.dispose();
  await peftFolder({ ...config, lora_alpha: 4, use_rslora: true, alpha_pattern: {} });
  const [first, second] = (await loadedFrom(folder)).modules;
  expect(first![2]).toBeCloseTo((5 * 4) / Math.sqrt(2), 5);
  expect(second![2]).toBeCloseTo((5 * 4) / 2, 5);
});

test('what of a file is not applied is counted', async () => {
  const path = join(folder, 'lora.safetensors');
  const text = (i: number) => pairOf(`text_encoder.x.${i}.lora_A.weight`, `text_encoder.x.${i}.lora_B.weight`);
  const unet = pairOf('unet.a.to_q.lora_A.weight', 'unet.a.to_q.lora_B.weight');
  const second = pairOf('text_encoder_2.x.lora_A.weight', 'text_encoder_2.x.lora_B.weight');
  await writeSafetensors(path, { ...unet, ...text(0), ...text(1), ...second });
  const told: string[] = [];
  await loadedFrom(path, 'unet', (message) => told.push(message));
  expect(told).toEqual([
    `${path}: not applied: 2 adapters of text_encoder (4 tensors)`,
    `${path}: not applied: 1 adapter of text_encoder_2 (2 tensors)`,
  ]);
});

test('what a config has that changes nothing is taken, and what is unknown is said', async () => {
  const told: string[] = [];
  const harmless = {
    ...{ init_lora_weights: 'gaussian', bias: 'none', fan_in_fan_out: true, lora_dropout: 0.1, modules_to_save: null },
    ...{ target_modules: ['to_q', 'to_out.0'], loftq_config: {}, use_dora: false, layers_to_transform: null },
  };
  const own = { peft_type: 'LORA', r: 2, lora_alpha: 4, rank_pattern: { 'to_out.0': 4 } };
  await peftFolder({ ...own, ...harmless, use_new: { a: 1 }, other: null });
  expect((await loadedFrom(folder, 'unet', (message) => told.push(message))).modules.length).toBe(2);
  expect(told).toEqual(['adapter_config.json: keys that are unknown here, and not applied: use_new']);
});

const q = 'unet.a.to_q';
const good = pairOf(`${q}.lora_A.weight`, `${q}.lora_B.weight`);
const peft = { peft_type: 'LORA', r: 2, lora_alpha: 4, rank_pattern: { 'to_out.0': 4 } };
const save = (tensors: Record<string, FileTensor>, metadata = {}) =>
  writeSafetensors(join(folder, fileNames.diffusers), tensors, metadata);

test.each<[string, () => Promise<void>, RegExp]>([
  ['an empty folder', async () => {}, /no LoRA weights: expected adapter_model\.safetensors or pytorch_lora_weights/],
  [
    'a layer the network lacks',
    () => save({ ...good, ...pairOf('unet.b.to_q.lora_A.weight', 'unet.b.to_q.lora_B.weight') }),
    /unet\.b\.to_q\.lora_A\.weight is for a layer that the network does not have/,
  ],
  [
    'half of an adapter',
    () => save({ [`${q}.lora_A.weight`]: f32([2, 16], 1) }),
    /to_q\.lora_A\.weight is alone, expected both halves of a\.to_q/,
  ],
  [
    'a misshapen half',
    () => save({ ...good, [`${q}.lora_B.weight`]: f32([8, 3], 1) }),
    /to_q\.lora_B\.weight is \[8, 3\], expected \[8, 2\]/,
  ],
  [
    'NaN',
    () => save({ ...good, [`${q}.lora_B.weight`]: f32([8, 2], Number.NaN) }),
    /to_q\.lora_B\.weight holds NaN at element 0, expected a finite number/,
  ],
  [
    'another kind of adapter',
    () => save({ ...good, [`${q}.hada_w1_a`]: f32([2], 1) }),
    /hada_w1_a is in the file, expected lora_A\.weight or lora_B\.weight/,
  ],
  [
    'another network',
    () => save(pairOf('transformer.a.to_q.lora_A.weight', 'transformer.a.to_q.lora_B.weight')),
    /no adapter of this network: expected keys that begin with unet\./,
  ],
  [
    'keys of no component',
    () => save(pairOf('a.to_q.lora_A.weight', 'a.to_q.lora_B.weight')),
    /a\.to_q\.lora_A\.weight is in the file, expected keys that begin with unet\./,
  ],
  ['metadata that is not JSON', () => save(good, { lora_adapter_metadata: '{' }), /lora_adapter_metadata is not JSON/],
  [
    'metadata without alpha',
    () => save(good, { lora_adapter_metadata: '{"unet.r":2}' }),
    /unet\.lora_alpha is missing/,
  ],
  [
    'PEFT without alpha',
    () => peftFolder({ peft_type: 'LORA', r: 2 }),
    /adapter_config\.json\n {2}lora_alpha is missing/,
  ],
  ['another method of PEFT', () => peftFolder({ ...peft, peft_type: 'IA3' }), /peft_type is "IA3", expected "LORA"/],
  ['DoRA', () => peftFolder({ ...peft, use_dora: true }), /use_dora is true, expected false/],
  ...Object.entries({
    use_qalora: true,
    lora_bias: true,
    bias: 'all',
    modules_to_save: ['proj_out'],
    target_parameters: ['experts.weight'],
    trainable_token_indices: [1],
    layer_replication: [[0, 4]],
    alora_invocation_tokens: [1, 2],
    arrow_config: { top_k: 2 },
    layers_to_transform: 'all',
    target_modules: 7,
  }).map(([key, value]): [string, () => Promise<void>, RegExp] => [
    key,
    () => peftFolder({ ...peft, [key]: value }),
    new RegExp(`adapter_config\\.json\\n {2}${key} is `),
  ]),
  ...['pissa', 'pissa_niter_16', 'olora', 'loftq', 'corda', 'lora_ga', 'PiSSA', 'new'].map(
    (start): [string, () => Promise<void>, RegExp] => [
      `init_lora_weights ${start}`,
      () => peftFolder({ ...peft, init_lora_weights: start }),
      /init_lora_weights is ".*", expected true, false, "gaussian".*others may alter/,
    ],
  ),
  [
    'a layer that the config does not name',
    () => peftFolder({ ...peft, target_modules: ['to_q'] }),
    /a\.to_out\.0\.lora_A\.weight is in the file, but target_modules does not name it \(adapter_config\.json\)/,
  ],
  [
    'a layer that the config excludes',
    () => peftFolder({ ...peft, target_modules: 'all-linear', exclude_modules: '.*to_q' }),
    /a\.to_q\.lora_A\.weight is in the file, but exclude_modules names it/,
  ],
  [
    'a block that the config leaves out',
    () => peftFolder({ ...peft, target_modules: ['to_q', 'to_out.0'], layers_to_transform: [1] }),
    /a\.to_q\.lora_A\.weight is in the file, but layers_to_transform is \[1\]/,
  ],
  ['a rank that is text', () => peftFolder({ ...peft, r: '2' }), /r is "2", expected a positive integer/],
  [
    'a rank that differs',
    () => peftFolder({ ...peft, rank_pattern: {} }),
    /to_out\.0\.lora_A\.weight has rank 4, expected 2 by adapter_config\.json/,
  ],
  [
    'a pattern that is none',
    () => peftFolder({ ...peft, rank_pattern: { '(': 4 } }),
    /rank_pattern is \{"\(":4\}, expected an object of ranks by pattern/,
  ],
])('%s is refused', async (_name, spoil, message) => {
  await spoil();
  const error = await loadedFrom(folder).then(
    () => expect.fail('the file was accepted'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ModelFileError);
  expect((error as Error).message).toMatch(message);
  expect(exitCodeOf(error)).toBe(6);
});
