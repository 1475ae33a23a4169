/** How the recipe was fixed: the baseline alone, at several rates, on seeds that no comparison uses. Not a part of the report. */
import type { Method, TrainingExperiment } from '../experiment.js';
import { flowGrpo, varied } from '../methods.js';
import { rewardAfter } from '../quantities.js';
import { otherRewards, trainedReward } from '../recipe.js';

const seeds = 2;

const atRate = (lr: number): Method => ({
  ...varied(flowGrpo, `search_${lr}`, `full group of 24, rate ${lr}`, { train: { lr } }),
  firstSeed: 100,
  seeds,
});

const rates = [5e-4, 1e-3, 2e-3, 4e-3];

export const recipeSearch: TrainingExperiment = {
  kind: 'training',
  name: 'recipe',
  paper: 'the recipe',
  title: 'Rates of the baseline',
  about: `Seeds 100 and 101. The recipe has the rate beyond which a doubling no longer helps.`,
  baseline: `search_${rates[0]}`,
  methods: rates.map(atRate),
  columns: [
    ...[0.25, 0.5, 1].map((share) => rewardAfter(trainedReward, { share })),
    ...otherRewards.map((reward) => rewardAfter(reward)),
  ],
  figures: [],
  claims: rates.slice(1).map((lr, i) => ({
    says: `The rate ${lr} learns more than ${rates[i]}.`,
    of: `search_${lr}`,
    over: `search_${rates[i]}`,
    quantity: rewardAfter(),
  })),
};
