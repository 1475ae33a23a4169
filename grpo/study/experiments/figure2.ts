/** Figure 2: the full group, half of it at random, and the half of largest variance of final rewards. */
import type { TrainingExperiment } from '../experiment.js';
import { flowGrpo, staticOvf, uniformHalf } from '../methods.js';
import { flopRatio, meanOfColumn, rewardAfter, rewardAtCost } from '../quantities.js';
import { comparedShares, costShares, equalMargin, spanOf, trainedReward } from '../recipe.js';

export const figure2: TrainingExperiment = {
  kind: 'training',
  name: 'figure2',
  paper: 'figure 2',
  title: 'Who is trained on: all, a random half, the half of largest variance',
  about: 'All three draw 24 to the end; the halves train on 12 of them.',
  baseline: flowGrpo.name,
  methods: [flowGrpo, uniformHalf, staticOvf],
  columns: [
    meanOfColumn('spread/kept', 'spread of the kept rewards'),
    meanOfColumn('spread/all', 'spread of all'),
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    flopRatio,
  ],
  figures: [
    {
      name: 'figure2_reward',
      title: `${trainedReward}, held out`,
      over: 'updates',
      y: { kind: 'reward', reward: trainedReward },
    },
    {
      name: 'figure2_spread',
      title: 'Spread of the rewards that are trained on',
      over: 'updates',
      y: { kind: 'record', column: 'spread/kept' },
    },
  ],
  claims: [
    {
      says: 'The full group learns more than a random half of it.',
      of: flowGrpo.name,
      over: uniformHalf.name,
      quantity: rewardAfter(),
    },
    {
      says: 'The full group learns more than a random half of it, early.',
      of: flowGrpo.name,
      over: uniformHalf.name,
      quantity: rewardAfter(trainedReward, { share: 0.25 }),
    },
    {
      says: 'Static OVF learns more than a random half.',
      of: staticOvf.name,
      over: uniformHalf.name,
      quantity: rewardAfter(),
    },
    {
      says: 'Static OVF learns more than the full group («less is more»).',
      of: staticOvf.name,
      over: flowGrpo.name,
      quantity: rewardAfter(),
    },
    {
      says: 'Static OVF learns as much as the full group, from half of the rows.',
      of: staticOvf.name,
      over: flowGrpo.name,
      quantity: rewardAfter(),
      margin: equalMargin,
    },
    ...costShares.map((share) => ({
      says: `Static OVF learns more than the full group for ${share} of its FLOPs.`,
      of: staticOvf.name,
      over: flowGrpo.name,
      quantity: rewardAtCost('flops', share),
    })),
  ],
};
