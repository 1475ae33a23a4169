/**
 * Weights, gradients and tasks in Redis: bytes by their hash, in chunks that any server takes, which expire. What two machines
 * compute alike has one name and stands there once.
 */
import { sha256Of } from '../../../engine/files.js';
import { type Keys, lifetime } from './connection.js';
import type { Redis } from './packages.js';

/** What a blob is found by. */
export interface BlobRef {
  /** SHA-256 of the bytes. */
  readonly hash: string;
  readonly bytes: number;
}

const chunkBytes = 64 * 2 ** 20;

const chunkKeys = (keys: Keys, { hash, bytes }: BlobRef): string[] =>
  Array.from({ length: Math.max(1, Math.ceil(bytes / chunkBytes)) }, (_, chunk) => keys.blob(hash, chunk));

/** The bytes of f32 values, little endian as everywhere that WebGPU runs. */
export const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** The f32 values of bytes. */
export const valuesOf = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer);

export class Blobs {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Stores bytes, unless they are there; they live as long again. */
  async put(bytes: Uint8Array): Promise<BlobRef> {
    const ref = { hash: sha256Of(bytes), bytes: bytes.byteLength };
    const chunks = chunkKeys(this.keys, ref);
    if ((await this.redis.exists(...chunks)) === chunks.length) {
      await Promise.all(chunks.map((key) => this.redis.pexpire(key, lifetime)));
      return ref;
    }
    for (const [i, key] of chunks.entries()) {
      const part = bytes.subarray(i * chunkBytes, (i + 1) * chunkBytes);
      await this.redis.set(key, Buffer.from(part.buffer, part.byteOffset, part.byteLength), 'PX', lifetime);
    }
    return ref;
  }

  /** The bytes; undefined where they are not there, or no longer whole. */
  async get(ref: BlobRef): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(ref.bytes);
    let end = 0;
    for (const key of chunkKeys(this.keys, ref)) {
      const chunk = await this.redis.getBuffer(key);
      if (!chunk || end + chunk.byteLength > ref.bytes) return undefined;
      bytes.set(chunk, end);
      end += chunk.byteLength;
    }
    return sha256Of(bytes) === ref.hash ? bytes : undefined;
  }

  async delete(refs: readonly BlobRef[]): Promise<void> {
    const chunks = refs.flatMap((ref) => chunkKeys(this.keys, ref));
    if (chunks.length > 0) await this.redis.unlink(...chunks);
  }
}
