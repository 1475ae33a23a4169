/** Whether comparisons depend on the learning rate: a sweep of the baseline's, and the comparison at half of it. */
import type { Claim, Method, TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, standard, varied } from '../methods.js';
import { rewardAfter, rewardAtCost } from '../quantities.js';
import { comparedShares, costShares, equalMargin, rate, spanOf, trainedReward } from '../recipe.js';

/** Fewer seeds than the study has, as the time of the whole demands it; fewest for rates that no comparison is made at. */
const [some, few] = [4, 2];

const atRate = (method: Method, factor: number, name: string, seeds = some): Method => ({
  ...varied(method, `${method.name}_${name}`, `${method.label}, ${factor} x the rate`, {
    train: { lr: factor * rate },
  }),
  seeds,
});

const half = atRate(flowGrpo, 0.5, 'half');
const double = atRate(flowGrpo, 2, 'double', few);
const quadruple = atRate(flowGrpo, 4, 'quadruple', few);
const [flashHalf, standardHalf] = [atRate(flash, 0.5, 'half'), atRate(standard, 0.5, 'half')];

const faster = (more: Method, less: Method, says: string): Claim => ({
  says,
  of: more.name,
  over: less.name,
  quantity: rewardAfter(),
});

export const regime: TrainingExperiment = {
  kind: 'training',
  name: 'regime',
  paper: 'a control of its own',
  title: 'The learning rate',
  about:
    'Where a doubling of the rate helps, the number of updates decides and not the signal, and every method that makes an update cheaper looks better than it is. So the baseline is swept, and the comparison is made at half the rate too.',
  baseline: flowGrpo.name,
  methods: [half, flowGrpo, double, quadruple, flashHalf, standardHalf],
  columns: [
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    rewardAfter('scenes-clip', { title: 'clip' }),
    rewardAfter('scene-checker', { title: 'checker' }),
  ],
  figures: [
    {
      name: 'regime_rates',
      title: `${trainedReward}, held out, full group`,
      over: 'updates',
      y: { kind: 'reward', reward: trainedReward },
      methods: [half, flowGrpo, double, quadruple].map(({ name }) => name),
    },
  ],
  claims: [
    faster(flowGrpo, half, 'The full group learns more at the rate than at half of it.'),
    faster(double, flowGrpo, 'The full group learns more at twice the rate.'),
    { ...faster(flashHalf, half, 'At half the rate Flash learns as much as the full group.'), margin: equalMargin },
    ...costShares.map((share) => ({
      ...faster(flashHalf, half, `At half the rate Flash learns more than the full group for ${share} of its FLOPs.`),
      quantity: rewardAtCost('flops', share),
    })),
    ...comparedShares.map((share) => ({
      ...faster(standardHalf, half, `At half the rate Standard learns more than the full group in ${spanOf(share)}.`),
      quantity: rewardAfter(trainedReward, { share }),
    })),
  ],
};
