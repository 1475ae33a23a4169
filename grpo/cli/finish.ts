import type { ExitCode } from '../finetune/exit_codes.js';

/** Takes the status of a command that has ended with another than 0. */
export type Finish = (code: ExitCode) => void;
