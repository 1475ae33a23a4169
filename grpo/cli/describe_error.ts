/** An error that ends a command, as lines for a person. */
import { messageOf } from '../../engine/errors.js';
import { InterruptedError } from '../finetune/errors.js';
import { exitCodeOf, exitCodes } from '../finetune/exit_codes.js';

/** The lines that tell a user of an error: message alone where the cause is outside this program, with the stack for a bug. */
export function describeError(error: unknown): string {
  const code = exitCodeOf(error);
  const message = messageOf(error);
  if (error instanceof InterruptedError) return message;
  if (code !== exitCodes.bug) return `error[${code}]: ${message}`;
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  return `error[${code}]: ${stack}\n  This is a bug. Please report it with the output of \`winnow doctor --json\`.`;
}
