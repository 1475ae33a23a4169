/** Blobs in a real Redis: whole or not at all, and not for ever. */
import { describe, expect, test } from 'vitest';
import { Blobs, bytesOf, valuesOf } from '../../../grpo/workers/redis/blobs.js';
import { keysOf, lifetime } from '../../../grpo/workers/redis/connection.js';
import { temporaryFolder } from '../../temporary.js';
import { missing, startRedis } from './redis.js';

const folder = temporaryFolder();

describe.skipIf(missing !== undefined)(`blobs (${missing ?? 'with a real server'})`, () => {
  test('come back as they were, in chunks; damaged or lost ones are not there; all expire', async () => {
    const { connection, lasting } = await startRedis(folder);
    const { redis } = connection;
    const keys = keysOf('test');
    const blobs = new Blobs(redis, keys);
    const values = Float32Array.from({ length: 20_000_000 }, (_, i) => Math.fround(i * 1.1)); // 80 MB: two chunks
    const ref = await blobs.put(bytesOf(values));
    expect(ref.bytes).toBe(80_000_000);
    expect(await redis.exists(keys.blob(ref.hash, 0), keys.blob(ref.hash, 1))).toBe(2);
    expect(Buffer.from(bytesOf(valuesOf((await blobs.get(ref))!))).equals(Buffer.from(bytesOf(values)))).toBe(true);
    expect(await redis.pttl(keys.blob(ref.hash, 1))).toBeGreaterThan(lifetime - 60_000);
    expect(await lasting()).toEqual([]);

    await redis.unlink(keys.blob(ref.hash, 1));
    expect(await blobs.get(ref), 'half of it is gone').toBeUndefined();
    expect(await blobs.put(bytesOf(values)), 'and is put again').toEqual(ref);
    expect(await blobs.get(ref)).toBeDefined();
    await redis.set(keys.blob(ref.hash, 1), Buffer.alloc(ref.bytes - 64 * 2 ** 20), 'PX', lifetime);
    expect(await blobs.get(ref), 'its bytes are others').toBeUndefined();
    await redis.set(keys.blob(ref.hash, 1), Buffer.alloc(ref.bytes), 'PX', lifetime);
    expect(await blobs.get(ref), 'they are too many').toBeUndefined();

    const empty = await blobs.put(new Uint8Array());
    expect(await blobs.get(empty)).toEqual(new Uint8Array());
    await blobs.delete([ref, empty]);
    expect(await blobs.get(ref)).toBeUndefined();
  });
});
