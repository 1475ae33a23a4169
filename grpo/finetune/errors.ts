/** Errors whose cause is what a user gave. */
import { CheckError, OutOfMemoryError } from '../../engine/errors.js';

/** Arguments or a configuration that make no sense. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Asked to end by a signal, and has done so in good order. */
export class InterruptedError extends Error {
  override name = 'InterruptedError';

  constructor(
    readonly signal: 'SIGINT' | 'SIGTERM',
    message = `interrupted by ${signal}`,
  ) {
    super(message);
  }
}

/**
 * Runs a preparation, or a whole command that computes once what it was asked for: what a check refuses then is the fault of
 * what was given, not a bug. In the middle of a training it would be one, as everything had passed before.
 */
export async function preparing<R>(body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    throw faultOfInput(error);
  }
}

/** What a check refused, as the fault of what was given; any other error as it is. */
export function faultOfInput(error: unknown): unknown {
  const isOurs = !(error instanceof CheckError) || error instanceof OutOfMemoryError;
  return isOurs ? error : new UsageError(error.message, { cause: error });
}
