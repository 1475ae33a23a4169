/** Every case of `npm run bench`, in the order they run. */
import { attentionCases } from './attention.js';
import { blockStepCases } from './block_step.js';
import { conv2dCases } from './conv2d.js';
import { copyCases } from './copy.js';
import { elementwiseCases } from './elementwise.js';
import type { BenchCase } from './harness.js';
import { matmulCases } from './matmul.js';
import { normCases } from './norm.js';
import { optimizerCases } from './optimizer.js';
import { reduceCases } from './reduce.js';
import { trainStepCases } from './train_step.js';

export const cases: readonly BenchCase[] = [
  ...matmulCases,
  ...conv2dCases,
  ...attentionCases,
  ...normCases,
  ...reduceCases,
  ...elementwiseCases,
  ...copyCases,
  ...optimizerCases,
  ...trainStepCases,
  ...blockStepCases,
];
