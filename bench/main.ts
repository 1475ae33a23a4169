/** `npm run bench`: checks and times every case on this machine's adapter, against the peaks measured in the same run. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { Device } from '../engine/device/device.js';
import { measurePeaks, type Peaks } from '../engine/tuning/peak.js';
import { formatAhead, measureAhead } from './ahead.js';
import { cases } from './cases.js';
import { formatTable4 } from './cost.js';
import { type BenchCase, runCase, type ShapeSet, shapeSets } from './harness.js';
import { measureHost } from './host.js';
import {
  compareReports,
  formatChange,
  formatResult,
  type HostResult,
  type Report,
  type Result,
  slowdownLimit,
} from './report.js';
import { formatUpdate, profileUpdate } from './update.js';

const slowdownStatus = 9;

interface Options {
  readonly filter: string;
  readonly shapes: ShapeSet | 'all';
  readonly json?: string;
  readonly compare?: string;
}

const options = new Command('bench')
  .description('Checks each op against a reference, then times it.')
  .option(
    '--filter <text>',
    'only cases whose "op shape dtype" contains this; "host" for the costs of the host, "cost" for table 4 of the paper, "update" for where an update of npm start spends its time, "ahead" for how much of a slow server is hidden behind drawing',
    '',
  )
  .addOption(new Option('--shapes <set>', 'which shapes').choices([...shapeSets, 'all']).default('all'))
  .option('--json <file>', 'store the results')
  .option(
    '--compare <file>',
    `print the ratio to stored results; exit with ${slowdownStatus} when a case takes over ${slowdownLimit} times as long`,
  )
  .parse()
  .opts<Options>();

const wanted = ({ op, set, shape, dtype }: BenchCase): boolean =>
  (options.shapes === 'all' || options.shapes === set) && `${op} ${shape} ${dtype}`.includes(options.filter);

const formatPeaks = ({ fma, copy }: Peaks): string => `FMA ${fma.toFixed(0)} GFLOP/s, copy ${copy.toFixed(1)} GB/s`;

/** The best of three trials: other programs only slow one down. */
async function bestPeaks(device: Device): Promise<Peaks> {
  let [fma, copy] = [0, 0];
  for (let trial = 0; trial < 3; trial++) {
    const peaks = await measurePeaks(device);
    fma = Math.max(fma, peaks.fma);
    copy = Math.max(copy, peaks.copy);
  }
  return { fma, copy };
}

/** Keeps results where --json says. */
function store(report: unknown): void {
  if (options.json === undefined) return;
  mkdirSync(dirname(options.json), { recursive: true });
  writeFileSync(options.json, `${JSON.stringify(report, null, 1)}\n`);
}

/** Table 4 of the paper needs no device. */
function printCosts(): void {
  const { lines, agrees } = formatTable4();
  for (const line of lines) console.log(line);
  if (!agrees) {
    process.exitCode = 1;
    console.error('FAILED  cost: the totals are not those of the paper');
  }
}

/** Checks and times every wanted case. */
async function measure(): Promise<void> {
  const stored = options.compare ? (JSON.parse(readFileSync(options.compare, 'utf8')) as Report) : undefined;
  const device = await Device.create({ provideDriver: true, quiet: true });
  try {
    const { fma, copy } = await bestPeaks(device);
    const { info: adapter } = device;
    console.log(`${adapter.device} (${adapter.description}), node ${process.version}`);
    console.log(`peaks: ${formatPeaks({ fma, copy })}`);

    const results: Result[] = [];
    for (const entry of cases.filter(wanted)) {
      try {
        const result = await runCase(device, entry);
        results.push(result);
        console.log(formatResult(result, { fma, copy }, adapter));
      } catch (error) {
        process.exitCode = 1;
        console.error(`FAILED  ${entry.op} ${entry.shape} ${entry.dtype}: ${(error as Error).message}`);
      }
    }
    const host: HostResult[] = 'host'.includes(options.filter) ? await measureHost(device) : [];
    for (const { name, mean, margin } of host)
      console.log(`host  ${name.padEnd(50)} ${mean.toFixed(1).padStart(7)} us +- ${margin.toFixed(0)} %`);

    const after = await bestPeaks(device);
    const busy = Math.max(after.fma / fma, after.copy / copy, fma / after.fma, copy / after.copy);
    if (busy > slowdownLimit) {
      console.log(`the machine was busy: now the peaks are ${formatPeaks(after)}; times and shares are uncertain`);
    }
    const [cpu] = cpus();
    const report: Report = {
      date: new Date().toISOString(),
      node: process.version,
      cpu: `${cpus().length} x ${cpu?.model.trim()}`,
      adapter,
      peaks: { fma, copy },
      results,
      host,
    };
    store(report);
    if (stored) {
      const { changes, slower, sameAdapter } = compareReports(stored, report);
      console.log(`\nagainst ${options.compare} (${stored.date}): time before, now, now / before`);
      for (const change of changes) console.log(formatChange(change));
      if (!sameAdapter)
        console.log(
          `stored on ${stored.adapter.device} (${stored.adapter.description}): no verdict on another adapter`,
        );
      if (slower.length > 0) process.exitCode ||= slowdownStatus; // a wrong result is worse
    }
  } finally {
    device.close();
  }
}

if ('cost'.includes(options.filter)) printCosts();
if (options.filter === 'update') for (const line of formatUpdate(await profileUpdate())) console.log(line);
else if (options.filter === 'ahead') {
  const report = await measureAhead();
  for (const line of formatAhead(report)) console.log(line);
  store(report);
} else if (options.filter !== 'cost') await measure();
