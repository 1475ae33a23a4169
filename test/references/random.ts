/** Philox4x32-10 with 64-bit integers, and Box-Muller in double precision. */

export type Words = readonly [number, number, number, number];

const word = (x: bigint): number => Number(x & 0xffffffffn);

/** Four random words from a counter and a key (Salmon et al. 2011). */
export function philox(counter: Words, key: readonly [number, number]): Words {
  let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const left = 0xd2511f53n * a;
    const right = 0xcd9e8d57n * c;
    [a, b, c, d] = [(right >> 32n) ^ b ^ k0, right & 0xffffffffn, (left >> 32n) ^ d ^ k1, left & 0xffffffffn];
    k0 = (k0 + 0x9e3779b9n) & 0xffffffffn;
    k1 = (k1 + 0xbb67ae85n) & 0xffffffffn;
  }
  return [word(a), word(b), word(c), word(d)];
}

/** `size` words of one sample: block j of four has the counter (j, counter, stream, 0). */
export function words(key: readonly [number, number], counter: number, size: number, stream = 0): number[] {
  const blocks = Array.from({ length: Math.ceil(size / 4) }, (_, block) => philox([block, counter, stream, 0], key));
  return blocks.flat().slice(0, size);
}

/** The kernel's uniform numbers of those words. */
export const uniformOf = (bits: readonly number[]): number[] => bits.map((x) => (x >>> 8) / 2 ** 24);

/** Box and Muller's normal numbers of those words, an even number of them. */
export function normalOf(bits: readonly number[]): number[] {
  const values: number[] = [];
  for (let i = 0; i < bits.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(bits[i]! / 2 ** 32 + 2 ** -33));
    const angle = 2 * Math.PI * ((bits[i + 1]! >>> 8) / 2 ** 24 - 0.5);
    values.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return values;
}
