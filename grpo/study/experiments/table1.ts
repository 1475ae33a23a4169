/** Tables 1 and 4: what is gained, on the trained reward and on others, and what it costs. */
import type { TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, standard } from '../methods.js';
import { flopRatio, rewardAfter, rewardAtCost, secondsRatio } from '../quantities.js';
import { equalMargin, otherRewards, trainedReward } from '../recipe.js';

export const table1: TrainingExperiment = {
  kind: 'training',
  name: 'table1',
  paper: 'tables 1 and 4',
  title: 'Pro-GRPO beside Flow-GRPO',
  about:
    'One reward is trained on; the others stand for the taste of others. FLOPs are those of sampling, decoding and training an update; the clock is the median update.',
  baseline: flowGrpo.name,
  base: true,
  methods: [flowGrpo, flash, standard],
  columns: [
    rewardAfter(trainedReward, { title: 'pick, held out' }),
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
    {
      says: 'Standard learns more than the full group in as many updates.',
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAfter(),
    },
    {
      says: 'Standard learns more than the full group in half as many updates, before the reward saturates.',
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAfter(trainedReward, { share: 0.5 }),
    },
    {
      says: 'Flash learns as much as the full group in as many updates.',
      of: flash.name,
      over: flowGrpo.name,
      quantity: rewardAfter(),
      margin: equalMargin,
    },
    {
      says: 'Flash learns more than the full group for the same FLOPs.',
      of: flash.name,
      over: flowGrpo.name,
      quantity: rewardAtCost('flops', 0.5),
    },
    {
      says: 'Flash learns more than the full group in the same time.',
      of: flash.name,
      over: flowGrpo.name,
      quantity: rewardAtCost('seconds', 0.5),
    },
    {
      says: 'Standard learns more than the full group for the same FLOPs.',
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAtCost('flops', 0.5),
    },
    ...otherRewards.map((reward) => ({
      says: `Standard raises ${reward}, which it is not trained on, more than the full group.`,
      of: standard.name,
      over: flowGrpo.name,
      quantity: rewardAfter(reward),
    })),
  ],
};
