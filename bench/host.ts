/** What the host alone costs, by benchmark.js: planning, recording, encoding. Costs of the GPU are timed in harness.ts. */
import Benchmark from 'benchmark';
import { capture } from '../engine/device/capture.js';
import type { Device } from '../engine/device/device.js';
import { add } from '../engine/ops/elementwise.js';
import { scope } from '../engine/tensor/scope.js';
import { backward } from '../engine/tensor/tape.js';
import { type Tensor, tensor } from '../engine/tensor/tensor.js';
import type { HostResult } from './report.js';

const links = 64; // dispatches in the chains below

/** A chain of `links` additions. */
function chain(a: Tensor, b: Tensor): Tensor {
  let x = a;
  for (let i = 0; i < links; i++) x = add(x, b);
  return x;
}

interface HostCase {
  readonly name: string;
  /** A promise it returns is awaited where the case is timed to its end (`deferred`). */
  readonly run: () => unknown;
  readonly deferred?: boolean;
}

/** Mean microseconds of one link of the chain that a case runs. */
function measure({ name, run, deferred = false }: HostCase): Promise<HostResult> {
  return new Promise((resolve, reject) => {
    const untilDone = (done: { resolve(): void }): unknown => Promise.resolve(run()).then(() => done.resolve(), reject);
    new Benchmark(name, deferred ? untilDone : run, {
      defer: deferred,
      async: true,
      minSamples: 10,
      maxTime: 0.4,
      onError: ({ target }: { target: Benchmark & { error?: Error } }) => reject(target.error),
      onComplete: ({ target }: { target: Benchmark }) =>
        resolve({ name, mean: (target.stats.mean * 1e6) / links, margin: target.stats.rme }),
    }).run();
  });
}

/** Measures the host's costs for a dispatch or an op, on tensors so small that the GPU has next to nothing to do. */
export async function measureHost(device: Device): Promise<HostResult[]> {
  const a = tensor(device, new Float32Array(256));
  const b = tensor(device, new Float32Array(256));
  const weight = tensor(device, new Float32Array(256)).requireGrad();
  const step = await capture(device, () => chain(a, b));
  const eager = (): void => {
    scope(device, () => chain(a, b).size);
    device.flush();
  };
  const recorded = async (body: () => unknown): Promise<void> => (await capture(device, body)).dispose();
  const untilDone = (run: () => void) => (): Promise<void> => {
    run();
    return device.sync();
  };
  const cases: readonly HostCase[] = [
    { name: 'replay a dispatch: encode, submit', run: () => step.run() },
    { name: 'replay a dispatch: until it is done', run: untilDone(() => step.run()), deferred: true },
    { name: 'eager op: until it is done', run: untilDone(eager), deferred: true },
    { name: 'capture an op', run: () => recorded(() => chain(a, b)), deferred: true },
    {
      name: 'capture an op and its backward',
      run: () => recorded(() => backward(chain(weight, b), [weight], { seed: a })),
      deferred: true,
    },
  ];
  const results: HostResult[] = [];
  try {
    for (const entry of cases) {
      await untilDone(() => step.run())(); // the queue is empty and the kernel compiled
      results.push(await measure(entry));
    }
    return results;
  } finally {
    await device.sync();
    step.dispose();
    for (const made of [a, b, weight]) made.dispose();
  }
}
