/** A Redis of one's own for tests of workers, which are skipped where there is none, or the packages are missing. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type Connection, connect } from '../../../grpo/workers/redis/connection.js';
import { loadPackages } from '../../../grpo/workers/redis/packages.js';

const isInstalled = ((): boolean => {
  try {
    return loadPackages() !== undefined;
  } catch {
    return false;
  }
})();

/** Why tests with a real server are skipped; undefined where they are not. */
export const missing: string | undefined =
  spawnSync('redis-server', ['--version']).status !== 0
    ? 'no redis-server'
    : isInstalled
      ? undefined
      : 'bullmq and ioredis are not installed';

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export interface TestRedis {
  readonly url: string;
  readonly port: number;
  /** Ends the server, as a crash does where its data is not kept, and starts it again. */
  restart(options: { readonly keepsData: boolean; readonly away?: number }): Promise<void>;
  /** A connection of the test's own. */
  readonly connection: Connection;
  /** Keys that would stay for ever. */
  lasting(): Promise<string[]>;
}

/** Starts a server that does not outlive the test, with more of its arguments. */
export async function startRedis(folder: string, ...more: readonly string[]): Promise<TestRedis> {
  const port = await freePort();
  const where = join(folder, `redis-${port}`);
  await mkdir(where);
  const start = async (): Promise<ChildProcess> => {
    const given = ['--port', `${port}`, '--dir', where, '--save', '', '--appendonly', 'no', ...more];
    const child = spawn('redis-server', given, { stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    for await (const text of child.stdout!) if (/Ready to accept/.test(String(text))) break;
    child.stdout!.destroy();
    return child;
  };
  let child = await start();
  const url = `redis://127.0.0.1:${port}`;
  const connection = await connect({ url });
  onTestFinished(() => connection.close());
  return {
    url,
    port,
    connection,
    restart: async ({ keepsData, away = 0 }) => {
      const closed = once(child, 'close');
      if (keepsData) {
        spawnSync('redis-cli', ['-p', `${port}`, 'SAVE']);
        child.kill('SIGTERM');
      } else child.kill('SIGKILL');
      await closed;
      if (!keepsData) spawnSync('rm', ['-f', join(where, 'dump.rdb')]);
      await new Promise((resolve) => setTimeout(resolve, away));
      child = await start();
    },
    lasting: async () => {
      const { redis } = connection;
      const lasting: string[] = [];
      let cursor = '0';
      do {
        const [next, keys] = await redis.scan(cursor, 'MATCH', '*', 'COUNT', 1000);
        for (const key of keys) if ((await redis.pttl(key)) === -1) lasting.push(key);
        cursor = next;
      } while (cursor !== '0');
      return lasting;
    },
  };
}
