/** Table 5: the size that a group begins with, of which 8 are trained on. */
import type { Claim, TrainingExperiment } from '../experiment.js';
import { pruned } from '../methods.js';
import { flopRatio, meanOfColumn, rewardAfter, secondsRatio } from '../quantities.js';
import { comparedShares, spanOf, trainedReward } from '../recipe.js';

const sizes = [32, 48, 64] as const;
const methodOf = (size: number) => pruned(`to8_${size}`, `initial group of ${size}`, [size, size / 2, 8], [5, 7]);

const larger = (more: number, less: number): Claim[] =>
  comparedShares.map((share) => ({
    says: `A group that begins with ${more} learns more than one that begins with ${less} in ${spanOf(share)}.`,
    of: methodOf(more).name,
    over: methodOf(less).name,
    quantity: rewardAfter(trainedReward, { share }),
  }));

export const table5: TrainingExperiment = {
  kind: 'training',
  name: 'table5',
  paper: 'table 5',
  title: 'The size that a group begins with',
  about: 'Half of it goes on at step 5, and 8 from step 7 on, whatever it began with.',
  baseline: methodOf(32).name,
  methods: sizes.map(methodOf),
  columns: [
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    rewardAfter('scenes-hps', { title: 'hps' }),
    meanOfColumn('spread/kept', 'spread of the kept rewards'),
    flopRatio,
    secondsRatio,
  ],
  figures: [],
  claims: [...larger(48, 32), ...larger(64, 48), ...larger(64, 32)],
};
