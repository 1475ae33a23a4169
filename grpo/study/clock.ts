/**
 * How long an update of each method takes by the clock. Runs stand minutes apart, in which a machine's speed may change more than
 * the methods differ: so their updates are timed beside them, in turn.
 */
import { writeWhole } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { type Session, sessionOn } from '../finetune/session.js';
import { promptsOfUpdate } from '../prompt_order.js';
import { Trainer } from '../trainer.js';
import { identityOf, type PlannedRun } from './planned_run.js';
import { readStored } from './stored.js';

/** Seconds of an update by method, a value for each round. In a round every method does one, from another one on each time. */
export type Clock = Readonly<Record<string, readonly number[]>>;

/** A round that is done. */
export interface ClockEvent {
  readonly kind: 'timed';
  readonly round: number;
  readonly of: number;
}

/** As many as a study has seeds: the values of a round stand for those of a seed. */
const rounds = 6;

/** Values of the round that stands for a seed. */
export const secondsOfSeed = (values: readonly number[], seed: number): number => values[seed % values.length]!;

/** The seconds of all methods that runs are planned of, from a file below `out` where they were measured before. */
export async function* storedClock(
  device: () => Promise<Device>,
  planned: readonly PlannedRun[],
  out: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ClockEvent, Clock, undefined> {
  const methods = planned.filter(
    ({ method }, i) => planned.findIndex((each) => each.method.name === method.name) === i,
  );
  const content = methods.map(({ config }) => identityOf(config)).join();
  const { path, stored } = await readStored<Clock>(out, 'clock', content);
  if (stored) return stored;
  const clock = yield* measureClock(await device(), methods, signal);
  await writeWhole(path, `${JSON.stringify(clock)}\n`);
  return clock;
}

interface Timed {
  readonly name: string;
  readonly session: Session;
  readonly trainer: Trainer;
}

async function* measureClock(
  device: Device,
  methods: readonly PlannedRun[],
  signal: AbortSignal | undefined,
): AsyncGenerator<ClockEvent, Clock, undefined> {
  const timed: Timed[] = [];
  try {
    for (const { method, config } of methods) {
      signal?.throwIfAborted();
      const session = await sessionOn(device, config, { signal });
      try {
        timed.push({
          name: method.name,
          session,
          trainer: await Trainer.create(session.model, session.rewards, config),
        });
      } catch (error) {
        session.close();
        throw error;
      }
    }
    for (const each of timed) await secondsOf(each, signal); // its kernels are compiled
    const clock: Record<string, number[]> = Object.fromEntries(timed.map(({ name }) => [name, []]));
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < timed.length; turn++) {
        const each = timed[(turn + round) % timed.length]!;
        clock[each.name]!.push(await secondsOf(each, signal));
      }
      yield { kind: 'timed', round: round + 1, of: rounds };
    }
    return clock;
  } finally {
    for (const { session, trainer } of timed) {
      trainer.dispose();
      session.close();
    }
  }
}

/** Does the method's next update. */
async function secondsOf({ session, trainer }: Timed, signal: AbortSignal | undefined): Promise<number> {
  const { config, prompts } = session;
  const chosen = promptsOfUpdate(prompts.train, config.grpo.groups_per_update, config.seed, trainer.updates);
  const start = performance.now();
  await trainer.update(chosen, { signal });
  return (performance.now() - start) / 1000;
}
