/** LoRA: on one layer, on a network against PEFT's values, as a reference policy, and in every file layout. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import {
  backward,
  capture,
  Linear,
  type LinearOptions,
  mean,
  noGrad,
  scope,
  square,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { type FileTensor, openSafetensors, type SafetensorsFile, writeSafetensors } from '../../engine/safetensors.js';
import { exitCodeOf } from '../../grpo/cli/exit_codes.js';
import { ModelFileError } from '../../models/errors.js';
import { linear } from '../../models/layers.js';
import { isTarget, Lora, loraTargets } from '../../models/lora.js';
import { loadLora, saveLora } from '../../models/lora_files.js';
import { SD3Transformer2DModel } from '../../models/mmdit.js';
import { Parameters } from '../../models/parameters.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  host,
  random,
  testDevice,
} from '../check.js';
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
} from './golden.js';

const device = await testDevice();
const root = mkdtempSync(join(tmpdir(), 'winnow-lora-'));
afterAll(() => rmSync(root, { recursive: true }));
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, `${count++}`);
  mkdirSync(folder);
});

// One layer

const [rows, inFeatures, outFeatures, rank] = [5, 12, 20, 3];
const layerInputs = [
  random([rows, inFeatures], 1),
  random([outFeatures, inFeatures], 2),
  random([outFeatures], 3),
  random([rank, inFeatures], 4),
  random([outFeatures, rank], 5),
  random([rows, outFeatures], 6),
];

const adapted =
  (options: LinearOptions = {}) =>
  (x: Tensor, weight: Tensor, bias: Tensor, down: Tensor, up: Tensor, residual: Tensor): Tensor => {
    const layer = new Linear(weight, bias);
    layer.lora = { down, up, scale: tensor(device, [1.5], []) };
    return layer.forward(x, { ...options, residual });
  };

/** With the product of the adapter added to the weight: activation(x (W + 1.5 B A)^T + bias) + residual. */
const fused =
  (activation: (value: number) => number) =>
  (...[x, weight, bias, down, up, residual]: Host[]): Host => {
    const y = new Float64Array(x!.shape[0]! * outFeatures);
    for (let o = 0; o < outFeatures; o++) {
      const row = Array.from({ length: inFeatures }, (_, i) => {
        let product = 0;
        for (let r = 0; r < rank; r++) product += up!.data[o * rank + r]! * down!.data[r * inFeatures + i]!;
        return weight!.data[o * inFeatures + i]! + 1.5 * product;
      });
      for (let n = 0; n < x!.shape[0]!; n++) {
        const sum = row.reduce((total, w, i) => total + w * x!.data[n * inFeatures + i]!, bias!.data[o]!);
        y[n * outFeatures + o] = activation(sum) + residual!.data[n * outFeatures + o]!;
      }
    }
    return host(residual!.shape, y);
  };

test('a layer with an adapter is the layer of the fused weights', async () => {
  const run = adapted();
  const reference = fused((value) => value);
  await checkForward(device, run, reference, layerInputs, { terms: inFeatures });
  await checkGradients(device, run, reference, layerInputs, { terms: inFeatures });
  await checkBatchInvariance(device, run, layerInputs, { batched: [0, 5] });
});

test('the adapter comes before the activation', async () => {
  const silu = (value: number): number => value / (1 + Math.exp(-value));
  const run = adapted({ activation: 'silu' });
  await checkForward(device, run, fused(silu), layerInputs, { terms: inFeatures });
  await checkGradients(device, run, fused(silu), layerInputs, { terms: inFeatures, wrt: [0, 3, 4, 5] });
});

// A network

interface SD3Golden extends Golden {
  readonly 'pos_embed.pos_embed': { readonly data: readonly number[] };
}

/** The tiny transformer with the weights of the golden files, and its inputs. */
function network(storage: 'f32' | 'f16' = 'f32') {
  const golden = readGolden('tiny_sd3_transformer') as SD3Golden;
  const parameters = new Parameters(device, { storage });
  const model = new SD3Transformer2DModel(parameters, readConfig('tiny_sd3_transformer'));
  fillByRule(parameters.all, { 'pos_embed.pos_embed': golden['pos_embed.pos_embed'].data });
  const inputs = Object.fromEntries(Object.keys(golden.inputs).map((key) => [key, goldenInput(device, golden, key)]));
  const { hidden_states: latents, timestep, encoder_hidden_states: context, pooled_projections: pooled } = inputs;
  const forward = (checkpoint = false): Tensor => model.forward(latents!, timestep!, context!, pooled!, { checkpoint });
  const dispose = (): void => {
    parameters.dispose();
    for (const input of Object.values(inputs)) input.dispose();
  };
  return { parameters, inputs, forward, dispose };
}

/** The LoRA file has no inputs of its own, and one output. */
interface LoraGolden extends Pick<Golden, 'grad'> {
  readonly keys: Readonly<Record<string, readonly number[]>>;
  readonly out: Golden['out'][string];
}
const loraGolden = readGolden('tiny_sd3_lora') as unknown as LoraGolden;
const expectedSample = loraGolden.out.data;

const sd3Options = { targets: loraTargets.jointAttention, rank: 4, alpha: 8 };
const peftName = (name: string, half: 'A' | 'B'): string => `base_model.model.${name}.lora_${half}.weight`;

/** The adapters as parameters under PEFT's names. */
const namedAdapters = ({ modules }: Lora) =>
  modules.flatMap(({ name, down, up }) => [
    { name: peftName(name, 'A'), shape: down.shape, tensor: down },
    { name: peftName(name, 'B'), shape: up.shape, tensor: up },
  ]);

/** The adapters of the golden file on the network. */
function goldenLora(parameters: Parameters): Lora {
  const lora = Lora.inject(parameters, sd3Options);
  fillByRule(namedAdapters(lora));
  return lora;
}

test("flow_grpo's eight targets of SD3 are the modules that PEFT adapts", () => {
  const { parameters, dispose } = network();
  const lora = Lora.inject(parameters, sd3Options);
  const shapes = Object.fromEntries(namedAdapters(lora).map(({ name, shape }) => [name, [...shape]]));
  expect(shapes).toEqual(loraGolden.keys);
  lora.dispose();
  dispose();
});

test.each([false, true])("outputs and gradients are PEFT's (checkpoint: %s)", async (checkpoint) => {
  const { parameters, inputs, forward, dispose } = network();
  const lora = goldenLora(parameters);
  const run = () => ({ sample: forward(checkpoint) });
  const { out, grad } = loraGolden;
  const golden = { ...readGolden('tiny_sd3_transformer'), out: { sample: out }, grad, grad_in: {} };
  await checkGoldenOutputs(device, golden, { parameters: namedAdapters(lora), inputs, run });
  await checkGoldenGradients(device, golden, { parameters: namedAdapters(lora), inputs, run });
  lora.dispose();
  dispose();
});

test('frozen weights of f16 serve', async () => {
  const { parameters, forward, dispose } = network('f16');
  const lora = goldenLora(parameters);
  const y = scope(device, () => noGrad(forward));
  expectClose(await y.data(), expectedSample, 2e-3, 'sample');
  y.dispose();
  lora.dispose();
  dispose();
});

test('nothing is computed for the gradients of frozen weights', async () => {
  const { parameters, forward, dispose } = network();
  const lora = goldenLora(parameters);
  const shapesOf = (tensors: readonly Tensor[]): Set<string> =>
    new Set(tensors.map(({ shape }) => `-> [${shape.join(', ')}] f32`));
  const frozen = shapesOf(parameters.all.filter(({ shape }) => shape.length === 2).map(({ tensor }) => tensor));
  for (const shape of shapesOf(lora.parameters)) frozen.delete(shape);
  /** What the backward pass makes in the shape of a frozen matrix. */
  const found = async (wrt: readonly Tensor[]): Promise<string[]> => {
    const step = await capture(device, () => backward(mean(square(forward())), wrt));
    const labels = step.dispatches.flatMap(({ buffers }) =>
      Object.values(buffers).map((range) => range?.storage.label),
    );
    step.dispose();
    return labels.filter(
      (label) => label?.startsWith('gradient of') && [...frozen].some((end) => label.endsWith(end)),
    ) as string[];
  };
  expect(await found(lora.parameters)).toEqual([]);
  const { tensor: weight } = parameters.all.find(({ name }) => name === 'transformer_blocks.0.attn.to_q.weight')!;
  expect(weight.requiresGrad).toBe(false);
  expect(await found([...lora.parameters, weight.requireGrad()])).not.toEqual([]);
  lora.dispose();
  dispose();
});

const bits = async (x: Tensor): Promise<number[]> => [...new Uint32Array(Float32Array.from(await x.data()).buffer)];

test('the reference policy is scale 0 in a captured step, and the network before the adapters, bit for bit', async () => {
  const { parameters, forward, dispose } = network();
  const plain = scope(device, () => noGrad(forward));
  const base = await bits(plain);

  const fresh = Lora.inject(parameters, sd3Options);
  const start = scope(device, () => noGrad(forward));
  expect(await bits(start)).toEqual(base); // B is zero
  fresh.dispose();

  const lora = goldenLora(parameters);
  const step = await capture(device, () => ({
    policy: noGrad(forward),
    reference: lora.without(() => noGrad(forward)),
  }));
  step.run();
  const policy = await bits(step.outputs.policy);
  expect(policy).not.toEqual(base);
  expect(await bits(step.outputs.reference)).toEqual(base);
  lora.enable(false);
  step.run();
  expect(await bits(step.outputs.policy)).toEqual(base);
  lora.enable(true);
  step.run();
  expect(await bits(step.outputs.policy)).toEqual(policy);
  step.dispose();
  for (const each of [plain, start]) each.dispose();
  lora.dispose();
  const after = scope(device, () => noGrad(forward));
  expect(await bits(after)).toEqual(base);
  after.dispose();
  dispose();
});

// Injection

/** Linear layers of the given names, 16 to 8 features. */
function layersNamed(names: readonly string[]): Parameters {
  const parameters = new Parameters(device);
  for (const name of names) linear(parameters, name, 16, 8);
  return parameters;
}

test('a target names what is equal to it or ends in a dot and it', () => {
  expect(isTarget('blocks.0.attn.to_q', ['attn.to_q'])).toBe(true);
  expect(isTarget('attn.to_q', ['attn.to_q'])).toBe(true);
  expect(isTarget('blocks.0.attn2.to_q', ['attn.to_q'])).toBe(false);
  expect(isTarget('blocks.0.cross_attn.to_q', ['attn.to_q'])).toBe(false);
  expect(isTarget('blocks.0.to_q', /blocks\.\d\.to_./)).toBe(true);
  expect(isTarget('blocks.0.to_q.x', /blocks\.\d\.to_./)).toBe(false);
});

test("the attention preset takes all of a UNet's attention projections and nothing else", () => {
  const weights = Object.entries(readShapes('tiny_unet_conv')).filter(([, shape]) => shape.length === 2);
  const names = weights
    .map(([name]) => name.replace(/\.weight$/, ''))
    .filter((name) => isTarget(name, loraTargets.attention));
  expect(names.length).toBeGreaterThan(0);
  expect(names.length % 8).toBe(0); // two attentions of four projections in each block
  for (const name of names) expect(name).toMatch(/transformer_blocks\.0\.attn[12]\.to_(q|k|v|out\.0)$/);
});

test('"A" is normal with standard deviation 1 / rank, by seed; "B" is zero', async () => {
  const parameters = new Parameters(device);
  linear(parameters, 'a.to_q', 1024, 8);
  linear(parameters, 'b.to_q', 1024, 8);
  const values: number[][] = [];
  for (const seed of [1, 1, 2]) {
    const lora = Lora.inject(parameters, { targets: ['to_q'], rank: 8, seed });
    const [down, up] = lora.parameters;
    const data = [...(await down!.data())];
    values.push(data, [...(await lora.parameters[2]!.data())]);
    const std = Math.sqrt(data.reduce((total, value) => total + value ** 2, 0) / data.length);
    expect(std * 8).toBeGreaterThan(0.97); // 8192 draws: 0.8 % standard error
    expect(std * 8).toBeLessThan(1.03);
    expect((await up!.data()).every((value) => value === 0)).toBe(true);
    expect(await lora.scale.item()).toBe(1);
    lora.dispose();
  }
  expect(values[2]).toEqual(values[0]);
  expect(values[1]).not.toEqual(values[0]);
  expect(values[4]).not.toEqual(values[0]);
  parameters.dispose();
});

test('injection refuses targets that name nothing, a second adapter and wrong options', () => {
  const parameters = layersNamed(['a.to_q', 'a.to_k']);
  const inject = (targets: readonly string[] | RegExp, options = {}): Lora =>
    Lora.inject(parameters, { targets, rank: 2, ...options });
  expect(() => inject(['to_q', 'to_x'])).toThrow('LoRA: no linear layer of the 2 is named by to_x');
  expect(() => inject(/b\..*/)).toThrow('LoRA: no linear layer of the 2 is named by /b\\..*/');
  expect(() => inject(['to_q'], { rank: 0 })).toThrow('LoRA: rank: expected a positive integer, found 0');
  expect(() => inject(['to_q'], { alpha: 0 })).toThrow('LoRA: alpha: expected a positive number, found 0');
  const lora = inject(['to_q']);
  expect(() => inject(/.*/)).toThrow('LoRA: a.to_q has an adapter already');
  lora.dispose();
  parameters.dispose();
});

// Files

const component = 'transformer';
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

test.each(['peft', 'diffusers'] as const)('adapters saved for %s load at full strength', async (format) => {
  const { parameters, forward, dispose } = network();
  const lora = goldenLora(parameters);
  expect(await saveLora(folder, lora, { format, component })).toBe(join(folder, fileNames[format]));
  lora.dispose();
  const loaded = await loadLora(folder, parameters, { component });
  expect(loaded.alpha / loaded.rank).toBe(format === 'peft' ? 2 : 1);
  const y = scope(device, () => noGrad(forward));
  expectClose(await y.data(), expectedSample, modelTolerance, 'sample');
  y.dispose();
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

/** Loads a diffusers file of the given tensors onto layers a.to_q and a.to_out.0, and reads up and scale of the first. */
async function loadedFrom(path: string, prefixOf: 'unet' | 'transformer' = 'unet') {
  const parameters = layersNamed(['a.to_q', 'a.to_out.0']);
  const lora = await loadLora(path, parameters, { component: prefixOf }).catch((error: unknown) => {
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
