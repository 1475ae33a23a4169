/**
 * A turn: groups that are drawn together, from noise to their final rewards. It holds the GPU while it draws and decodes, and
 * leaves it to other turns while its pictures are scored; what it goes on with is parked meanwhile (parking.ts), as the
 * batches and their captured steps are every turn's.
 */
import type { SamplerConfig } from '../config.js';
import type { GenerativeModel, Prompt } from '../model.js';
import type { CombinedReward } from '../rewards/reward.js';
import type { RolloutEvents, ScoredPicture } from './events.js';
import { type DrawnGroup, type Group, type GroupResult, type GroupScores, sampleKeys, sharedSample } from './group.js';
import type { Gate, Task } from './overlap.js';
import type { Parking } from './parking.js';
import type { Picture } from './pictures.js';
import type { BatchRows, RolloutBatch } from './rollout_batch.js';
import type { Stage } from './stages.js';
import type { Trajectories } from './trajectories.js';

/** What all turns of a rollout share. */
export interface TurnShares {
  readonly model: GenerativeModel;
  readonly store: Trajectories;
  readonly reward: CombinedReward;
  readonly stages: readonly Stage[];
  readonly sampler: Pick<SamplerConfig, 'same_latent'>;
  readonly seed: number;
  /** Where more turns than one are in flight and previews are scored. */
  readonly parking: Parking | undefined;
  /** Lets one turn at a time have the GPU, earlier ones first. */
  readonly gpu: Gate;
  /** Lets one turn at a time have its pictures scored, as they ask: no server or module is ever called twice at once. */
  readonly scoring: Gate;
  /** Turns that asked for scores, and steps that groups have taken. */
  readonly counts: { asked: number; taken: number };
}

/** Draws groups by the batches of their stages. Throws a RewardError, or the reason of the task's signal. */
export async function drawTurn(
  shares: TurnShares,
  groups: readonly Group[],
  batches: readonly RolloutBatch[],
  { number, lane, signal }: Task,
  { onStep, onPictures }: RolloutEvents,
): Promise<DrawnGroup[]> {
  const { model, store, stages, seed, parking, gpu, scoring, counts } = shares;
  const clock = new Clock();
  let leave = (): void => {};
  const enter = async (): Promise<void> => {
    leave = await gpu.enter(number);
    clock.skip();
    signal.throwIfAborted();
  };
  /** The scores of what stands in a batch's decoder; the GPU is other turns' from then on. */
  const score = async (batch: RolloutBatch, step: number): Promise<GroupScores[]> => {
    await model.device.sync();
    clock.add('sample');
    const pictures = await batch.decoder!.pictures(promptsOf(groups));
    clock.add('reward');
    leave();
    const done = await scoring.enter(counts.asked++);
    clock.skip();
    try {
      signal.throwIfAborted();
      return await scoresOf(groups, pictures, shares.reward, step, { onPictures, signal });
    } finally {
      clock.add('reward');
      done();
    }
  };
  let stage = 0;
  try {
    await enter();
    const shared = ({ alive }: Group): readonly number[] => alive.map(() => sharedSample);
    const keys = keysOf(seed, groups, shares.sampler.same_latent ? shared : undefined);
    batches[0]!.start(rowsOf(seed, groups), keys);
    for (const i of store.transitions.keys()) {
      signal.throwIfAborted();
      if (parking && gpu.isWanted(number)) {
        batches[stage]!.park(lane);
        await model.device.sync();
        clock.add('sample');
        leave();
        await enter();
        batches[stage]!.resume(rowsOf(seed, groups), lane);
      }
      batches[stage]!.predict(i);
      for (const group of groups) group.countCall();
      const { selection, scored, size } = stages[stage]!;
      if (selection?.step === i) {
        const shows = scored === 'previews';
        if (shows) batches[stage]!.preview(i);
        if (parking) batches[stage]!.park(lane);
        const scores = shows ? await score(batches[stage]!, i) : undefined;
        if (shows) await enter();
        const picks = groups.flatMap((group, g) => {
          const { places, freed } = group.select(selection, scores?.[g]);
          store.release(freed);
          return places.map((place) => g * size + place);
        });
        stage++;
        batches[stage]!.take(rowsOf(seed, groups), picks, lane);
      }
      batches[stage]!.advance(i);
      counts.taken += groups.length;
      // Another turn can only go first where this one waits for its steps instead of handing them all to the GPU at once.
      if (onStep || parking) await model.device.sync();
      const alive = stages[stage]!.size;
      onStep?.({ group: groups[0]!.id.group, together: groups.length, step: i + 1, alive, taken: counts.taken });
    }
    batches[stage]!.finish();
    const scores = await score(batches[stage]!, store.transitions.length);
    const seconds = clock.share(groups.length);
    return groups.map((group, g) => {
      const { result, freed } = group.finish(scores[g]!, stages[stage]!.selection, seconds);
      store.release(freed);
      return result;
    });
  } finally {
    leave();
  }
}

/** The prompt of each sample that is alive. */
const promptsOf = (groups: readonly Group[]): Prompt[] =>
  groups.flatMap(({ prompt, alive }) => alive.map(() => prompt));

/**
 * Scores pictures, each group's by themselves. A sample whose picture or reward is not finite is lost: its reward is NaN from
 * here on, and the group sees to it that it is neither selected by it nor trained on.
 */
async function scoresOf(
  groups: readonly Group[],
  pictures: readonly Picture[],
  reward: CombinedReward,
  step: number,
  { onPictures, signal }: RolloutEvents,
): Promise<GroupScores[]> {
  const size = groups[0]!.alive.length;
  const { total, byReward } = await reward.score(pictures, Array<number>(groups.length).fill(size), { signal });
  const rewards = total.map((value, i) => (pictures[i]!.finite && Number.isFinite(value) ? value : Number.NaN));
  return groups.map((group, g) => {
    const own = <T>(list: readonly T[]): T[] => list.slice(g * size, (g + 1) * size);
    const raw = Object.fromEntries(Object.entries(byReward).map(([name, values]) => [name, own(values)]));
    const scored = own(pictures).map((picture, i): ScoredPicture => {
      const parts = Object.fromEntries(Object.entries(raw).map(([name, values]) => [name, values[i]!]));
      return { ...picture, sample: group.alive[i]!, reward: rewards[g * size + i]!, parts };
    });
    onPictures?.(group.id.group, step, scored);
    return { rewards: own(rewards), byReward: raw };
  });
}

/** Keys of the groups' noise; those of other samples' numbers where `samplesOf` says so. */
const keysOf = (
  seed: number,
  groups: readonly Group[],
  samplesOf: (group: Group) => readonly number[] = ({ alive }) => alive,
): number[] => groups.flatMap((group) => sampleKeys(seed, group.id, samplesOf(group)));

/** What the groups' samples are, for a batch. */
const rowsOf = (seed: number, groups: readonly Group[]): BatchRows => ({
  keys: keysOf(seed, groups),
  slots: groups.flatMap(({ slots }) => slots),
  conditions: groups.flatMap(({ alive, id }) => alive.map(() => id.group)),
});

/** Adds up the seconds that sampling and rewards take. */
class Clock {
  private readonly seconds = { sample: 0, reward: 0 };
  private last = performance.now();

  /** The time since the last call was spent on `phase`. */
  add(phase: 'sample' | 'reward'): void {
    this.seconds[phase] += this.lap();
  }

  /** The time since the last call was spent waiting for other turns, who count it as theirs. */
  skip(): void {
    this.lap();
  }

  /** Both, divided equally among `count`. */
  share(count: number): GroupResult['seconds'] {
    const { sample, reward } = this.seconds;
    return { sample: sample / count, reward: reward / count };
  }

  private lap(): number {
    const now = performance.now();
    const seconds = (now - this.last) / 1000;
    this.last = now;
    return seconds;
  }
}
