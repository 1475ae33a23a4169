/** The rows of a batch in chunks of one size, for captured steps that take fewer rows than the batch has. */

export interface Chunks {
  /** Rows of each chunk. */
  readonly size: number;
  /** First row of each. The last may begin within the one before, and repeat what that did. */
  readonly starts: readonly number[];
}

/** The fewest chunks of one size, `most` rows at most, that cover `count` rows. */
export function equalChunks(count: number, most: number): Chunks {
  const chunks = Math.ceil(count / Math.max(1, Math.min(most, count)));
  const size = Math.ceil(count / chunks);
  return { size, starts: Array.from({ length: chunks }, (_, i) => Math.min(i * size, count - size)) };
}

/** The rows of the chunk that begins at `start`. */
export const rowsOf = (start: number, { size }: Chunks): number[] => Array.from({ length: size }, (_, i) => start + i);
