/** Ctrl-C and SIGTERM: the first asks for an end in good order, the second ends the process. */
import { InterruptedError } from '../finetune/errors.js';
import { exitCodes } from '../finetune/exit_codes.js';

/** An interruption that a command may end by in good order. */
export interface Interruption {
  /** Aborted by the first SIGINT or SIGTERM, with an InterruptedError. */
  readonly signal: AbortSignal;
  /** Signals end the process again, as they do without this. */
  release(): void;
}

/** Milliseconds within which a signal is the same one again: npm hands on a Ctrl-C that the terminal sends to both. */
const echo = 500;

/** Has the first signal ask for an end, and the second end the process at once. */
export function catchInterrupts(onFirst: () => void): Interruption {
  const controller = new AbortController();
  let first = 0;
  const interrupt = (given: NodeJS.Signals): void => {
    const signal = given === 'SIGTERM' ? 'SIGTERM' : 'SIGINT';
    if (!controller.signal.aborted) {
      first = performance.now();
      onFirst();
      controller.abort(new InterruptedError(signal));
    } else if (performance.now() - first > echo) {
      process.exit(signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated);
    }
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    },
  };
}
