/** Commands that a message proposes. */

/** An argument as a POSIX shell reads it back: as it is where it has plain characters alone, else in single quotes. */
export const shellQuote = (argument: string): string =>
  /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
