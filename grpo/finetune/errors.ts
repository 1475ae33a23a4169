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

/** Runs a preparation: what a check refuses then is the configuration's fault, not a bug. */
export async function preparing<R>(body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof CheckError && !(error instanceof OutOfMemoryError))
      throw new UsageError(error.message, { cause: error });
    throw error;
  }
}
