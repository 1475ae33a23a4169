/** Random choices of the host as functions of whole numbers (run, update, group, ...), so that a resumed run draws them again. */

/** A 32-bit hash of whole numbers, each by its lowest 32 bits; any of them changes every bit. (murmur3's mixing.) */
export function hashNumbers(...numbers: readonly number[]): number {
  let hash = 0x9747b28c;
  for (const number of numbers) {
    hash = Math.imul(hash ^ Math.imul(number, 0xcc9e2d51), 0x1b873593);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return hash >>> 0;
}

/** The numbers 0 to size - 1 in a random order that the seeds fix. (Fisher and Yates's shuffle.) */
export function randomOrder(size: number, ...seeds: readonly number[]): number[] {
  const order = Array.from({ length: size }, (_, i) => i);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor((hashNumbers(...seeds, i) / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
