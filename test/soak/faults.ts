/** A device that is lost in mid-step, and memory that ends at each allocation of a step: status 5 or 4, checkpoint whole. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OutOfMemoryError } from '../../engine/errors.js';
import { packageRoot } from '../../engine/version.js';
import { readCheckpointInfo } from '../../grpo/checkpoint.js';
import { exitCodeOf, exitCodes } from '../../grpo/finetune/exit_codes.js';
import { loadModel, type RunEvent, train } from '../../grpo/finetune/index.js';
import { randomNumbers, type SoakOptions, type SoakResult } from './soak.js';

const config = {
  sampler: { steps: 3, eval_steps: 2 },
  grpo: { keep: [4, 2], prune_at: [1], groups_per_update: 2 },
  train: { lr: 1e-2, micro_batch: 4 },
  save: { every: 1, keep: 2 },
  sample: { seeds: [1] },
  eval: { n: 2 },
};
const rewards = { green: (images: readonly { rgb: Uint8Array }[]) => images.map(({ rgb }) => rgb[1]! / 255) };
const source = join(packageRoot(), 'test/fixtures/pipelines/sd1');

/** How a run ended: its status, the error's text, and its events. */
async function runOf(out: string, prepare: (model: Awaited<ReturnType<typeof loadModel>>, event: RunEvent) => void) {
  const model = await loadModel(source, { lora: { rank: 2 }, weights: 'f32' });
  const events: RunEvent[] = [];
  try {
    for await (const event of train({
      model,
      prompts: ['a cat', 'a dog'],
      rewards,
      config,
      updates: 3,
      out,
      progress: true,
    })) {
      events.push(event);
      prepare(model, event);
    }
    return { status: exitCodes.done as number, message: '', events };
  } catch (error) {
    return {
      status: exitCodeOf(error) as number,
      message: error instanceof Error ? error.message : String(error),
      events,
    };
  } finally {
    model.close();
  }
}

/** The last checkpoint that the events name can be read. */
async function checkpointProblem(events: readonly RunEvent[]): Promise<string | undefined> {
  const saved = events.findLast((event) => event.kind === 'checkpoint');
  if (saved?.kind !== 'checkpoint') return undefined;
  return readCheckpointInfo(saved.path).then(
    ({ counters }) =>
      counters.updates === saved.update ? undefined : `the checkpoint has ${counters.updates} updates`,
    (error: Error) => error.message,
  );
}

/** `count` cases: devices lost at random moments, then allocations refused one after the other. */
export async function soakFaults({ count, seed, folder, log }: SoakOptions): Promise<SoakResult> {
  const random = randomNumbers(seed);
  const failures: string[] = [];
  const lost = Math.ceil(count / 4);
  const whole = await runOf(join(folder, 'whole'), () => {});
  const moments = whole.events.length;
  for (let i = 0; i < lost; i++) {
    const out = join(folder, `lost-${i}`);
    const at = 1 + Math.floor(random() * (moments - 2));
    let seen = 0;
    const { status, message, events } = await runOf(out, (model) => {
      if (seen++ === at) model.device.gpu.destroy(); // as a driver's reset does: everything fails from here on
    });
    const problem = await checkpointProblem(events);
    if (status !== exitCodes.deviceLost) failures.push(`device lost at event ${at}: status ${status}, ${message}`);
    if (problem) failures.push(`device lost at event ${at}: ${problem}`);
    await rm(out, { recursive: true, force: true });
  }
  log(`faults: ${lost} lost devices, ${failures.length} failures`);
  for (let i = 0; i < count - lost; i++) {
    const out = join(folder, `memory-${i}`);
    let allocations = 0;
    let started = false;
    const { status, message, events } = await runOf(out, (model, event) => {
      if (started || event.kind !== 'checkpoint') return;
      started = true; // the second update's allocations
      const { pool } = model.device;
      const { allocate } = pool;
      pool.allocate = (storage) => {
        if (allocations++ === i) throw new OutOfMemoryError(`${storage.label} needs ${storage.bytes} B`);
        allocate.call(pool, storage);
      };
    });
    const problem = await checkpointProblem(events);
    if (allocations > i) {
      if (status !== exitCodes.outOfMemory) failures.push(`allocation ${i} refused: status ${status}, ${message}`);
      if (!/\[[\d, ]*\]/.test(message)) failures.push(`allocation ${i} refused: the message names no op: ${message}`);
    }
    if (problem) failures.push(`allocation ${i} refused: ${problem}`);
    await rm(out, { recursive: true, force: true });
    if (allocations <= i) return { cases: lost + i, failures, figures: { allocations } }; // all have been tried
  }
  log(`faults: ${count - lost} refused allocations, ${failures.length} failures`);
  return { cases: count, failures };
}
