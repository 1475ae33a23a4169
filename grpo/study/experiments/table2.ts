/** Table 2: diffusion, by DDIM with eta 1: DanceGRPO's plain group and Pro-GRPO, with one reward and with two. */
import type { ConfigChanges } from '../../finetune/config/program.js';
import { wholeGroup } from '../../rollout/stages.js';
import type { Method, TrainingExperiment } from '../experiment.js';
import { pruned, varied } from '../methods.js';
import { flopRatio, rewardAfter, rewardAtCost, secondsRatio } from '../quantities.js';
import { otherRewards, trainedReward } from '../recipe.js';

/** The diffusion model's updates take longer: fewer seeds, so that the whole stays within its time. */
const seeds = 3;
const second = 'scenes-hps';

const dance: Method = {
  name: 'dance',
  label: 'DanceGRPO, plain group of 16',
  model: 'diffusion',
  changes: { grpo: wholeGroup(16) },
  seeds,
};
const pro: Method = { ...pruned('dance-pro', 'Pro-GRPO', [48, 32, 8], [6, 8]), model: 'diffusion', seeds };
const both: ConfigChanges = {
  reward: { [trainedReward]: weighted(), [second]: weighted() },
  grpo: { combine: 'normalised' },
};

/** A reward with the other keys' defaults. */
function weighted() {
  return { weight: 1, timeout_s: 60 };
}

const danceTwo = varied(dance, 'dance-two', 'DanceGRPO, two rewards', both);
const proTwo = varied(pro, 'dance-pro-two', 'Pro-GRPO, two rewards', both);

export const table2: TrainingExperiment = {
  kind: 'training',
  name: 'table2',
  paper: 'table 2',
  title: 'Diffusion: DanceGRPO and Pro-GRPO',
  about: `The embedded diffusion model, one reward (${trainedReward}) and two together (with ${second}, each normalised in its group). ${seeds} seeds, as the time of the whole allows no more.`,
  baseline: dance.name,
  base: true,
  methods: [dance, pro, danceTwo, proTwo],
  columns: [
    rewardAfter(trainedReward, { title: 'pick, held out' }),
    rewardAfter(trainedReward, { set: 'training', title: 'pick, training captions' }),
    ...otherRewards.map((reward) => rewardAfter(reward, { title: `${reward.replace('scenes-', '')}, held out` })),
    flopRatio,
    secondsRatio,
  ],
  figures: [
    {
      name: 'table2_reward',
      title: `${trainedReward}, held out, diffusion`,
      over: 'updates',
      y: { kind: 'reward', reward: trainedReward },
    },
  ],
  claims: [
    {
      says: 'On diffusion Pro-GRPO learns more than DanceGRPO in as many updates.',
      of: pro.name,
      over: dance.name,
      quantity: rewardAfter(),
    },
    {
      says: 'On diffusion Pro-GRPO learns more than DanceGRPO for the same FLOPs.',
      of: pro.name,
      over: dance.name,
      quantity: rewardAtCost('flops', 0.5),
    },
    ...[trainedReward, second].map((reward) => ({
      says: `With two rewards Pro-GRPO raises ${reward} more than DanceGRPO.`,
      of: proTwo.name,
      over: danceTwo.name,
      quantity: rewardAfter(reward),
    })),
  ],
};
