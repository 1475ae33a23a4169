/**
 * The soaks, one after the other: `npm run test:soak [-- --share 0.1] [--seed N] [--only kills,files] [--out FILE]`. Seeds are
 * printed, and a report is written as JSON, in which soaks that are not run keep their last result. The status is 1 where
 * anything failed.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exists, writeWhole } from '../../engine/files.js';
import { version } from '../../engine/version.js';
import { soakDisk } from './disk.js';
import { soakFaults } from './faults.js';
import { soakFiles } from './files.js';
import { soakKills } from './kills.js';
import { soakLong } from './long.js';
import { soakProperties } from './properties.js';
import { soakSignals } from './signals.js';
import type { SoakOptions, SoakResult } from './soak.js';

/** Each soak with its number of cases. */
const soaks: Readonly<Record<string, readonly [count: number, run: (options: SoakOptions) => Promise<SoakResult>]>> = {
  kills: [200, soakKills],
  signals: [32, soakSignals],
  disk: [6, soakDisk],
  files: [10_000, soakFiles],
  properties: [10_000, soakProperties],
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

interface Report extends SoakResult {
  readonly winnow: string;
  readonly node: string;
  readonly platform: string;
  readonly when: string;
  readonly seed: number;
  readonly seconds: number;
}
const reports: Record<string, Report> = (await exists(values.out))
  ? JSON.parse(await readFile(values.out, 'utf8'))
  : {};
let failed = false;
for (const name of values.only.split(',')) {
  const [count, run] = soaks[name] ?? [0, undefined];
  if (!run) throw new Error(`no soak is called ${name}; there are ${Object.keys(soaks).join(', ')}`);
  const folder = await mkdtemp(join(tmpdir(), `winnow-soak-${name}-`));
  const cases = Math.max(1, Math.ceil(count * Number(values.share)));
  log(`${name}: ${cases} cases, seed ${values.seed}`);
  const start = performance.now();
  const result = await run({ count: cases, seed: Number(values.seed), folder, log });
  const seconds = Math.round((performance.now() - start) / 1000);
  failed ||= result.failures.length > 0;
  reports[name] = {
    winnow: version,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    when: new Date().toISOString().slice(0, 10),
    seed: Number(values.seed),
    seconds,
    ...result,
  };
  await writeWhole(values.out, `${JSON.stringify(reports, null, 2)}\n`);
  for (const failure of result.failures) log(`FAILED ${name}: ${failure}`);
  process.stdout.write(`${name.padEnd(8)} ${result.cases} cases, ${result.failures.length} failed, ${seconds} s\n`);
  await rm(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
