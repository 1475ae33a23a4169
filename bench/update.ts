/** Where an update of the embedded run spends its time: the GPU's by families of kernels, and what is outside the GPU. */
import type { Replay } from '../engine/device/encoder.js';
import { loadConfig, usualPreset } from '../grpo/finetune/config/file.js';
import { openSession } from '../grpo/finetune/session.js';
import { promptsOfUpdate } from '../grpo/prompt_order.js';
import { Trainer } from '../grpo/trainer.js';

/** What the arithmetic of networks is made of. */
const products = ['matmul', 'conv2d', 'attention'] as const;

const familyOf = (kernel: string): string => products.find((name) => kernel.startsWith(name)) ?? kernel;

export interface UpdateProfile {
  /** Seconds of one update. */
  readonly wall: number;
  /** Of these the GPU's, by family, the largest first. */
  readonly gpu: readonly (readonly [family: string, seconds: number])[];
  readonly dispatches: number;
}

/**
 * Runs three updates of `npm start`'s configuration: one that compiles, one by the clock, whose steps are counted, and after it
 * each distinct step once between timestamps. Takes a minute on two cores.
 */
export async function profileUpdate(): Promise<UpdateProfile> {
  const config = await loadConfig(usualPreset, []);
  const session = await openSession(config);
  const { device, prompts } = session;
  const trainer = await Trainer.create(session.model, session.rewards, config);
  try {
    const update = (i: number) =>
      trainer.update(promptsOfUpdate(prompts.train, config.grpo.groups_per_update, config.seed, i));
    await update(0);
    const runs = new Map<Replay, number>();
    device.onStep = (step) => runs.set(step, (runs.get(step) ?? 0) + 1);
    const start = performance.now();
    await update(1);
    await device.sync();
    const wall = (performance.now() - start) / 1000;
    device.onStep = undefined;
    const seconds = new Map<string, number>();
    let dispatches = 0;
    for (const [step, count] of runs) {
      const times = await step.profile();
      for (const [i, { plan }] of step.dispatches.entries()) {
        const family = familyOf(plan.kernel);
        seconds.set(family, (seconds.get(family) ?? 0) + (count * times[i]!) / 1e9);
      }
      dispatches += count * step.dispatches.length;
    }
    return { wall, gpu: [...seconds].sort(([, a], [, b]) => b - a), dispatches };
  } finally {
    device.onStep = undefined;
    trainer.dispose();
    session.close();
  }
}

/** The profile as lines. */
export function formatUpdate({ wall, gpu, dispatches }: UpdateProfile): string[] {
  const total = gpu.reduce((sum, [, seconds]) => sum + seconds, 0);
  const row = (name: string, seconds: number, of: number): string =>
    `update  ${name.padEnd(28)} ${seconds.toFixed(2).padStart(6)} s ${((100 * seconds) / of).toFixed(1).padStart(5)} %`;
  const ofProducts = gpu.filter(([family]) => (products as readonly string[]).includes(family));
  return [
    row('by the clock', wall, wall),
    row('outside the GPU', Math.max(0, wall - total), wall),
    row(`on the GPU, ${dispatches} dispatches`, total, total),
    row(
      products.join(', '),
      ofProducts.reduce((sum, [, seconds]) => sum + seconds, 0),
      total,
    ),
    ...gpu.slice(0, 12).map(([family, seconds]) => row(`  ${family}`, seconds, total)),
  ];
}
