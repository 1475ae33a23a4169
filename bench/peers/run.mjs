/**
 * `node run.mjs [--json FILE] [--only PEER,PEER] [--filter TEXT] [--repeat N]`: runs winnow and every peer on this
 * machine, one after the other (N times over, keeping the fastest median of a case), and prints a table of milliseconds,
 * with each peer's time over winnow's. A result that differs from winnow's by over 0.1 % of its size is marked.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './cases.mjs';

const { values: options } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string', default: '' },
    filter: { type: 'string', default: '' },
    repeat: { type: 'string', default: '1' },
  },
});

const peers = [
  { name: 'winnow', script: 'winnow.mjs', args: [] },
  { name: 'ORT webgpu', script: 'onnx.mjs', args: ['webgpu'] },
  { name: 'tfjs', script: 'tfjs.mjs', args: [] },
  { name: 'jax-js', script: 'jax.mjs', args: [] },
  { name: 'ORT cpu', script: 'onnx.mjs', args: ['cpu'] },
];

/** Runs a script and returns the JSON of its last line, or why there is none. */
function runPeer({ name, script, args }) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...args], {
      env: { ...process.env, PEERS_FILTER: options.filter },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.on('close', (status) => {
      const line = out.split('\n').find((text) => text.startsWith('{"peer"'));
      const cause = err.split('\n').find((text) => /error/i.test(text)) ?? `exit status ${status}`;
      resolve(line ? { ...JSON.parse(line), peer: name } : { peer: name, error: cause.trim(), results: [] });
    });
  });
}

/** Of two runs of a peer the faster result of each case: other programs only ever slow a run down. */
function faster(a, b) {
  const median = (result) => result?.median ?? Number.POSITIVE_INFINITY;
  const pick = (result) => {
    const other = b.results.find(({ name }) => name === result.name);
    return median(other) < median(result) ? other : result;
  };
  return a.error ? b : { ...a, results: a.results.map(pick) };
}

const format = (ms) => (ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3));

/** Root mean square of the difference over that of `expected`. */
function difference(actual, expected) {
  const norm = (list) => Math.sqrt(list.reduce((sum, value) => sum + value * value, 0));
  return norm(actual.map((value, i) => value - expected[i])) / norm(expected);
}

/** One cell: milliseconds, times winnow's, and a mark where the result is another. */
function cell(result, own) {
  if (!result) return '-';
  if (result.error) return 'failed';
  if (!own || own.error || own === result) return format(result.median);
  const off = difference(result.sample, own.sample);
  const mark = off < 1e-3 ? '' : `, result off by ${(100 * off).toPrecision(2)} %`;
  return `${format(result.median)} (${(result.median / own.median).toFixed(2)}x${mark})`;
}

const wanted = peers.filter(({ name }) => name === 'winnow' || !options.only || options.only.split(',').includes(name));
let reports = [];
for (let round = 0; round < Number(options.repeat); round++) {
  const again = [];
  for (const peer of wanted) {
    process.stderr.write(`${peer.name} ...\n`);
    again.push(await runPeer(peer));
  }
  reports = round === 0 ? again : reports.map((report, i) => faster(report, again[i]));
}

const [{ results: ours, adapter }] = reports;
console.log(
  `${adapter}, node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim()}, ${new Date().toISOString()}`,
);
console.log('median milliseconds by wall clock (times winnow: over 1x means that winnow is faster)\n');
console.log(`| | ${reports.map(({ peer, version }) => (version ? `${peer} ${version}` : peer)).join(' | ')} |`);
console.log(`|---${'|---'.repeat(reports.length)}|`);
for (const { name } of cases.filter(({ name }) => name.includes(options.filter))) {
  const own = ours.find((result) => result.name === name);
  const cells = reports.map(({ results }) =>
    cell(
      results.find((result) => result.name === name),
      own,
    ),
  );
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}
for (const { peer, error, results } of reports) {
  if (error)
    console.log(`\n${peer} did not run: ${error} (\`npm i --ignore-scripts\` in bench/peers installs the peers)`);
  for (const result of results) if (result.error) console.log(`\n${peer}, ${result.name}: ${result.error}`);
}
if (options.json)
  writeFileSync(
    options.json,
    `${JSON.stringify({ date: new Date().toISOString(), node: process.version, reports }, null, 1)}\n`,
  );
