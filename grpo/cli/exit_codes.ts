/** What the commands' exit status means. */
import { NoAdapterError } from '../../engine/adapter.js';
import { OutOfMemoryError } from '../../engine/errors.js';
import { ModelFileError } from '../../models/errors.js';

export const exitCodes = {
  done: 0,
  /** A bug in this program: worth a report. */
  bug: 1,
  /** Wrong arguments or configuration. */
  usage: 2,
  /** No adapter, or one without a feature or limit that is needed. */
  noAdapter: 3,
  /** A tensor that does not fit into the GPU's memory or its budget. */
  outOfMemory: 4,
  deviceLost: 5,
  /** A file of the user's that can't be read: weights, configuration of a model. */
  badFile: 6,
} as const;

/** Arguments that parse but make no sense together. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The exit status for an error that ends a command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof NoAdapterError) return exitCodes.noAdapter;
  if (error instanceof UsageError) return exitCodes.usage;
  if (error instanceof ModelFileError) return exitCodes.badFile;
  if (error instanceof OutOfMemoryError) return exitCodes.outOfMemory;
  if (error instanceof Error && error.message.startsWith('device lost')) return exitCodes.deviceLost;
  return exitCodes.bug;
}

/** The lines that tell a user of an error: message alone where the cause is outside this program, with the stack for a bug. */
export function describeError(error: unknown): string {
  const code = exitCodeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code !== exitCodes.bug) return `error[${code}]: ${message}`;
  const stack = error instanceof Error ? (error.stack ?? message) : message;
  return `error[${code}]: ${stack}\n  This is a bug. Please report it with the output of \`winnow doctor --json\`.`;
}
