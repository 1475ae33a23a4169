/** Loading weights: every layout and element type, and a message for each way a folder can be wrong. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { fromHalf, toHalf } from '../../engine/dtype.js';
import { type FileDType, type FileTensor, openSafetensors, writeSafetensors } from '../../engine/safetensors.js';
import { describeError, exitCodeOf } from '../../grpo/cli/exit_codes.js';
import { convert } from '../../models/convert.js';
import { ModelFileError } from '../../models/errors.js';
import { clipTextKeys, clipVisionKeys, type KeyLayout, t5Keys, vaeKeys } from '../../models/key_layouts.js';
import { conv2d, layerNorm, linear } from '../../models/layers.js';
import { Parameters } from '../../models/parameters.js';
import { type LoadOptions, loadWeights, saveWeights } from '../../models/weights.js';
import { random, testDevice } from '../check.js';
import { temporaryFolder } from '../temporary.js';

const device = await testDevice();
const root = temporaryFolder();

let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, `${count++}`);
  mkdirSync(folder);
});

const single = 'diffusion_pytorch_model.safetensors';
const indexFile = 'diffusion_pytorch_model.safetensors.index.json';

/** A network of every kind of weight: a convolution, a norm and a linear layer. */
function declare(storage: 'f32' | 'f16' = 'f32'): Parameters {
  const parameters = new Parameters(device, { storage });
  conv2d(parameters, 'conv_in', 3, 4, 1);
  layerNorm(parameters, 'block.norm', 4, 1e-5);
  linear(parameters, 'block.to_q', 4, 5, { bias: false });
  return parameters;
}

const shapes: Readonly<Record<string, readonly number[]>> = {
  'conv_in.weight': [4, 3, 1, 1],
  'conv_in.bias': [4],
  'block.norm.weight': [4],
  'block.norm.bias': [4],
  'block.to_q.weight': [5, 4],
};

/** The values of a weight: representable in every element type. */
const valuesOf = (name: string): Float64Array =>
  random(shapes[name]!, name.length, { low: -4, high: 4 }).data.map((value) => Math.round(value * 16) / 16);

function encode(values: ArrayLike<number>, dtype: FileDType): ArrayBufferView {
  if (dtype === 'F16') return Uint16Array.from(values, toHalf);
  if (dtype === 'F64') return Float64Array.from(values);
  if (dtype === 'I64') return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.round(value))));
  const floats = Float32Array.from(values);
  return dtype === 'BF16' ? Uint16Array.from(new Uint32Array(floats.buffer), (bits) => bits >>> 16) : floats;
}

const fileTensor = (shape: readonly number[], values: ArrayLike<number>, dtype: FileDType = 'F32'): FileTensor => ({
  dtype,
  shape,
  data: encode(values, dtype),
});

/** The network's tensors as a file has them; `change` edits the list. */
function tensors(dtype: FileDType = 'F32', change: Readonly<Record<string, FileTensor | undefined>> = {}) {
  const all = Object.keys(shapes).map((name) => [name, fileTensor(shapes[name]!, valuesOf(name), dtype)] as const);
  const merged = { ...Object.fromEntries(all), ...change };
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, FileTensor] => !!entry[1]));
}

const write = (file: string, content: Record<string, FileTensor>): Promise<void> =>
  writeSafetensors(join(folder, file), content, { format: 'pt' });

/** Loads, compares every weight with its values, and frees. */
async function expectLoaded(options: LoadOptions = {}, storage: 'f32' | 'f16' = 'f32') {
  const parameters = declare(storage);
  const loaded = await loadWeights(folder, parameters, options);
  for (const { name, tensor } of parameters.all) {
    expect(Array.from(await tensor.data()), name).toEqual(Array.from(valuesOf(name)));
  }
  parameters.dispose();
  return { ...loaded, files: loaded.files.map((file) => basename(file)) };
}

/** The error of a load that must fail, after which no weight is left. */
async function failure(options: LoadOptions = {}, storage: 'f32' | 'f16' = 'f32'): Promise<ModelFileError> {
  const parameters = declare(storage);
  const error = await loadWeights(folder, parameters, options).then(
    () => expect.fail('the folder was accepted'),
    (reason: unknown) => reason,
  );
  expect(parameters.all.every(({ tensor }) => tensor.disposed)).toBe(true);
  expect(error).toBeInstanceOf(ModelFileError);
  expect(exitCodeOf(error)).toBe(6);
  return error as ModelFileError; // as expected above
}

test.each(['F32', 'F16', 'BF16', 'F64'] as const)('a single file of %s fills weights of f32 and f16', async (dtype) => {
  await write(single, tensors(dtype));
  expect(await expectLoaded()).toEqual({ files: [single], variant: undefined });
  await expectLoaded({}, 'f16');
});

test('16-bit patterns convert as the types say, subnormals included', () => {
  const patterns = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
  const bytes = new Uint8Array(patterns.buffer);
  expect(convert(bytes, 'F16', 'f32')).toEqual(Float32Array.from(patterns, fromHalf));
  const brain = convert(bytes, 'BF16', 'f32');
  expect(new Uint32Array(brain.buffer)[0x3f81]).toBe(0x3f810000);
  expect([...convert(bytes, 'BF16', 'f16').slice(0x3f80, 0x3f83)]).toEqual([1, 1.0078125, 1.015625].map(toHalf));
  expect(convert(bytes, 'F16', 'f16')).toEqual(patterns);
  const floats = random([1 << 16], 3, { low: -1e5, high: 1e5 }).data.map((value, i) => value * 2 ** -(i % 48));
  const values = Float32Array.from(floats);
  expect(convert(new Uint8Array(values.buffer), 'F32', 'f16')).toEqual(Uint16Array.from(values, toHalf));
});

test('an index leads to its shards, which may hold more', async () => {
  const { 'conv_in.weight': first, ...rest } = tensors();
  await write('diffusion_pytorch_model-00001-of-00002.safetensors', { 'conv_in.weight': first! });
  await write('diffusion_pytorch_model-00002-of-00002.safetensors', { ...rest, more: fileTensor([1], [0]) });
  const weightMap = Object.fromEntries(
    Object.keys(shapes).map((name, i) => [name, `diffusion_pytorch_model-0000${i === 0 ? 1 : 2}-of-00002.safetensors`]),
  );
  writeFileSync(join(folder, indexFile), JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }));
  expect((await expectLoaded()).files).toHaveLength(2);
});

test('plain files come before a variant, unless it is asked for; a folder without it falls back', async () => {
  await write('model.fp16.safetensors', tensors('F16'));
  expect(await expectLoaded()).toEqual({ files: ['model.fp16.safetensors'], variant: 'fp16' });
  await write('model.safetensors', tensors());
  expect((await expectLoaded()).files).toEqual(['model.safetensors']);
  expect((await expectLoaded({ variant: 'fp16' })).files).toEqual(['model.fp16.safetensors']);
  expect(await expectLoaded({ variant: 'bf16' })).toEqual({ files: ['model.safetensors'], variant: undefined });
});

test('shards of a variant, in the older and the newer spelling', async () => {
  const shards = ['diffusion_pytorch_model-00001-of-00001.fp16', 'diffusion_pytorch_model.fp16-00001-of-00001'];
  for (const shard of shards) {
    await write(`${shard}.safetensors`, tensors('F16'));
    const weightMap = Object.fromEntries(Object.keys(shapes).map((name) => [name, `${shard}.safetensors`]));
    const index = 'diffusion_pytorch_model.safetensors.index.fp16.json';
    writeFileSync(join(folder, index), JSON.stringify({ weight_map: weightMap }));
    expect(await expectLoaded({ variant: 'fp16' })).toEqual({ files: [`${shard}.safetensors`], variant: 'fp16' });
  }
});

test('links are followed, as in the cache of the hub', async () => {
  mkdirSync(join(folder, 'blobs'));
  await write('blobs/0a1b', tensors());
  mkdirSync(join(folder, 'snapshot'));
  symlinkSync('../blobs/0a1b', join(folder, 'snapshot', single));
  folder = join(folder, 'snapshot');
  await expectLoaded();
});

test('a 1x1 convolution may lie in the file as a matrix, and a matrix as a convolution', async () => {
  await write(
    single,
    tensors('F32', {
      'conv_in.weight': fileTensor([4, 3], valuesOf('conv_in.weight')),
      'block.to_q.weight': fileTensor([5, 4, 1, 1], valuesOf('block.to_q.weight')),
    }),
  );
  await expectLoaded();
});

test('what was saved loads again, and f16 halves the file', async () => {
  await write(single, tensors());
  const parameters = declare('f16');
  await loadWeights(folder, parameters);
  await saveWeights(folder, parameters, { name: 'model', dtype: 'F16' });
  parameters.dispose();
  const file = await openSafetensors(join(folder, 'model.safetensors'));
  expect(file.metadata).toEqual({ format: 'pt' });
  expect(file.entry('block.to_q.weight')).toMatchObject({ dtype: 'F16', shape: [5, 4], bytes: 40 });
  await file.close();
  rmSync(join(folder, single));
  expect((await expectLoaded()).files).toEqual(['model.safetensors']);
});

const otherKeys: readonly [string, KeyLayout, readonly string[], readonly string[]][] = [
  [
    'an old VAE',
    vaeKeys,
    ['encoder.mid_block.attentions.0.to_q.weight', 'decoder.mid_block.attentions.0.to_out.0.bias'],
    ['encoder.mid_block.attentions.0.query.weight', 'decoder.mid_block.attentions.0.proj_attn.bias'],
  ],
  [
    'a text encoder without its prefix',
    clipTextKeys,
    ['text_model.embeddings.token_embedding.weight'],
    ['embeddings.token_embedding.weight', 'embeddings.position_ids'],
  ],
  [
    'a whole CLIP, for its text encoder',
    clipTextKeys,
    ['text_model.final_layer_norm.weight', 'text_projection.weight'],
    [
      'text_model.final_layer_norm.weight',
      'text_projection.weight',
      'vision_model.post_layernorm.weight',
      'logit_scale',
    ],
  ],
  [
    'a whole CLIP, for its image encoder',
    clipVisionKeys,
    ['vision_model.post_layernorm.weight'],
    [
      'vision_model.post_layernorm.weight',
      'vision_model.embeddings.position_ids',
      'text_model.final_layer_norm.weight',
    ],
  ],
  ['a T5 with both names of its table', t5Keys, ['shared.weight'], ['shared.weight', 'encoder.embed_tokens.weight']],
  [
    'a whole T5',
    t5Keys,
    ['shared.weight'],
    ['encoder.embed_tokens.weight', 'decoder.final_layer_norm.weight', 'lm_head.weight'],
  ],
];

test.each(otherKeys)('%s loads under the names of its file', async (_name, keys, declared, held) => {
  const parameters = new Parameters(device);
  for (const name of declared) parameters.tensor(name, [2, 2]);
  await write('model.safetensors', Object.fromEntries(held.map((name) => [name, fileTensor([2, 2], [1, 2, 3, 4])])));
  await loadWeights(folder, parameters, { keys });
  for (const { tensor } of parameters.all) expect([...(await tensor.data())]).toEqual([1, 2, 3, 4]);
  parameters.dispose();
});

const nan = Float64Array.from([1, 2, Number.NaN, 4]);
const path = (): string => join(folder, single);

/** Each spoils a good folder; the message has these words, in this order. */
const damages: readonly [string, () => unknown, RegExp][] = [
  [
    'a missing tensor',
    () => write(single, tensors('F32', { 'conv_in.bias': undefined })),
    /^.*diffusion_pytorch_model\.safetensors\n {2}conv_in\.bias is missing, expected \[4\]$/,
  ],
  [
    'an extra tensor',
    () => write(single, tensors('F32', { 'conv_in.scale': fileTensor([2], [1, 2]) })),
    /safetensors\n {2}conv_in\.scale \[2\] F32 is in the file, expected no such weight$/,
  ],
  [
    'a misshapen tensor',
    () => write(single, tensors('F32', { 'block.to_q.weight': fileTensor([4, 5], new Float64Array(20)) })),
    /safetensors\n {2}block\.to_q\.weight is \[4, 5\], expected \[5, 4\]$/,
  ],
  [
    'a tensor with NaN',
    () => write(single, tensors('F32', { 'block.norm.bias': fileTensor([4], nan) })),
    /safetensors\n {2}block\.norm\.bias holds NaN at element 2, expected a finite number$/,
  ],
  [
    'a tensor with infinity in F16',
    () => write(single, tensors('F16', { 'block.norm.bias': fileTensor([4], [0, -Infinity, 0, 0], 'F16') })),
    /block\.norm\.bias holds -Infinity at element 1, expected a finite number$/,
  ],
  [
    'a tensor of integers',
    () => write(single, tensors('F32', { 'block.norm.bias': fileTensor([4], [1, 2, 3, 4], 'I64') })),
    /block\.norm\.bias is I64, expected F32, F16, BF16, F64$/,
  ],
  [
    'a truncated file',
    () => truncateSync(path(), readFileSync(path()).length - 4),
    /safetensors\n {2}\S+: ends at byte \d+, but the file has \d+ \(truncated\?\)$/,
  ],
  [
    'an oversized header',
    () => writeFileSync(path(), Buffer.from([0, 0, 0, 0, 0, 1, 0, 0])),
    /safetensors\n {2}header of 1099511627776 bytes, expected at most 100000000$/,
  ],
  [
    'a header that is not JSON',
    () => writeFileSync(path(), Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{"a"')])),
    /safetensors\n {2}the header is not JSON/,
  ],
  [
    'overlapping tensors',
    () => overlap(),
    /safetensors\n {2}b overlaps the tensor before it: starts at byte 4, expected 8$/,
  ],
  ['a type of 8 bits', () => overlap('F8_E4M3'), /safetensors\n {2}a: unknown dtype "F8_E4M3", expected one of/],
  [
    'a pointer of git-lfs',
    () => writeFileSync(path(), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n'),
    /safetensors\n {2}a pointer of git-lfs, expected the file it stands for/,
  ],
  ['an empty file', () => writeFileSync(path(), ''), /safetensors\n {2}truncated: 0 bytes/],
  [
    'no weights',
    () => rmSync(path()),
    /\n {2}no weights: expected diffusion_pytorch_model\.safetensors or model\.safetensors/,
  ],
  [
    'weights of another format only',
    () => {
      rmSync(path());
      writeFileSync(join(folder, 'pytorch_model.bin'), '');
    },
    /\n {2}no weights that can be read: found pytorch_model\.bin, expected/,
  ],
  ['no folder', () => rmSync(folder, { recursive: true }), /\n {2}no such file or folder$/],
  [
    'two variants and no plain file',
    async () => {
      rmSync(path());
      await write('model.fp16.safetensors', tensors());
      await write('model.non_ema.safetensors', tensors());
    },
    /\n {2}only variants of the weights \(fp16, non_ema\): say which one$/,
  ],
  ['an index that is not JSON', () => index('{"weight_map":'), /index\.json\n {2}not JSON: /],
  [
    'an index without a map',
    () => index('{"weight_map":[]}'),
    /index\.json\n {2}weight_map is \[\], expected an object/,
  ],
  [
    'an index that points outside its folder',
    () => index({ 'conv_in.bias': '../other/model.safetensors', 'conv_in.weight': '/etc/model.safetensors' }),
    /index\.json\n {2}weight_map\.conv_in\.bias is "\.\.\/other\/model\.safetensors", expected a \.safetensors file of the same folder\n {2}weight_map\.conv_in\.weight is "\/etc/,
  ],
  [
    'an index that points to a shard that is absent',
    () => index({ 'conv_in.bias': 'model-00001-of-00001.safetensors' }),
    /model-00001-of-00001\.safetensors\n {2}no such file or folder$/,
  ],
  [
    'a shard without a tensor of the index',
    async () => {
      await write('a.safetensors', tensors('F32', { 'conv_in.bias': undefined }));
      index(Object.fromEntries(Object.keys(shapes).map((name) => [name, 'a.safetensors'])));
    },
    /index\.json\n {2}a\.safetensors: no conv_in\.bias, which the index puts there\n {2}conv_in\.bias is missing/,
  ],
];

/** A file by hand whose two tensors share a byte range. */
function overlap(dtype = 'F32'): void {
  const header = Buffer.from(
    JSON.stringify({
      a: { dtype, shape: [2], data_offsets: [0, 8] },
      b: { dtype: 'F32', shape: [2], data_offsets: [4, 12] },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path(), Buffer.concat([length, header, Buffer.alloc(12)]));
}

/** An index instead of the single file. */
function index(content: string | Readonly<Record<string, string>>): void {
  rmSync(path());
  writeFileSync(
    join(folder, indexFile),
    typeof content === 'string' ? content : JSON.stringify({ weight_map: content }),
  );
}

test.each(damages)(
  '%s is refused by file, key, what was found and what was expected',
  async (_name, spoil, message) => {
    await write(single, tensors());
    await spoil();
    const error = await failure();
    expect(error.message).toMatch(message);
    expect(error.path.startsWith(folder)).toBe(true);
    expect(describeError(error)).toMatch(/^error\[6\]: \//);
  },
);

test('each way of being wrong has a message of its own', async () => {
  const messages = new Set<string>();
  for (const [, spoil] of damages) {
    folder = join(root, `${count++}`);
    mkdirSync(folder);
    await write(single, tensors());
    await spoil();
    messages.add((await failure()).message.replaceAll(folder, ''));
  }
  expect(messages.size).toBe(damages.length);
});

test('several problems are listed together, up to a limit', async () => {
  await write(single, {
    'conv_in.weight': fileTensor([4, 4, 1, 1], new Float64Array(16)),
    ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`extra.${i}`, fileTensor([1], [0])])),
  });
  const { message, problems } = await failure();
  expect(problems).toHaveLength(14);
  expect(message.split('\n')).toHaveLength(1 + 8 + 1);
  expect(message).toMatch(/conv_in\.weight is \[4, 4, 1, 1\], expected \[4, 3, 1, 1\]\n {2}conv_in\.bias is missing/);
  expect(message).toMatch(/\n {2}and 6 more$/);
});

test('a value beyond f16 is refused where weights are stored so, and fits f32', async () => {
  await write(single, tensors('F32', { 'block.to_q.weight': fileTensor([5, 4], new Float64Array(20).fill(70000)) }));
  expect((await failure({}, 'f16')).message).toMatch(
    /block\.to_q\.weight holds 70000 at element 0, expected at most 65504/,
  );
  const parameters = declare();
  await loadWeights(folder, parameters);
  expect((await parameters.all.at(-1)!.tensor.data())[3]).toBe(70000);
  parameters.dispose();
});

test('a tensor larger than what is read at once arrives whole', async () => {
  const rows = 4200; // 4200 x 4096 in F32 is 69 MB: one piece of 64 MiB, and a rest
  const values = new Float32Array(rows * 4096);
  for (let i = 0; i < values.length; i++) values[i] = i % 2039;
  await write(single, { table: { dtype: 'F32', shape: [rows, 4096], data: values } });
  const parameters = new Parameters(device);
  const table = parameters.tensor('table', [rows, 4096]);
  await loadWeights(folder, parameters);
  const loaded = await table.data();
  expect(
    Buffer.compare(Buffer.from(loaded.buffer, loaded.byteOffset, loaded.byteLength), Buffer.from(values.buffer)),
  ).toBe(0);
  parameters.dispose();
});
