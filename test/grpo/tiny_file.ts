/** A configuration of a tiny model as a file, for tests that train by one. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tinyFolder } from './tiny.js';

/**
 * Writes prompts.txt, which is trained and tested on, and tiny.yaml with the tiny Stable Diffusion and these sections, YAML.
 * Returns the path of tiny.yaml.
 */
export async function writeTinyFile(
  folder: string,
  sections: string,
  prompts = 'a red circle\nthe blue cat\n',
): Promise<string> {
  const [list, path] = [join(folder, 'prompts.txt'), join(folder, 'tiny.yaml')];
  await writeFile(list, prompts);
  const head = `model: { path: ${tinyFolder('sd1')}, weights: f32 }\nprompts: { train: ${list}, test: ${list} }\n`;
  await writeFile(path, head + sections);
  return path;
}
