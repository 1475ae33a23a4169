/** What a worker needs for a run: configuration, model and rewards, each held against what the run expects. */
import { CheckError } from '../../../engine/errors.js';
import type { Device } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import { ModelFileError } from '../../../models/files/errors.js';
import type { RunConfig } from '../../config.js';
import { UsageError } from '../../finetune/errors.js';
import { type LoadedModel, loadPolicy } from '../../finetune/policy.js';
import { checkServers, joinRewards, loadRewards } from '../../finetune/rewards/registry.js';
import type { CombinedReward } from '../../rewards/reward.js';
import { differences, identityOf } from '../identity.js';
import { decode, encode, type Identity, type Machine, machineSchema, type RunDescription } from '../messages.js';
import { configOfWorker } from '../own_config.js';
import { type Connection, type Keys, lifetime } from '../redis/connection.js';

/** The run does not take this worker, or this machine lacks what the run needs. */
export class RefusedError extends Error {
  override name = 'RefusedError';
}

export interface Outfit {
  readonly config: RunConfig;
  readonly model: LoadedModel;
  readonly rewards: CombinedReward;
  /** These, and those that evaluations report besides. */
  readonly reported: CombinedReward;
  /** What a person should know of the model's files, and what rewards warn of. */
  readonly warnings: readonly string[];
  dispose(): void;
}

/** Throws a RefusedError that says what is another thing here, or is missing. */
export async function outfitOf(
  connection: Connection,
  keys: Keys,
  device: Device,
  description: RunDescription,
  own: RunConfig | undefined,
): Promise<Outfit> {
  try {
    const config = configOfWorker(description.config, own);
    checkServers(config);
    const found = await identityOf(device, config);
    const expected = { ...description.identity, ...(await machineOf(connection, keys, description, found)) };
    const problems = differences(expected, found, config.workers);
    if (problems.length > 0) throw new RefusedError(problems.join('; '));
    return await load(device, config);
  } catch (error) {
    const isOurs = error instanceof UsageError || error instanceof ModelFileError || error instanceof CheckError;
    throw isOurs ? new RefusedError(error.message, { cause: error }) : error;
  }
}

/** The adapter and kernels that count where the run leaves them to its first worker. */
async function machineOf(
  { redis }: Connection,
  keys: Keys,
  { open }: RunDescription,
  { adapter, kernels }: Identity,
): Promise<Partial<Machine>> {
  if (!open) return {};
  await redis.set(keys.machine, encode({ adapter, kernels }), 'PX', lifetime, 'NX');
  return decode(machineSchema, await redis.get(keys.machine)) ?? {};
}

const load = (device: Device, config: RunConfig): Promise<Outfit> =>
  owning(async (give) => {
    const model = give(await loadPolicy(device, config));
    const warnings = [...model.warnings];
    const warn = (message: string): void => void warnings.push(message);
    const trained = await loadRewards(device, config);
    give({ dispose: () => trained.forEach(({ reward }) => void reward.dispose?.()) });
    const { rewards, reported } = await joinRewards(device, config, trained, warn);
    const dispose = (): void => {
      reported.dispose();
      model.dispose();
    };
    return { config, model, rewards, reported, warnings, dispose };
  });
