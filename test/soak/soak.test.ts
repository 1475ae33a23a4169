/** A small share of each soak (npm run test:soak has the rest); kills and signals have tests of their own besides. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary.js';
import { soakDisk } from './disk.js';
import { soakFaults } from './faults.js';
import { soakFiles } from './files.js';
import { soakLong } from './long.js';
import type { SoakOptions, SoakResult } from './soak.js';

const folder = temporaryFolder();
// The suite tries the same cases each time, so that what fails is the change at hand; the soak draws others each time.
const seed = Number(process.env.SOAK_SEED ?? 1);

const shares: readonly (readonly [name: string, count: number, soak: (options: SoakOptions) => Promise<SoakResult>])[] =
  [
    ['files that are damaged', 180, soakFiles],
    ['lost devices and refused allocations', 6, soakFaults],
    ['disks that refuse', 2, soakDisk],
    ['many updates', 40, soakLong],
  ];

for (const [name, count, soak] of shares) {
  test(`${name}: SOAK_SEED=${seed}`, async () => {
    const own = join(folder, name.replaceAll(' ', '_'));
    await mkdir(own);
    const { cases, failures } = await soak({ count, seed, folder: own, log: () => {} });
    expect(cases).toBeGreaterThan(0);
    expect(failures).toEqual([]);
  });
}
