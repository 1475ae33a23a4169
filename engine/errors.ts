/** A refused input: the message says what came and what was expected; defineOp adds the op's name in front. */
export class CheckError extends Error {
  override name = 'CheckError';
}

/** A tensor that does not fit into the memory budget or into the device's buffers. */
export class OutOfMemoryError extends CheckError {
  override name = 'OutOfMemoryError';
}

/** A file of the user's that can't be read or written: the message has its path, and its line where there is one. */
export class FileError extends Error {
  override name = 'FileError';
}

/** An environment variable that can't be obeyed: the message has its name, what it is and what was expected. */
export class EnvironmentError extends Error {
  override name = 'EnvironmentError';
}

/** The same error, of the same class, with where it arose in front of its message. */
export function withPrefix(prefix: string, error: CheckError): CheckError {
  const kind = error.constructor as new (message: string, options: ErrorOptions) => CheckError;
  return new kind(`${prefix}: ${error.message}`, { cause: error });
}

/** Throws a CheckError with `message` unless `condition` holds. */
export function check(condition: boolean, message: string | (() => string)): asserts condition {
  if (!condition) throw new CheckError(typeof message === 'string' ? message : message());
}

/** Bytes as a person reads them: `134 MB`. Decimal units, as in the adapters' data sheets. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${units[unit]}`;
}

/** The message of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
