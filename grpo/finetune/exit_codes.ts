/** How a command or a run ended, as a number: the exit status of commands, and what run.json keeps. */
import { NoAdapterError } from '../../engine/driver/adapter.js';
import { EnvironmentError, FileError, OutOfMemoryError } from '../../engine/errors.js';
import { reasonOf } from '../../engine/files.js';
import { ModelFileError } from '../../models/files/errors.js';
import { CheckpointError } from '../checkpoint.js';
import { RewardError } from '../rewards/reward.js';
import { DivergedError } from '../trainer.js';
import { InterruptedError, UsageError } from './errors.js';

export const exitCodes = {
  done: 0,
  /** A bug in this program: worth a report. */
  bug: 1,
  /** Wrong arguments, configuration or variables of the environment. */
  usage: 2,
  /** No adapter, or one without a feature or limit that is needed. */
  noAdapter: 3,
  /** A tensor that does not fit into the GPU's memory or its budget. */
  outOfMemory: 4,
  deviceLost: 5,
  /** A file of the user's that can't be read (weights, prompts, a checkpoint), or one that can't be written. */
  badFile: 6,
  /** The weights, or what they are computed from, are no longer finite. */
  diverged: 7,
  /** A reward threw, timed out, or gave something other than its scores. */
  rewardFailed: 8,
  /** `eval --min` was not reached. */
  belowMinimum: 9,
  /** Ended by Ctrl-C (SIGINT) or by SIGTERM, after what was done had been saved. */
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The exit status for an error that ends a command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof NoAdapterError) return exitCodes.noAdapter;
  if (error instanceof UsageError || error instanceof EnvironmentError) return exitCodes.usage;
  if (error instanceof ModelFileError || error instanceof FileError || error instanceof CheckpointError)
    return exitCodes.badFile;
  if (error instanceof OutOfMemoryError) return exitCodes.outOfMemory;
  if (error instanceof DivergedError) return exitCodes.diverged;
  if (error instanceof RewardError) return exitCodes.rewardFailed;
  if (error instanceof InterruptedError)
    return error.signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated;
  if (error instanceof Error && error.message.startsWith('device lost')) return exitCodes.deviceLost;
  if (reasonOf(error) !== undefined) return exitCodes.badFile; // what the system refuses is about files of the user's
  return exitCodes.bug;
}
