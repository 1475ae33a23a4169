/** A taste in its folder: taste.json says what it is, head.safetensors has its weights. What does not belong together is refused. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sha256Of, writeWhole, writing } from '../../../engine/files.js';
import type { Device } from '../../../engine/index.js';
import { type FileTensor, writeSafetensors } from '../../../engine/safetensors.js';
import { ModelFileError, processWarning, type Warn } from '../../../models/files/errors.js';
import { openWeights, readable, readJson, shown } from '../../../models/files/weight_files.js';
import { clipHash, groupNames, openFeatures } from './features.js';
import type { GroupHead } from './fit.js';
import { type Taste, type TasteFacts, tasteOf } from './taste.js';
import { votesName } from './votes.js';

export const tasteName = 'taste.json';
export const headName = 'head.safetensors';

const remedy = `remove ${tasteName}, and the taste is fitted again when it is next asked for`;

const count = z.int().min(0);
const share = z.number().min(0).max(1);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const numbers = z.array(z.number());
const agreed = { agree: z.number().min(0), of: count, low: share, high: share };

/** What taste.json holds. Only groups with a strength have means and deviations, and weights in head.safetensors. */
const tasteSchema = z.strictObject({
  version: z.literal(1),
  words: z.array(z.string()).readonly(),
  agreement: z.strictObject({ ...agreed, history: z.array(z.strictObject({ votes: count, ...agreed })).readonly() }),
  base: z.strictObject({ taste: z.number().min(0), clip: z.number().min(0), pictures: count }),
  clip: z.strictObject({ folder: z.string(), sha256: hash }),
  model: z.string().optional(),
  votes: z.strictObject({ count, lines: count, bytes: count, sha256: hash }),
  strengths: z.partialRecord(z.enum(groupNames), z.number().min(0)),
  features: z.partialRecord(
    z.enum(groupNames),
    z.strictObject({ mean: numbers, deviation: z.array(z.number().gt(0)) }),
  ),
  /** SHA-256 of the weights' bytes, group after group. */
  weights: hash,
});

const bytesOf = ({ buffer, byteOffset, byteLength }: Float64Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const usedGroups = (groups: readonly GroupHead[]): GroupHead[] => groups.filter(({ strength }) => strength > 0);

/** SHA-256 of a taste's weights, group after group, as taste.json has it. */
export const weightsHash = (groups: readonly GroupHead[]): string =>
  sha256Of(Buffer.concat(usedGroups(groups).map(({ weights }) => bytesOf(weights))));

/** Writes a taste into its folder, each file whole; taste.json last. Throws a FileError where that can't be. */
export async function writeTaste(folder: string, taste: TasteFacts): Promise<void> {
  const used = usedGroups(taste.groups);
  const { words, agreement, base, clip, model, votes } = taste;
  const text = `${JSON.stringify(
    {
      version: 1,
      words,
      agreement,
      base,
      clip,
      model,
      votes,
      strengths: Object.fromEntries(taste.groups.map(({ name, strength }) => [name, strength])),
      features: Object.fromEntries(
        used.map(({ name, mean, deviation }) => [name, { mean: [...mean], deviation: [...deviation] }]),
      ),
      weights: weightsHash(used),
    } satisfies z.input<typeof tasteSchema>,
    null,
    1,
  )}\n`;
  const tensors = used.map(({ name, weights }): [string, FileTensor] => [
    name,
    { dtype: 'F64', shape: [weights.length], data: weights },
  ]);
  const path = join(folder, headName);
  await writing(path, () => writeSafetensors(path, Object.fromEntries(tensors), { taste: sha256Of(text) }));
  await writeWhole(join(folder, tasteName), text);
}

/**
 * Reads what is known of a folder's taste. Throws a ModelFileError for files that are missing, cut or edited, that are not of
 * one another, or whose votes are others than those it was fitted to; `warn` is told of votes that came after.
 */
export async function readTaste(folder: string, { warn = processWarning }: { warn?: Warn } = {}): Promise<TasteFacts> {
  const path = join(folder, tasteName);
  const json = await readJson(path);
  const parsed = tasteSchema.safeParse(json);
  if (!parsed.success)
    throw new ModelFileError(
      path,
      parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    );
  const { strengths, features, weights, version: _, ...facts } = parsed.data;
  const text = await readable(path, () => readFile(path));
  await checkVotes(folder, facts.votes, warn);
  const head = join(folder, headName);
  const file = await openWeights(head);
  try {
    if (file.metadata.taste !== sha256Of(text))
      throw new ModelFileError(head, [`is not of this ${tasteName}, or one of the two was edited: ${remedy}`]);
    const groups: GroupHead[] = [];
    for (const name of groupNames) {
      const strength = strengths[name];
      if (strength === undefined) continue;
      const own = features[name] ?? { mean: [], deviation: [] };
      const [mean, deviation] = [Float64Array.from(own.mean), Float64Array.from(own.deviation)];
      const entry = file.entries.get(name);
      const isFit = entry ? entry.dtype === 'F64' && `${entry.shape}` === `${mean.length}` : strength === 0;
      if (!isFit || mean.length !== deviation.length)
        throw new ModelFileError(head, [
          `${name} is ${shown(entry && [entry.dtype, ...entry.shape])}, expected F64 [${mean.length}]`,
        ]);
      const values = entry ? ((await readable(head, () => file.read(name))) as Float64Array) : new Float64Array(0);
      groups.push({ name, strength, mean, deviation, weights: values });
    }
    if (weightsHash(groups) !== weights)
      throw new ModelFileError(head, [`its weights are not those of ${tasteName}: ${remedy}`]);
    return { ...facts, groups };
  } finally {
    await file.close();
  }
}

/** Votes may have come since, and the file may be elsewhere; but those that the taste was fitted to stay as they were. */
async function checkVotes(folder: string, votes: TasteFacts['votes'], warn: Warn): Promise<void> {
  const path = join(folder, votesName);
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined) return;
  if (bytes.length < votes.bytes || sha256Of(bytes.subarray(0, votes.bytes)) !== votes.sha256)
    throw new ModelFileError(path, [`is not what the taste was fitted to: it was edited or cut; ${remedy}`]);
  if (bytes.length > votes.bytes) warn(`${path} has votes that came after the taste was fitted`);
}

/**
 * Loads the taste of a folder. Throws a ModelFileError as readTaste() does, and where the CLIP is not the one whose features it
 * was fitted to.
 */
export async function loadTaste(device: Device, folder: string, options: { warn?: Warn } = {}): Promise<Taste> {
  const facts = await readTaste(folder, options);
  const { clip, groups } = facts;
  const found = await clipHash(clip.folder);
  if (found !== clip.sha256)
    throw new ModelFileError(join(folder, tasteName), [
      `was fitted with another CLIP: ${clip.folder} has the hash ${found}, expected ${clip.sha256}; ${remedy}`,
    ]);
  const reader = await openFeatures(
    device,
    clip.folder,
    usedGroups(groups).map(({ name }) => name),
  );
  return tasteOf(facts, reader, () => reader.dispose());
}
