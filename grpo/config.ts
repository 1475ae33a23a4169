/**
 * The configuration of a run: one entry a key, with its type, range, default and meaning. The typed configuration, the YAML
 * files, `--set`, the schema for editors and the table in grpo/README.md all come from these entries. Keys are those of the
 * files. The defaults of `lora.alpha`, `sampler.kind`, `sampler.noise` and `sampler.eval_steps` depend on other keys and are
 * filled in later (finetune/config).
 */
import { z } from 'zod';
import { prompts, reward } from './config_inputs.js';
import { evaluation, sample, save, track } from './config_records.js';
import { rollout, workers } from './config_sharing.js';
import {
  above,
  atLeast,
  between,
  decay,
  flag,
  list,
  most,
  oneOf,
  section,
  seed,
  text,
  whole,
} from './config_values.js';

/**
 * How the group is thinned: while it is sampled, by the largest variance of its previews' rewards (`ovf`, Pro-GRPO) or at
 * random (`uniform`); after it, by the largest variance of final rewards (`ovf-after`), or to the lowest and the highest of
 * them (`best-of-n`, DanceGRPO); or not at all (`none`).
 */
export const prunings = ['ovf', 'uniform', 'none', 'ovf-after', 'best-of-n'] as const;
export type Prune = (typeof prunings)[number];

/** One step's distribution: Flow-GRPO's or DanceGRPO's flow SDE, coefficients-preserving sampling, or DDIM with eta. */
export const stepKinds = ['flow-sde', 'dance', 'cps', 'ddim'] as const;
export type StepKind = (typeof stepKinds)[number];

/** Where the SDE window lies: at one place, at a random one each update, or at one that moves on. */
export const windowPlaces = ['fixed', 'random', 'moving'] as const;

/** What a trained row counts as by its step: as any other, or as TempFlow-GRPO or GRPO-Guard has it. */
export const rowWeightings = ['none', 'tempflow', 'guard'] as const;

/** The divergence from the reference policy: Flow-GRPO's form, the true Gaussian one, or squared difference of predictions. */
export const klForms = ['flow-grpo', 'gaussian', 'velocity'] as const;
export type KLForm = (typeof klForms)[number];

/** What the divergence is from: the network as it was loaded, or the adapter as the run began with it. */
export const klReferences = ['base', 'initial'] as const;

/**
 * What survivors are trained by: the clipped ratio of their steps' log probabilities (`ppo`, GRPO), or rows of the forward process
 * from their final latents, which need neither noise nor a stored path (`nft`, DiffusionNFT; `awm`, advantage weighted matching).
 */
export const losses = ['ppo', 'nft', 'awm'] as const;
export type LossKind = (typeof losses)[number];

/** The weight of AWM's matching loss, as learning/forward_loss.ts has it. */
export const awmWeights = ['uniform', 't', 't2', 'huber', 'ghuber'] as const;
export type AwmWeight = (typeof awmWeights)[number];

/** The default of `sampler.noise`, by the kind of step. */
export const defaultNoise: Readonly<Record<StepKind, number>> = { 'flow-sde': 0.7, cps: 0.8, dance: 0.3, ddim: 1 };

const model = section({
  path: text('a model folder, or the name of an embedded model').describe(
    "A model folder in diffusers' layout, or the name of an embedded model: scenes-flow, scenes-diffusion.",
  ),
  weights: oneOf(['f32', 'f16']).default('f16').describe('How frozen matrices are kept on the GPU. Sums are f32.'),
  variant: text('the name of a variant, such as fp16')
    .regex(/^\w+$/, { error: 'the name of a variant, such as fp16' })
    .optional()
    .describe("Variant of the weights' files, such as fp16. Default: the plain files, or the only variant."),
});

const lora = section({
  rank: whole(1, 65_536).default(8).describe("Rank of the adapter's matrices."),
  alpha: above(0).optional().describe("The adapter's factor is alpha / rank. Default: 2 rank."),
  targets: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)], {
      error: 'attention, blocks, the end of a layer name, or a list of those',
    })
    .default('attention')
    .describe(
      'attention: every attention projection (of SD3: of the joint attention). blocks: every linear layer of the transformer blocks. Or names of layers, by their ends.',
    ),
});

const window = section({
  size: whole(1, 1000).describe(
    'Steps of the SDE window. grpo.timestep_fraction and grpo.shuffle_timesteps choose among them.',
  ),
  place: oneOf(windowPlaces)
    .default('fixed')
    .describe(
      'fixed: at the start of its range. random: anywhere in it, anew each update (Flow-GRPO-Fast). moving: on by one step every so often, and from the end back to the start (MixGRPO).',
    ),
  range: z
    .tuple([whole(0, 1000), whole(1, 1000)], { error: 'a first step and an end, such as [0, 5]' })
    .optional()
    .describe(
      'The steps that the window lies in: the first, and the end, which is excluded. Default: the first half for random, else every step that can be trained.',
    ),
  every: whole(1, most).default(25).describe('Updates between two moves of a moving window.'),
});

const sampler = section({
  steps: whole(1, 1000).default(10).describe('Denoising steps of a rollout, T.'),
  guidance: atLeast(0).default(1).describe('Classifier-free guidance in rollout and training; 1 is none.'),
  kind: oneOf(stepKinds)
    .optional()
    .describe(
      "Distribution of a step: Flow-GRPO's or DanceGRPO's SDE or CPS for flows, ddim for diffusion. Default: flow-sde or ddim.",
    ),
  noise: atLeast(0)
    .optional()
    .describe(
      'a of flow-sde and cps, c of dance, eta of ddim. 0: deterministic steps, for grpo.loss nft and awm alone. Default by the kind: 0.7, 0.8, 0.3, 1.',
    ),
  resolution: z
    .union([whole(8, 65_536), z.tuple([whole(8, 65_536), whole(8, 65_536)])], {
      error: 'a side in pixels, or [height, width]',
    })
    .optional()
    .describe("Side of a picture in pixels, or [height, width]. Default: the model's own."),
  negative_prompt: z
    .string({ error: 'a text' })
    .optional()
    .describe('What guidance leads away from, in rollout, training and evaluation. Default: the empty prompt.'),
  batch: whole(1, most)
    .optional()
    .describe(
      'Samples in one network call at most: bounds memory, changes no result. Whole groups that fit are drawn together. Default: a group, or as many samples as have 16,384 pixels of latents.',
    ),
  eval_steps: whole(1, 1000).optional().describe('Steps of an evaluation. Default: those of a rollout.'),
  eval_guidance: atLeast(0).optional().describe("Guidance of an evaluation. Default: the rollout's."),
  eval_noise: atLeast(0)
    .default(0)
    .describe(
      "Noise of an evaluation's steps, of the rollout's kind and in every step, whatever the window. 0: deterministic steps, as Flow-GRPO evaluates; the rollout's own noise judges the very policy that is trained, as DDPO and DanceGRPO do.",
    ),
  detach_unconditional: flag()
    .default(true)
    .describe('The unconditional half of the guidance gets no gradient, as in Flow-GRPO.'),
  same_latent: flag().default(false).describe('One initial latent for a whole group, as in DanceGRPO.'),
  window: window
    .nullable()
    .default(null)
    .describe(
      'The SDE window: the only steps of a rollout that draw noise and are trained; the others are deterministic. null: noise in every step.',
    ),
});

const grpo = section({
  keep: list(whole(2, most), 'counts, such as [24, 16, 12]')
    .default([24, 16, 12])
    .describe('Size of the group, then survivors of each selection: [G] without pruning.'),
  prune_at: list(whole(0), 'steps, such as [5, 7]')
    .default([5, 7])
    .describe(
      '0-based steps of the selections, one fewer than keep. Empty for ovf-after and best-of-n, and for uniform where final rewards could have decided.',
    ),
  prune: oneOf(prunings)
    .default('ovf')
    .describe(
      'ovf: largest variance of previews. uniform: at random. none. ovf-after: largest variance of final rewards. best-of-n: the lowest and the highest final rewards.',
    ),
  groups_per_update: whole(1, most).default(8).describe('Prompts an update, each sampled as a group.'),
  loss: oneOf(losses)
    .default('ppo')
    .describe(
      "ppo: clipped ratio of the steps' log probabilities. nft (DiffusionNFT) and awm (advantage weighted matching), for flows: noise is added to the survivors' final latents again, and the prediction learns from that; any sampler, no stored path, no guidance in training.",
    ),
  forward_rows: whole(1, 1000)
    .default(3)
    .describe('nft and awm: rows of a survivor, each with noise and a level t of its own.'),
  nft_beta: above(0)
    .default(1)
    .describe(
      "nft: how far the implicit policies reach to either side of the old one, as a share of the policy's step.",
    ),
  awm_weight: oneOf(awmWeights)
    .default('uniform')
    .describe(
      'awm: what the squared error l of the prediction counts as. uniform: l. t: t l. t2: t^2 l. huber: t sqrt(l). ghuber: 4 t l^(1/4).',
    ),
  clip: between(0, 0.999, 'a number above 0 and below 1')
    .default(1e-4)
    .describe('Clip range of the ratio, to either side of 1; small, as the log probability is a mean over elements.'),
  row_weights: oneOf(rowWeightings)
    .default('none')
    .describe(
      "Weight of a trained step beside its trajectory's others. tempflow: its deviation over the mean of theirs (TempFlow-GRPO). guard: GRPO-Guard, whose ratio is free of the deviation, divided by the step's length; with one update a rollout a weight, with several the rollout's predictions are kept.",
    ),
  kl: atLeast(0)
    .default(0)
    .describe('Weight of the divergence from the reference policy (grpo.kl_reference); 0 saves its forward.'),
  kl_reference: oneOf(klReferences)
    .default('base')
    .describe(
      'The reference policy. base: the network without its adapter; where lora is null, a copy of the weights that learn as they began. initial: a copy of the adapter as the run began with it (--init-lora). Checkpoints keep a copy.',
    ),
  kl_form: oneOf(klForms)
    .default('flow-grpo')
    .describe(
      'Form of the divergence: flow-grpo, the true gaussian one, or velocity: squared difference of predictions.',
    ),
  advantage_max: above(0).default(5).describe('Advantages are clamped to plus and minus this.'),
  advantage_eps: atLeast(0).default(1e-4).describe('Added to the deviation that rewards are divided by.'),
  global_std: flag().default(false).describe("Deviation of all final rewards of the update instead of the group's."),
  combine: oneOf(['sum', 'normalised'])
    .default('sum')
    .describe('Weighted sum of raw rewards, or each normalised in its group first.'),
  timestep_fraction: between(0, 1, 'a share above 0 and up to 1')
    .default(1)
    .describe(
      'Share of the path that is trained, counted from noise: of the trainable steps the first ones, unless shuffled; of nft and awm levels t in (1 - share, 1].',
    ),
  shuffle_timesteps: flag()
    .default(false)
    .describe('Draw the trained steps at random for each trajectory instead of taking the first ones.'),
  train_last_step: flag().default(false).describe('Train the last step too, whose noise is tiny.'),
  updates_per_rollout: whole(1, most)
    .default(1)
    .describe('Optimizer steps over one rollout; the first is exactly on-policy.'),
});

const train = section({
  updates: whole(0).default(100).describe('Rollouts, each followed by grpo.updates_per_rollout optimizer steps.'),
  weights: z
    .array(z.string().min(1))
    .min(1)
    .nullish()
    .describe(
      'Where lora is null, the weights that learn, by the ends of their names: biases and gains alone are few, and few groups teach them more surely (BitFit: Ben Zaken et al. 2022). Default: all, which needs model.weights f32.',
    ),
  lr: atLeast(0).default(3e-4).describe("AdamW's learning rate; 3e-4 suits an adapter, 1e-5 all weights."),
  weight_decay: atLeast(0).default(1e-4).describe("AdamW's weight decay."),
  betas: z
    .tuple([decay(), decay()], { error: 'two decays, such as [0.9, 0.999]' })
    .default([0.9, 0.999])
    .describe("AdamW's decay of both moments."),
  eps: above(0)
    .default(1e-8)
    .describe(
      "Added to the root of AdamW's second moment. Far above a gradient's elements (1e-6 are usual here) the step follows their size, as SGD's does, instead of their sign.",
    ),
  grad_norm: above(0).default(1).describe("The gradient's norm at most."),
  micro_batch: whole(1, most)
    .default(4)
    .describe('Trajectory-steps in one forward and backward: memory, not the result.'),
  ema: decay().default(0).describe("Decay of the weights' moving average, which is evaluated and saved; 0 for none."),
  checkpointing: flag()
    .default(false)
    .describe('Recompute blocks in the backward instead of keeping their activations.'),
});

/** The keys of a run as a file has them. */
export const configSchema = section({
  model: model.describe('The model that learns.'),
  lora: lora
    .nullable()
    .prefault({})
    .describe("Low-rank adapter; null trains the network's own weights, all or those of train.weights."),
  prompts: prompts.describe('What is drawn.'),
  reward: z
    .record(z.string(), reward.describe('The keys of one reward.'), {
      error: 'rewards by name, each with its keys: { brightness: {} }',
    })
    .describe('Rewards by name. Names without module or http are built in.'),
  sampler: sampler.prefault({}).describe('How trajectories are drawn.'),
  grpo: grpo.prefault({}).describe('Groups, selections and the loss.'),
  rollout: rollout.prefault({}).describe('How drawing and scoring overlap.'),
  train: train.prefault({}).describe('The optimizer.'),
  workers: workers.prefault({}).describe('How an update is shared out among machines.'),
  save: save.prefault({}).describe('Checkpoints.'),
  sample: sample.prefault({}).describe('Pictures to look at.'),
  eval: evaluation.prefault({}).describe('Held-out pictures and their rewards.'),
  track: track.prefault({}).describe('Trackers that follow the run besides its own files.'),
  seed: seed().default(42).describe('Seed of weights, noise and the order of prompts, 32 bits.'),
});

/** What a file says, with the defaults that depend on no other key. */
export type ParsedConfig = z.output<typeof configSchema>;

/** A reward's section. */
export type RewardConfig = z.output<typeof reward>;

/** A configuration with every default filled in. `sampler.kind` stays open where the model decides. */
export interface RunConfig extends Omit<ParsedConfig, 'lora' | 'sampler'> {
  lora: (z.output<typeof lora> & { alpha: number }) | null;
  sampler: z.output<typeof sampler> & { noise: number; eval_steps: number };
}

export type SamplerConfig = RunConfig['sampler'];
export type GrpoConfig = RunConfig['grpo'];
export type RolloutConfig = RunConfig['rollout'];
export type TrainConfig = RunConfig['train'];

/** The defaults of the sections that may be left out whole, but for those that depend on other keys. */
export const defaults = {
  lora: lora.parse({}),
  reward: reward.parse({}),
  sampler: sampler.parse({}),
  grpo: grpo.parse({}),
  rollout: rollout.parse({}),
  train: train.parse({}),
  workers: workers.parse({}),
};
