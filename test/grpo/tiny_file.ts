/** A configuration of a tiny model as a file, for tests that train by one. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tinyFolder } from './tiny.js';

/**
 * Writes prompts.txt, which is trained and tested on, and tiny.yaml, or another name, with a tiny model, by default Stable Diffusion,
 * and these sections, YAML. Returns the path of the latter.
 */
export async function writeTinyFile(
  folder: string,
  sections: string,
  prompts = 'a red circle\nthe blue cat\n',
  { name = 'tiny', model = 'sd1' } = {},
): Promise<string> {
  const [list, path] = [join(folder, 'prompts.txt'), join(folder, `${name}.yaml`)];
  await writeFile(list, prompts);
  const head = `model: { path: ${tinyFolder(model)}, weights: f32 }\nprompts: { train: ${list}, test: ${list} }\n`;
  await writeFile(path, head + sections);
  return path;
}
