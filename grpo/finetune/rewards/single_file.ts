/** Weights of rewards that are single files. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelFileError } from '../../../models/files/errors.js';
import { openTorchFile } from '../../../models/files/torch_file.js';
import { openWeights, readable } from '../../../models/files/weight_files.js';
import type { WeightSource } from '../../../models/files/weights.js';

/** A file of weights: `path` itself, or the one in the folder that fits. Throws a ModelFileError for none or several. */
export async function weightFile(path: string, pattern: RegExp, expected: string): Promise<string> {
  if ((await readable(path, () => stat(path))).isFile()) return path;
  const found = (await readable(path, () => readdir(path))).filter((name) => pattern.test(name)).sort();
  if (found.length === 1) return join(path, found[0]!);
  const what = found.length === 0 ? 'no' : `${found.join(', ')}: more than one`;
  throw new ModelFileError(path, [`${what} file of weights, expected ${expected}`]);
}

/** Opens a .safetensors file, or another as torch.save writes it. */
export const openAnyWeights = (path: string): Promise<WeightSource> =>
  path.endsWith('.safetensors') ? openWeights(path) : openTorchFile(path);
