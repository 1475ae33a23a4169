/** Methods that came after the paper, with and without its pruning: that combination is in no public program. */
import type { Claim, Method, TrainingExperiment } from '../experiment.js';
import { flash, flowGrpo, pruned, varied } from '../methods.js';
import { flopRatio, meanOfColumn, rankAgreement, rewardAfter, rewardAtCost, secondsRatio } from '../quantities.js';
import { comparedShares, costShares, equalMargin, spanOf, trainedReward } from '../recipe.js';

/** Fewer seeds than the study has, as the time of the whole demands it. */
const few = (method: Method): Method => ({ ...method, seeds: 3 });

const early = [1, 3] as const;
const soon = few(pruned('flash_early', 'Flash at steps 1 and 3', [24, 16, 12], early));

/** Noise in the first two steps alone, which are the trained ones (Flow-GRPO-Fast's number, at the place that learns most here). */
const window = {
  sampler: { window: { size: 2, place: 'fixed', every: 25 } },
  grpo: { timestep_fraction: 1 },
} as const;
const windowed = few(varied(flowGrpo, 'window', 'SDE window, full group of 24', window));
const windowedFlash = few(pruned('window_flash', 'SDE window, Flash at steps 3 and 5', [24, 16, 12], [3, 5], window));

/** Three rows of a survivor, as many as the recipe trains of a path; deterministic paths. */
const forward = { sampler: { noise: 0 }, grpo: { loss: 'nft', timestep_fraction: 1, clip: 1e-4 } } as const;
const nft = few(varied(flowGrpo, 'nft', 'DiffusionNFT, full group of 24', forward));
const proNft = few(pruned('pro_nft', 'Pro-NFT, Flash at steps 1 and 3', [24, 16, 12], early, forward));
const matching = few(
  varied(flowGrpo, 'awm', 'AWM, full group of 24', {
    ...forward,
    grpo: { ...forward.grpo, loss: 'awm', awm_weight: 'ghuber' },
  }),
);

const everyStep = few(
  varied(flowGrpo, 'all_steps', 'full group of 24, 9 steps trained', { grpo: { timestep_fraction: 1 } }),
);
const weighted = few(
  varied(everyStep, 'tempflow', 'the same, rows weighted by TempFlow', { grpo: { row_weights: 'tempflow' } }),
);

const more = (method: Method, other: Method, says: string): Claim[] =>
  comparedShares.map((share) => ({
    says: `${says} in ${spanOf(share)}.`,
    of: method.name,
    over: other.name,
    quantity: rewardAfter(trainedReward, { share }),
  }));

const cheaper = (method: Method, other: Method, says: string): Claim[] =>
  costShares.map((share) => ({
    says: `${says} for ${share} of Flow-GRPO's FLOPs.`,
    of: method.name,
    over: other.name,
    quantity: rewardAtCost('flops', share),
  }));

const asMuch = (method: Method, other: Method, says: string): Claim[] =>
  more(method, other, says).map((claim) => ({ ...claim, margin: equalMargin }));

export const beyond: TrainingExperiment = {
  kind: 'training',
  name: 'beyond',
  paper: 'beyond the paper',
  title: 'Other methods, thinned and whole',
  about:
    'Pruning chooses who is trained on, so it goes with any method that trains on survivors: the ratio of some noisy steps (an SDE window), or rows of the forward process (DiffusionNFT, advantage weighted matching), which need the final latents alone. On a path without noise a preview ranks as its end does much sooner, so selections may come earlier. Weights of rows are compared where all steps are trained.',
  baseline: flowGrpo.name,
  methods: [flowGrpo, flash, soon, windowed, windowedFlash, nft, proNft, matching, everyStep, weighted],
  columns: [
    rankAgreement,
    meanOfColumn('variance_kept', 'variance kept, of the best subset', 2),
    ...comparedShares.map((share) => rewardAfter(trainedReward, { share, title: `pick after ${spanOf(share)}` })),
    rewardAtCost('flops', 0.25),
    rewardAtCost('seconds', 0.25),
    rewardAfter('scenes-clip', { title: 'clip' }),
    flopRatio,
    secondsRatio,
  ],
  figures: [
    {
      name: 'beyond_flops',
      title: `${trainedReward}, held out`,
      over: 'flops',
      y: { kind: 'reward', reward: trainedReward },
      methods: [flowGrpo, flash, windowed, windowedFlash, nft, proNft].map(({ name }) => name),
    },
  ],
  claims: [
    ...asMuch(proNft, nft, "Pro-NFT learns as much as DiffusionNFT's full group"),
    ...cheaper(proNft, nft, "Pro-NFT learns more than DiffusionNFT's full group"),
    ...more(nft, flowGrpo, 'DiffusionNFT learns more than Flow-GRPO'),
    ...more(proNft, flash, 'Pro-NFT learns more than Flash'),
    ...asMuch(windowedFlash, windowed, 'With an SDE window Flash learns as much as the full group'),
    ...cheaper(windowedFlash, windowed, 'With an SDE window Flash learns more than the full group'),
    ...more(weighted, everyStep, "TempFlow's weights learn more where all steps are trained"),
    {
      says: 'At steps 1 and 3 previews rank better on a path without noise.',
      of: proNft.name,
      over: soon.name,
      quantity: rankAgreement,
    },
  ],
};
