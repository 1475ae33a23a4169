/** Tables 1 and 4: what is gained, on the trained reward and on others, and what it costs. */
import type { TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, standard } from '../methods.js';
import { flopRatio, rewardAfter, rewardAtCost, secondsRatio } from '../quantities.js';
import { comparedShares, costShares, equalMargin, otherRewards, spanOf, trainedReward } from '../recipe.js';

export const table1: TrainingExperiment = {
  kind: 'training',
  name: 'table1',
  paper: 'tables 1 and 4',
  title: 'Pro-GRPO beside Flow-GRPO',
  about:
    'One reward is trained on; the others stand for the taste of others. FLOPs are those of sampling, decoding and training an update; the clock is that of an update.',
  baseline: flowGrpo.name,
  base: true,
  methods: [flowGrpo, flash, standard],
  columns: [
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    rewardAfter(trainedReward, { set: 'training', title: 'pick, training captions' }),
    ...otherRewards.map((reward) => rewardAfter(reward, { title: `${reward.replace('scenes-', '')}, held out` })),
    flopRatio,
    secondsRatio,
  ],
  figures: [
    {
      name: 'table1_updates',
      title: `${trainedReward}, held out, by updates`,
      over: 'updates',
      y: { kind: 'reward', reward: trainedReward },
    },
  ],
  claims: [
    ...comparedShares.map((share) => ({
      says: `Standard learns more than the full group in ${spanOf(share)}.`,
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAfter(trainedReward, { share }),
    })),
    ...comparedShares.map((share) => ({
      says: `Flash learns as much as the full group in ${spanOf(share)}.`,
      of: flash.name,
      over: flowGrpo.name,
      quantity: rewardAfter(trainedReward, { share }),
      margin: equalMargin,
    })),
    ...[flash, standard].flatMap((method) =>
      (['flops', 'seconds'] as const).flatMap((cost) =>
        costShares.map((share) => ({
          says: `${method.label.split(',')[0]} learns more than the full group for ${share} of its ${cost === 'flops' ? 'FLOPs' : 'time'}.`,
          of: method.name,
          over: flowGrpo.name,
          quantity: rewardAtCost(cost, share),
        })),
      ),
    ),
    ...otherRewards.map((reward) => ({
      says: `Standard raises ${reward}, which it is not trained on, more than the full group.`,
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAfter(reward),
    })),
  ],
};
