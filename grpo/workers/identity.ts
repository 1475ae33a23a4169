/** What a machine is as far as the bits of a run depend on it, and where two differ. */
import { resolve } from 'node:path';
import { hashFile } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { version } from '../../engine/version.js';
import { hashModelFolder, hashTree } from '../../models/files/folder_hash.js';
import type { RunConfig } from '../config.js';
import { modelFolder } from '../finetune/policy.js';
import type { Identity } from './messages.js';

type Keys = Pick<RunConfig, 'model' | 'reward'>;

/**
 * What this machine is with a configuration's files: hashes of the model folder, of reward modules and of rewards' folders. A
 * server has no hash: it may be another one for each worker.
 */
export async function identityOf(device: Device, { model, reward }: Keys): Promise<Identity> {
  const { features, info } = device;
  const rewards: Record<string, string> = {};
  for (const [name, { module, path, http }] of Object.entries(reward))
    rewards[name] = http
      ? 'server'
      : module
        ? await hashFile(resolve(module))
        : path
          ? await hashTree(resolve(path))
          : 'built in';
  const { choices = {}, f16, subgroups, subgroupSize, subgroupMatrix } = features;
  return {
    winnow: version,
    adapter: info.description,
    kernels: JSON.stringify({ f16, subgroups, subgroupSize, subgroupMatrix, ...choices }),
    model: await hashModelFolder(modelFolder(model.path), model.variant),
    rewards,
  };
}

/** What of a machine may be another one where a run takes mixed ones. */
const mixable = ['adapter', 'kernels'] as const;

const meanings: Readonly<Record<keyof Omit<Identity, 'rewards'>, string>> = {
  winnow: 'winnow',
  adapter: 'adapter',
  kernels: 'kernels and features',
  model: 'model folder (hash of its files)',
};

/** Where a machine is not what a run expects, a sentence each. `mixed` machines may have another adapter and other kernels. */
export function differences(expected: Identity, found: Identity, { mixed }: { readonly mixed: boolean }): string[] {
  const keys = (['winnow', 'adapter', 'kernels', 'model'] as const).filter(
    (key) => expected[key] !== found[key] && !(mixed && (mixable as readonly string[]).includes(key)),
  );
  const names = new Set([...Object.keys(expected.rewards), ...Object.keys(found.rewards)]);
  const rewards = [...names].filter((name) => expected.rewards[name] !== found.rewards[name]);
  return [
    ...keys.map((key) => `${meanings[key]} is ${found[key]}, expected ${expected[key]}`),
    ...rewards.map(
      (name) => `reward ${name} is ${found.rewards[name] ?? 'missing'}, expected ${expected.rewards[name] ?? 'none'}`,
    ),
  ];
}
