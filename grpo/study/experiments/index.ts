/** The experiments, in the order of the report. */
import type { Experiment } from '../experiment.js';
import { beyond } from './beyond.js';
import { controls } from './controls.js';
import { figure1 } from './figure1.js';
import { figure2 } from './figure2.js';
import { figure5 } from './figure5.js';
import { recipeSearch } from './recipe.js';
import { regime } from './regime.js';
import { table1 } from './table1.js';
import { table2 } from './table2.js';
import { table3 } from './table3.js';
import { table5 } from './table5.js';
import { table6 } from './table6.js';

/** Those of the report. */
export const experiments: readonly Experiment[] = [
  figure1,
  figure2,
  table1,
  table2,
  table3,
  table5,
  table6,
  figure5,
  regime,
  controls,
  beyond,
];

/** Those of `--quick`. */
export const quickExperiments: readonly Experiment[] = [table1, table6];

/** What was done before: run where it is named. */
export const preliminary: readonly Experiment[] = [recipeSearch];
