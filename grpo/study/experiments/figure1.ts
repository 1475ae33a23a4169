/** Figure 1: do the rewards of a group cluster, and what do halves of it look like. */
import type { ClusteringExperiment } from '../experiment.js';
import { otherRewards, trainedReward } from '../recipe.js';

export const figure1: ClusteringExperiment = {
  kind: 'clustering',
  name: 'figure1',
  paper: 'figure 1',
  title: 'Reward clustering',
  about:
    'Shares of the rewards of a group within half a deviation and within one of its mean, of the full group, of a half at random and of the half of largest variance; mean and deviation are always those of the full group. The last row is what values of a normal distribution show in groups of that size: a larger share within half a deviation would be clustering.',
  prompts: 64,
  size: 24,
  keep: 12,
  rewards: [trainedReward, ...otherRewards],
};
