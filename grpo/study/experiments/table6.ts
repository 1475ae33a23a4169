/** Table 6: when a group is thinned, and how well previews rank by then. */
import type { Claim, Method, TrainingExperiment } from '../experiment.js';
import { pruned, standard } from '../methods.js';
import { flopRatio, meanOfColumn, rankAgreement, rewardAfter, secondsRatio } from '../quantities.js';
import { comparedShares, spanOf, trainedReward } from '../recipe.js';

const early = pruned('early', 'at steps 1 and 3', [48, 24, 12], [1, 3]);
const middle = pruned('middle', 'at steps 3 and 5', [48, 24, 12], [3, 5]);

const later = (late: Method, soon: Method, when: string): Claim[] =>
  comparedShares.map((share) => ({
    says: `Thinning at ${when} learns more in ${spanOf(share)}.`,
    of: late.name,
    over: soon.name,
    quantity: rewardAfter(trainedReward, { share }),
  }));

export const table6: TrainingExperiment = {
  kind: 'training',
  name: 'table6',
  paper: 'table 6',
  title: 'When a group is thinned',
  about:
    "Standard's sizes at earlier steps of 10; Standard itself thins late, at steps 5 and 7. Rank agreement is Spearman's coefficient of previews with final rewards, of groups that are drawn to their end beside the training every eighth update.",
  baseline: standard.name,
  methods: [early, middle, standard],
  columns: [
    rankAgreement,
    meanOfColumn('variance_kept', 'variance kept, of the best subset', 2),
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    rewardAfter('scenes-hps', { title: 'hps' }),
    flopRatio,
    secondsRatio,
  ],
  figures: [],
  claims: [
    ...later(standard, early, 'steps 5 and 7 rather than 1 and 3'),
    ...later(middle, early, 'steps 3 and 5 rather than 1 and 3'),
    ...later(standard, middle, 'steps 5 and 7 rather than 3 and 5'),
    {
      says: 'Previews rank better at steps 5 and 7 than at 1 and 3.',
      of: standard.name,
      over: early.name,
      quantity: rankAgreement,
    },
  ],
};
