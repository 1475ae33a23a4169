/** What a page sends. */
import type { Exchange } from './responses.js';

/** The JSON object of a request's body; undefined for anything else, and for more than `limit` bytes. */
export async function readJson(
  { request }: Exchange,
  limit = 4096,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length <= limit) pieces.push(piece); // what is too long is read to its end, so that an answer finds a listener
  }
  if (length > limit) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
