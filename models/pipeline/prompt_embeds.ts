/** Conditions of prompts from a file, as diffusers' encode_prompt() gives them: what a folder without text encoders draws. */

import type { Device, Tensor } from '../../engine/index.js';
import { tensor } from '../../engine/index.js';
import type { SafetensorsFile } from '../../engine/safetensors.js';
import { formatShape } from '../../engine/tensor/shape.js';
import { convert, firstNonFinite, isWeightDType, weightDTypes } from '../files/convert.js';
import { ModelFileError } from '../files/errors.js';
import { openWeights, readable } from '../files/weight_files.js';
import type { Pipeline } from './pipeline.js';

/** Conditions by number; each call makes new tensors, [rows, ...], which are the caller's. */
export interface PromptEmbeds {
  readonly path: string;
  /** How many prompts there are. */
  readonly count: number;
  /** The shapes of one prompt's tensors. */
  readonly shapes: readonly (readonly number[])[];
  /** The conditions of some prompts, by their numbers from 0 on. */
  encode(numbers: readonly number[]): Tensor[];
  /** The condition of no prompt, or of the negative one, `count` times; undefined where the file has none. */
  readonly negative: ((count: number) => Tensor[]) | undefined;
}

/** One tensor of a condition, on the host. */
interface Rows {
  readonly rows: number;
  /** Of one row. */
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What a kind's file holds: the width of each tensor by its name in diffusers, and whether it has an axis of tokens. */
function expectedOf({
  kind,
  config,
}: Pick<Pipeline, 'kind' | 'config'>): [name: string, width: number, tokens: boolean][] {
  if (kind === 'sd1' && 'cross_attention_dim' in config)
    return [['prompt_embeds', Number(config.cross_attention_dim), true]];
  if (kind === 'sd3' && 'joint_attention_dim' in config)
    return [
      ['prompt_embeds', config.joint_attention_dim, true],
      ['pooled_prompt_embeds', config.pooled_projection_dim, false],
    ];
  return [];
}

/**
 * Reads a safetensors file with `prompt_embeds` [N, T, C], of SD3 also `pooled_prompt_embeds` [N, P], and perhaps the same behind
 * `negative_`, of one row or of N equal ones. Throws a ModelFileError that lists what is missing, misshapen, unknown or not finite.
 */
export async function readPromptEmbeds(
  pipeline: Pick<Pipeline, 'kind' | 'config' | 'device'>,
  path: string,
): Promise<PromptEmbeds> {
  const expected = expectedOf(pipeline);
  if (expected.length === 0)
    throw new ModelFileError(path, [`a pipeline of the kind ${pipeline.kind} reads no prompts`]);
  const file = await openWeights(path);
  try {
    const problems: string[] = [];
    const known = expected.flatMap(([name]) => [name, `negative_${name}`]);
    for (const { name } of file.entries.values())
      if (!known.includes(name)) problems.push(`${name} is in the file, expected ${known.join(', ')}`);
    const read = (prefix: string) => readAll(file, expected, prefix, problems);
    const positive = await read('');
    const negative = expected.some(([name]) => file.entries.has(`negative_${name}`))
      ? await read('negative_')
      : undefined;
    if (problems.length === 0 && negative) problems.push(...mismatches(positive, negative, expected));
    if (problems.length > 0) throw new ModelFileError(path, problems);
    const { device } = pipeline;
    return {
      path,
      count: positive[0]!.rows,
      shapes: positive.map(({ shape }) => shape),
      encode: (numbers) => positive.map((rows) => place(device, rows, numbers)),
      negative: negative && ((count) => negative.map((rows) => place(device, rows, Array<number>(count).fill(0)))),
    };
  } finally {
    await file.close();
  }
}

async function readAll(
  file: SafetensorsFile,
  expected: ReturnType<typeof expectedOf>,
  prefix: string,
  problems: string[],
): Promise<Rows[]> {
  const all: Rows[] = [];
  for (const [base, width, tokens] of expected) {
    const name = prefix + base;
    const entry = file.entries.get(name);
    const wanted = `[prompts, ${tokens ? 'tokens, ' : ''}${width}]`;
    if (!entry) problems.push(`${name} is missing, expected ${wanted}`);
    else if (!isWeightDType(entry.dtype))
      problems.push(`${name} is ${entry.dtype}, expected ${weightDTypes.join(', ')}`);
    else if (entry.shape.length !== (tokens ? 3 : 2) || entry.shape.at(-1) !== width || entry.shape.includes(0))
      problems.push(`${name} is ${formatShape(entry.shape)}, expected ${wanted}`);
    else {
      const bytes = await readable(file.path, () => file.readBytes(name));
      const values = convert(bytes, entry.dtype, 'f32') as Float32Array; // f32 gives no other
      const bad = firstNonFinite(values);
      if (bad >= 0) problems.push(`${name} holds ${values[bad]} at element ${bad}, expected a finite number`);
      all.push({ rows: entry.shape[0]!, shape: entry.shape.slice(1), values });
    }
  }
  const [first, ...others] = all;
  for (const { rows } of others)
    if (rows !== first?.rows)
      problems.push(`${prefix}prompt_embeds has ${first?.rows} prompts, the pooled ones ${rows}`);
  return all;
}

/** Why negative conditions can't stand beside the others. */
function* mismatches(
  positive: readonly Rows[],
  negative: readonly Rows[],
  expected: ReturnType<typeof expectedOf>,
): Iterable<string> {
  for (const [i, { rows, shape, values }] of negative.entries()) {
    const name = `negative_${expected[i]![0]}`;
    const own = positive[i]!;
    if (`${shape}` !== `${own.shape}`)
      yield `${name} is ${formatShape([rows, ...shape])}, expected ${formatShape([1, ...own.shape])}, as ${expected[i]![0]} has it`;
    const size = values.length / rows;
    const differs = values.findIndex((value, at) => value !== values[at % size]);
    if (differs >= 0)
      yield `${name}: row ${Math.floor(differs / size)} differs from row 0, expected one for all prompts`;
  }
}

function place(device: Device, { shape, values, rows }: Rows, numbers: readonly number[]): Tensor {
  const size = values.length / rows;
  const out = new Float32Array(numbers.length * size);
  for (const [i, number] of numbers.entries()) out.set(values.subarray(number * size, (number + 1) * size), i * size);
  return tensor(device, out, [numbers.length, ...shape]);
}
