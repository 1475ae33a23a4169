/**
 * The soaks, one after the other: `npm run test:soak [-- --share 0.1] [--seed N] [--only kills,files] [--out FILE]`. Seeds are
 * printed, and a report is written as JSON. The status is 1 where anything failed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeWhole } from '../../engine/files.js';
import { version } from '../../engine/version.js';
import { soakDisk } from './disk.js';
import { soakFaults } from './faults.js';
import { soakFiles } from './files.js';
import { soakKills } from './kills.js';
import { soakLong } from './long.js';
import { soakSignals } from './signals.js';
import type { SoakOptions, SoakResult } from './soak.js';

/** Each soak with its number of cases. */
const soaks: Readonly<Record<string, readonly [count: number, run: (options: SoakOptions) => Promise<SoakResult>]>> = {
  kills: [200, soakKills],
  signals: [32, soakSignals],
  disk: [6, soakDisk],
  files: [10_000, soakFiles],
  faults: [120, soakFaults],
  long: [10_000, soakLong],
};

const { values } = parseArgs({
  options: {
    share: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
    only: { type: 'string', default: Object.keys(soaks).join(',') },
    out: { type: 'string', default: join('bench', 'results', 'soak.json') },
  },
});
const log = (line: string): void => void process.stderr.write(`${line}\n`);
const report: Record<string, SoakResult & { readonly seconds: number }> = {};
for (const name of values.only.split(',')) {
  const [count, run] = soaks[name] ?? [0, undefined];
  if (!run) throw new Error(`no soak is called ${name}; there are ${Object.keys(soaks).join(', ')}`);
  const folder = await mkdtemp(join(tmpdir(), `winnow-soak-${name}-`));
  const cases = Math.max(1, Math.ceil(count * Number(values.share)));
  log(`${name}: ${cases} cases, seed ${values.seed}`);
  const start = performance.now();
  const result = await run({ count: cases, seed: Number(values.seed), folder, log });
  const seconds = Math.round((performance.now() - start) / 1000);
  report[name] = { ...result, seconds };
  for (const failure of result.failures) log(`FAILED ${name}: ${failure}`);
  process.stdout.write(`${name.padEnd(8)} ${result.cases} cases, ${result.failures.length} failed, ${seconds} s\n`);
  await rm(folder, { recursive: true, force: true });
}
const about = { winnow: version, node: process.versions.node, platform: `${process.platform} ${process.arch}` };
const when = new Date().toISOString().slice(0, 10);
await writeWhole(
  values.out,
  `${JSON.stringify({ ...about, when, seed: Number(values.seed), soaks: report }, null, 2)}\n`,
);
process.exit(Object.values(report).some(({ failures }) => failures.length > 0) ? 1 : 0);
