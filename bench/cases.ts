/** Every case of `npm run bench`, in the order they run. */

import { blockStepCases } from './block_step.js';
import type { BenchCase } from './harness.js';
import { attentionCases } from './ops/attention.js';
import { conv2dCases } from './ops/conv2d.js';
import { copyCases } from './ops/copy.js';
import { elementwiseCases } from './ops/elementwise.js';
import { matmulCases } from './ops/matmul.js';
import { normCases } from './ops/norm.js';
import { optimizerCases } from './ops/optimizer.js';
import { reduceCases } from './ops/reduce.js';
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
