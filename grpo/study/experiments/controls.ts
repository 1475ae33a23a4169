/** The plainest way to spend less: a smaller group that nobody thins. */
import type { Claim, Method, TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, plainGroup, standard } from '../methods.js';
import { flopRatio, rewardAfter, rewardAtCost, secondsRatio } from '../quantities.js';
import { trainedReward } from '../recipe.js';

const [twelve, sixteen] = [plainGroup(12), plainGroup(16)];

/** A share of the baseline's cost that the cheapest method reaches too. */
const share = 0.25;

const claims = (method: Method, name: string): Claim[] =>
  [twelve, sixteen].flatMap((control): Claim[] => [
    {
      says: `${name} learns more than a ${control.label} in as many updates.`,
      of: method.name,
      over: control.name,
      quantity: rewardAfter(),
    },
    {
      says: `${name} learns more than a ${control.label} for the same FLOPs.`,
      of: method.name,
      over: control.name,
      quantity: rewardAtCost('flops', share),
    },
  ]);

export const controls: TrainingExperiment = {
  kind: 'training',
  name: 'controls',
  paper: 'a control of its own',
  title: 'A smaller group instead',
  about:
    'A plain group of 12 trains on as many rows as Flash and Standard, and costs half of the full group. Where an update teaches little anew, more and cheaper updates win by cost, whatever is thinned.',
  baseline: flowGrpo.name,
  methods: [flowGrpo, sixteen, twelve, flash, standard],
  columns: [
    rewardAfter(trainedReward, { title: 'pick after all updates' }),
    rewardAtCost('flops', share),
    rewardAtCost('seconds', share),
    flopRatio,
    secondsRatio,
  ],
  figures: [
    {
      name: 'controls_flops',
      title: `${trainedReward}, held out`,
      over: 'flops',
      y: { kind: 'reward', reward: trainedReward },
    },
  ],
  claims: [...claims(flash, 'Flash'), ...claims(standard, 'Standard')],
};
