/** Figure 5: the trained reward by updates, by calls, by FLOPs and by seconds. */
import type { Axis, TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, standard, staticOvf, uniformHalf } from '../methods.js';
import { rewardAtCost } from '../quantities.js';
import { costShares, trainedReward } from '../recipe.js';

const axes: readonly Axis[] = ['updates', 'calls', 'flops', 'seconds'];

export const figure5: TrainingExperiment = {
  kind: 'training',
  name: 'figure5',
  paper: 'figure 5',
  title: 'Rewards by what they cost',
  about:
    'Means over seeds in the range of the seeds; the table is at a quarter and at a half of what the full group costs in all.',
  baseline: flowGrpo.name,
  methods: [flowGrpo, flash, standard, staticOvf, uniformHalf],
  columns: (['calls', 'flops', 'seconds'] as const).flatMap((cost) =>
    costShares.map((share) => rewardAtCost(cost, share)),
  ),
  figures: axes.map((over) => ({
    name: `figure5_${over}`,
    title: `${trainedReward}, held out`,
    over,
    y: { kind: 'reward', reward: trainedReward },
  })),
  claims: [],
};
