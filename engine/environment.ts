/** The environment variables that this program reads, each with its type, its range and what is refused; nowhere else. */
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { EnvironmentError } from './errors.js';

type Environment = NodeJS.ProcessEnv;

/** An empty variable is one that is not set, as shells have it. */
const textOf = (env: Environment, name: string): string | undefined => env[name] || undefined;

function refuse(name: string, found: string, expected: string): never {
  throw new EnvironmentError(`the environment's ${name} is ${JSON.stringify(found)}, expected ${expected}`);
}

/** `WINNOW_MEMORY`: the most bytes of GPU memory to use, given in GB, above 0; `Infinity` is no limit. Throws an EnvironmentError. */
export function memoryOf(env: Environment = process.env): number | undefined {
  const text = textOf(env, 'WINNOW_MEMORY');
  if (text === undefined) return undefined;
  const bytes = Number(text) * 1e9;
  return bytes > 0 ? bytes : refuse('WINNOW_MEMORY', text, 'a number of GB above 0, such as 8 or 0.5');
}

/** `WINNOW_DEVICE`: part of an adapter's name. */
export const deviceNameOf = (env: Environment = process.env): string | undefined => textOf(env, 'WINNOW_DEVICE');

/** `WINNOW_KERNELS`: `default`, or the kernels to use, which only a device can judge (parseKernels). */
export const kernelsNameOf = (env: Environment = process.env): string | undefined => textOf(env, 'WINNOW_KERNELS');

/** `WINNOW_NO_INSTALL`: 1 forbids providing a driver, 0 does not. Throws an EnvironmentError for anything else. */
export function forbidsInstalling(env: Environment = process.env): boolean {
  const text = textOf(env, 'WINNOW_NO_INSTALL');
  return text !== undefined && text !== '0' && (text === '1' || refuse('WINNOW_NO_INSTALL', text, '1 or 0'));
}

/** `DEBUG`, which many programs share: whether `finite` is among what it names. */
export const checksFinite = (env: Environment = process.env): boolean => env.DEBUG?.includes('finite') ?? false;

/** `NO_COLOR`: set to anything, output has no control codes. (no-color.org) */
export const forbidsColor = (env: Environment = process.env): boolean => textOf(env, 'NO_COLOR') !== undefined;

/**
 * The user's folder for what can be fetched or measured again: below `XDG_CACHE_HOME` where that is an absolute path, and a
 * relative one is ignored, as the XDG base directory specification asks; else below the home folder.
 */
export function cacheFolder(env: Environment = process.env): string {
  const given = textOf(env, 'XDG_CACHE_HOME');
  return join(given !== undefined && isAbsolute(given) ? given : join(home(), '.cache'), 'winnow');
}

/** The home folder; that of temporary files for a user without one, as containers have them. */
function home(): string {
  try {
    return homedir() || tmpdir();
  } catch {
    return tmpdir();
  }
}
