/** A run at the trainer's end: what it tells workers of itself, who they are, and what is left when it ends. */
import { randomUUID } from 'node:crypto';
import { readTogether } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import type { WorkersEvent } from '../../finetune/run/events.js';
import type { RemoteSource } from '../../finetune/run/start.js';
import type { Session } from '../../finetune/session.js';
import { readWorkersFile } from '../../finetune/workers/workers_file.js';
import { beating, readWorkers } from '../board.js';
import { identityOf } from '../identity.js';
import { encode, type RunDescription, runHash } from '../messages.js';
import { sharedConfig } from '../own_config.js';
import { Blobs, bytesOf } from '../redis/blobs.js';
import {
  atMost,
  type Connection,
  type ConnectionOptions,
  connect,
  expireAll,
  keysOf,
  keysUnder,
  lifetime,
  runsKey,
  watchConnection,
} from '../redis/connection.js';
import { Dispatch } from './dispatch.js';
import { WorkerNews } from './news.js';
import { remoteLook } from './remote_look.js';
import { RemoteShards } from './remote_shards.js';

export interface RemoteRunOptions extends ConnectionOptions {
  /** The run's folder: one that goes on has its id there, so that its workers know it again. */
  readonly folder: string;
  /** Told of who works, and of what a person should know of it. */
  readonly tell: (event: WorkersEvent) => void;
}

/**
 * Announces a run to workers. Throws a UsageError where the server can't be reached. After close() nothing of the run stays in
 * Redis but what expires.
 */
export async function openRemoteRun(session: Session, options: RemoteRunOptions): Promise<RemoteSource> {
  const { config, device, model } = session;
  const kept = await readWorkersFile(options.folder);
  const connection = await connect(options);
  const { redis } = connection;
  const id = kept?.id ?? randomUUID();
  const keys = keysOf(id);
  const blobs = new Blobs(redis, keys);
  try {
    return await owning(async (own) => {
      const identity = { ...(await identityOf(device, config)), ...kept?.kind };
      // Of a trainer without a GPU nothing depends on but the optimizer's step: the first worker says what all are.
      const open = device.info.software && kept?.kind === undefined;
      const dispatch = own(await Dispatch.open(connection, keys, blobs));
      const news = new WorkerNews(id, connection, keys, options.tell);
      let hash: string | undefined;
      const prepare = async (): Promise<string> => {
        if (hash !== undefined) return hash;
        const description = await announce();
        await sign();
        hash = runHash(description);
        return hash;
      };
      const remote = { dispatch, blobs, prepare, onWorkers: news.look };
      const shards = own(RemoteShards.create(model, config, remote));
      const copy = shards.reference?.copy;
      const announce = async (): Promise<RunDescription> => {
        const reference = copy ? await blobs.put(bytesOf(await readTogether([...copy.values()]))) : null;
        const description: RunDescription = { identity, open, config: sharedConfig(config), reference };
        await redis.set(keys.run, encode(description), 'PX', lifetime);
        return description;
      };
      const started = await connection.now();
      const sign = async (): Promise<void> => {
        if ((await redis.exists(keys.run)) === 0) await announce(); // the server has lost its data
        await redis.hset(runsKey, id, encode({ started, seen: await connection.now() }));
        await redis.pexpire(runsKey, lifetime);
      };
      // The copy of a run that goes on has the values of its checkpoint by the first update, and not yet now.
      if (!copy) await prepare();
      const stops = [
        beating(async () => hash !== undefined && (await sign())),
        beating(async () => news.glance(await readWorkers(connection, keys))),
        beating(() => expireAll(redis), 60_000),
        watchConnection(connection, (message) => news.warn(message)),
      ];
      const close = async (): Promise<void> => {
        for (const stop of stops) stop();
        await leave(connection, id, dispatch);
      };
      return Object.assign(shards, { look: remoteLook(model, config, remote), close });
    });
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Takes a run's keys away, as far as the server can be reached. */
async function leave(connection: Connection, id: string, dispatch: Dispatch): Promise<void> {
  const { redis } = connection;
  const { prefix } = keysOf(id);
  const work = async (): Promise<void> => {
    await redis.hdel(runsKey, id);
    await dispatch.close();
    for await (const key of keysUnder(redis, prefix)) await redis.unlink(key);
  };
  await atMost(farewell, work());
  connection.close();
}

const farewell = 10_000; // milliseconds
