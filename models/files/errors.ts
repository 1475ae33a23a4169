/** What is wrong with a user's file. */

/** Is told what a person should know of a file that is loaded all the same. */
export type Warn = (message: string) => void;

/** Where nobody else is told: a warning of the process. */
export const processWarning: Warn = (message) => process.emitWarning(message, 'ModelFileWarning');

/** Problems listed in one message. */
const shownProblems = 8;

/**
 * A file of a model folder that can't be used. The message has the file on its first line, then one problem a line, each
 * with the key, what was found and what was expected.
 */
export class ModelFileError extends Error {
  override name = 'ModelFileError';

  constructor(
    readonly path: string,
    readonly problems: readonly string[],
    options?: ErrorOptions,
  ) {
    const more = problems.length - shownProblems;
    const lines = [...problems.slice(0, shownProblems), ...(more > 0 ? [`and ${more} more`] : [])];
    super([path, ...lines.map((line) => `  ${line}`)].join('\n'), options);
  }
}
