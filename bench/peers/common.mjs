/** What the peers share: inputs, waiting, timing, and the JSON that each script prints. */
import { readFileSync } from 'node:fs';
import { cases } from './cases.mjs';

const { WINNOW_DEVICE: adapterName, PEERS_FILTER: filter = '' } = process.env;

/** Uniform deviates in [-1, 1) of a multiplicative generator; the same in every library. */
export function values(count, seed, scale = 1) {
  const result = new Float32Array(count);
  let state = seed * 7919 + 1;
  for (let i = 0; i < count; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    result[i] = scale * (((state ^ (state >>> 13)) >>> 0) / 2 ** 31 - 1);
  }
  return result;
}

/** 17 elements from first to last, by which results are compared between libraries. */
export function sample(data) {
  return Array.from({ length: 17 }, (_, i) => Number(data[Math.round((i * (data.length - 1)) / 16)]));
}

/** The version of an installed package, or of winnow. */
export function versionOf(name) {
  const file = name === 'winnow' ? '../../package.json' : `node_modules/${name}/package.json`;
  return JSON.parse(readFileSync(new URL(file, import.meta.url), 'utf8')).version;
}

const nap = new Int32Array(new SharedArrayBuffer(4));

/** Waits for a promise of Dawn's in short naps: its own polling takes a core that a software adapter needs. */
export async function sleepUntil(promise) {
  let done = false;
  const settled = promise.finally(() => {
    done = true;
  });
  const start = performance.now();
  while (!done) {
    if (performance.now() - start > 1) Atomics.wait(nap, 0, 0, 0.3);
    await new Promise(setImmediate);
  }
  return settled;
}

/** Gives browser libraries the `navigator.gpu` they ask for. Returns the adapter's name. */
export async function provideNavigator() {
  const { create, globals } = await import('webgpu');
  const toggles = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'];
  const gpu = create(adapterName ? [`adapter=${adapterName}`, ...toggles] : toggles);
  Object.assign(globalThis, globals);
  const navigator = { gpu, userAgent: 'node', hardwareConcurrency: 1, platform: 'linux' };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  return `${adapter.info.device} (${adapter.info.description})`;
}

function percentile(sorted, p) {
  const position = p * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

/** Milliseconds of `run`, which resolves when the device is done: at least 5 rounds and 0.7 s. */
async function time(run) {
  const samples = [];
  const start = performance.now();
  while (samples.length < 5 || (samples.length < 100 && performance.now() - start < 700)) {
    const before = performance.now();
    await run();
    samples.push(performance.now() - before);
  }
  samples.sort((a, b) => a - b);
  return {
    median: percentile(samples, 0.5),
    p10: percentile(samples, 0.1),
    p90: percentile(samples, 0.9),
    rounds: samples.length,
  };
}

/**
 * Runs every case that the library has, and prints one JSON object. `make[kind](case)` returns `run`, which resolves when
 * the work is done, and `read`, which resolves to the values of the first output; both may be called again and again.
 */
export async function runCases(header, make) {
  const results = [];
  for (const entry of cases.filter(({ name }) => name.includes(filter))) {
    if (!make[entry.kind]) continue;
    const { name } = entry;
    try {
      const { run, read, release } = await make[entry.kind](entry);
      await run();
      const values = sample(await read());
      await run(); // a second warm-up: the first run may have compiled
      results.push({ name, ...(await time(run)), sample: values });
      await release?.();
    } catch (error) {
      results.push({ name, error: String(error?.message ?? error).split('\n')[0] });
    }
  }
  process.stdout.write(`${JSON.stringify({ ...header, results })}\n`, () => process.exit(0));
}
