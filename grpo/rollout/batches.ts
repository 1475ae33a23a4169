/** A batch in equal parts, for captured steps of one size. */

export interface Parts {
  /** Size of each part. */
  readonly size: number;
  /** First place of each. The last may begin within the one before, and repeat what that did. */
  readonly starts: readonly number[];
}

/** The fewest parts of one size, `most` at most, that cover `count` places. */
export function equalParts(count: number, most: number): Parts {
  const parts = Math.ceil(count / Math.max(1, Math.min(most, count)));
  const size = Math.ceil(count / parts);
  return { size, starts: Array.from({ length: parts }, (_, i) => Math.min(i * size, count - size)) };
}

/** The places of the part that begins at `start`. */
export const placesOf = (start: number, { size }: Parts): number[] => Array.from({ length: size }, (_, i) => start + i);
