/** The experiments, in the order of the report. */
import type { Experiment } from '../experiment.js';
import { table1 } from './table1.js';

export const experiments: readonly Experiment[] = [table1];

/** Those of `--quick`. */
export const quickExperiments: readonly Experiment[] = [table1];
