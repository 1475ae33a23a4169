/** What a model folder is, as one hash: two machines that have it have the same weights, configs and tokenizers. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hashFile, sha256Of } from '../../engine/files.js';
import { findWeights } from './weight_files.js';

const isWeights = /\.(safetensors|bin|pt|ckpt|msgpack|onnx|h5)$|\.index(\.\w+)?\.json$/;
const isRead = /\.(json|txt|model)$/;

/**
 * SHA-256 over the names and hashes of a diffusers folder's files: its weights, of the wanted variant, its configs and its
 * tokenizers. Pictures, pages and weights that are not read do not count.
 */
export async function hashModelFolder(folder: string, variant?: string): Promise<string> {
  const parts = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const files = await filesIn(folder, variant);
  for (const { name } of parts) files.push(...(await filesIn(join(folder, name), variant)));
  return hashOf(files, (file) =>
    dirname(file) === folder ? basename(file) : join(basename(dirname(file)), basename(file)),
  );
}

/** SHA-256 over the names and hashes of all files below a folder, or of a file. */
export async function hashTree(path: string): Promise<string> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTDIR') return undefined;
      throw error;
    },
  );
  if (!entries) return hashFile(path);
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return hashOf(files, (file) => file.slice(path.length));
}

/** The files of one folder that loading it reads. */
async function filesIn(folder: string, variant: string | undefined): Promise<string[]> {
  const names = await readdir(folder);
  const weights = await findWeights(folder, { variant }).catch(() => undefined); // a tokenizer has none
  const others = names.filter((name) => isRead.test(name) && !isWeights.test(name)).map((name) => join(folder, name));
  return [...others, ...(weights?.shards.keys() ?? [])];
}

async function hashOf(files: readonly string[], nameOf: (file: string) => string): Promise<string> {
  const lines: string[] = [];
  for (const file of [...files].sort()) lines.push(`${nameOf(file)} ${await hashFile(file)}\n`);
  return sha256Of(lines.sort().join(''));
}
