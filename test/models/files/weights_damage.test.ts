/** Folders of weights that are wrong: a message for each way, and nothing stays in memory. */
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeError } from '../../../grpo/cli/describe_error.js';
import { loadWeights } from '../../../models/files/weights.js';
import {
  declare,
  device,
  failure,
  fileTensor,
  goTo,
  here,
  indexFile,
  shapes,
  single,
  tensors,
  write,
} from '../weight_folders.js';

const nan = Float64Array.from([1, 2, Number.NaN, 4]);
const path = (): string => join(here(), single);

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
      writeFileSync(join(here(), 'pytorch_model.bin'), '');
    },
    /\n {2}no weights that can be read: found pytorch_model\.bin, expected/,
  ],
  ['no folder', () => rmSync(here(), { recursive: true }), /\n {2}no such file or folder$/],
  [
    'two variants and no plain file',
    async () => {
      rmSync(path());
      await write('model.fp16.safetensors', tensors());
      await write('model.non_ema.safetensors', tensors());
    },
    /\n {2}only variants of the weights \(fp16, non_ema\): say which one \(--variant, model\.variant\)$/,
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
    join(here(), indexFile),
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
    expect(error.path.startsWith(here())).toBe(true);
    expect(describeError(error)).toMatch(/^error\[6\]: \//);
  },
);

test('each way of being wrong has a message of its own', async () => {
  const messages = new Set<string>();
  for (const [, spoil] of damages) {
    goTo();
    await write(single, tensors());
    await spoil();
    messages.add((await failure()).message.replaceAll(here(), ''));
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
  await loadWeights(device, here(), parameters);
  expect((await parameters.all.at(-1)!.tensor.data())[3]).toBe(70000);
  parameters.dispose();
});
