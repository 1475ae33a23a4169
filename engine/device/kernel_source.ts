/** Kernels as files: where a plan's kernel and its includes lie, and their text. */
import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { assembleKernel, type KernelFile, type KernelSource, type Plan } from '../../kernels/kernel.js';
import { FileError } from '../errors.js';
import { packageRoot } from '../version.js';

const ours = pathToFileURL(join(packageRoot(), 'kernels', '/'));
const isOurs = (url: URL): boolean => url.href.startsWith(ours.href);

/** Text by URL: a file is read once in the life of the process. */
const texts = new Map<string, string>();

function read(url: URL): KernelFile {
  let text = texts.get(url.href);
  if (text === undefined) {
    text = readFileSync(url, 'utf8');
    texts.set(url.href, text);
  }
  return { file: isOurs(url) ? url.href.slice(ours.href.length) : fileURLToPath(url), text };
}

/** The file of an include: `./` and `../` start where the file that includes it lies, other names in kernels/. */
function findInclude(include: string, { file }: KernelFile, where: string): KernelFile {
  const relative = /^\.\.?\//.test(include);
  const base = !relative ? ours : isAbsolute(file) ? pathToFileURL(file) : new URL(file, ours);
  const url = new URL(include, base);
  try {
    return read(url);
  } catch (error) {
    const missing = relative
      ? `no file ${fileURLToPath(url)}`
      : `no "${include}" among winnow's kernels; the name of a file of one's own begins with ./`;
    throw new FileError(`${where}: there is ${missing}`, { cause: error });
  }
}

/** What the GPU compiles for a plan. Throws a FileError where a file can't be read. */
export function sourceOf({ kernel, variant }: Pick<Plan, 'kernel' | 'variant'>): KernelSource {
  const url = /^file:/.test(kernel) ? new URL(kernel) : new URL(`${kernel}.wgsl`, ours);
  let file: KernelFile;
  try {
    file = read(url);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'there is no such file' : message;
    throw new FileError(`can't read the kernel ${fileURLToPath(url)}: ${reason}`, { cause: error });
  }
  return assembleKernel(file, variant, findInclude);
}
