import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../kernels/kernel.js';

export { packageRoot };

/** The version of this package, from its package.json. */
export const version: string = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')).version;
