/** The configuration of a run: one interface, every field with its unit and its default. Keys are those of the YAML file. */

/**
 * How the group is thinned: while it is sampled, by the largest variance of its previews' rewards (`ovf`, Pro-GRPO) or at
 * random (`uniform`); after it, by the largest variance of final rewards (`ovf-after`), or to the lowest and the highest of
 * them (`best-of-n`, DanceGRPO); or not at all (`none`).
 */
export type Prune = 'ovf' | 'uniform' | 'none' | 'ovf-after' | 'best-of-n';

/** One step's distribution: Flow-GRPO's or DanceGRPO's flow SDE, coefficients-preserving sampling, or DDIM with eta. */
export type StepKind = 'flow-sde' | 'dance' | 'cps' | 'ddim';

/** The divergence from the reference policy: Flow-GRPO's form, the true Gaussian one, or squared difference of predictions. */
export type KLForm = 'flow-grpo' | 'gaussian' | 'velocity';

export interface RewardConfig {
  /** Factor of the reward in the sum. Default 1. */
  weight: number;
  /** A user's ES module, default export (images) => scores. */
  module?: string;
  /** A server that is sent PNGs and answers with scores. */
  http?: string;
  /** Seconds until a server or module counts as failed. Default 60. */
  timeout_s: number;
  /** The folder with the reward's own weights, for clip, pickscore, hpsv2 and aesthetic. */
  path?: string;
}

export interface RunConfig {
  model: {
    /** A model folder in diffusers' layout, or the name of an embedded model: scenes-flow, scenes-diffusion. */
    path: string;
    /** How frozen matrices are kept on the GPU. Default f16. */
    weights: 'f32' | 'f16';
  };
  /** Low-rank adapter; null trains the network's own weights, all or those of `train.weights` (then `grpo.kl` must be 0). */
  lora: {
    /** Rank of the added matrices. Default 8. */
    rank: number;
    /** The adapter's factor is alpha / rank. Default 2 rank. */
    alpha: number;
    /**
     * `attention`: every attention projection (of SD3: of the joint attention); `blocks`: every linear layer of the
     * transformer blocks; or names of layers, by their ends. Default attention.
     */
    targets: string | string[];
  } | null;
  prompts: {
    /** A file, .txt (one a line) or .jsonl ({"prompt": ..., ...meta}), or `scenes`: captions drawn from the scenes' grammar. */
    train: string;
    /** Held-out prompts for evaluation, the same forms. */
    test: string;
  };
  /** Rewards by name. Names without module or http are built in. */
  reward: Record<string, RewardConfig>;
  sampler: {
    /** Denoising steps of a rollout, T. Default 10. */
    steps: number;
    /** Classifier-free guidance in rollout and training. Default 1: none. */
    guidance: number;
    /** How the next latents are drawn. Default by the kind of model: flow-sde or ddim. */
    kind?: StepKind;
    /** How much noise a step adds: a of flow-sde and cps, c of dance, eta of ddim. Default by the kind: 0.7, 0.8, 0.3, 1. */
    noise: number;
    /** Height and width of pictures, in pixels. Default: the model's own. */
    resolution?: number;
    /** Steps of an evaluation. Default: those of a rollout. */
    eval_steps: number;
    /**
     * Noise of an evaluation's steps, of the rollout's kind. Default 0, deterministic steps, as Flow-GRPO evaluates; with the
     * rollout's own noise it judges the very policy that is trained, as DDPO and DanceGRPO follow theirs.
     */
    eval_noise: number;
    /** Guidance of an evaluation. Default: the rollout's. */
    eval_guidance?: number;
    /**
     * Samples in one network call at most: bounds memory, changes no result. Whole groups that fit are drawn together. Default: a
     * group, or where latents are small as many samples as have 16,384 pixels of them: 256 of 8 x 8.
     */
    batch?: number;
    /** Whether the unconditional half of the guidance gets no gradient, as in Flow-GRPO. Default true. */
    detach_unconditional: boolean;
    /** One initial latent for a whole group, as in DanceGRPO. Default false. */
    same_latent: boolean;
  };
  grpo: {
    /** Size of the group, then what is left after each selection: [G] without pruning. Default [24, 16, 12]: Flash. */
    keep: number[];
    /**
     * Steps, by their numbers from 0, that only the selected take; one fewer than `keep`. Empty for ovf-after and best-of-n,
     * and for uniform where final rewards could have decided. Default [5, 7].
     */
    prune_at: number[];
    /** How the group is thinned. Default ovf. */
    prune: Prune;
    /** Prompts an update, each sampled as a group. Default 8. */
    groups_per_update: number;
    /** The clip range of the ratio, to either side of 1. Default 1e-4: the log probability is a mean over elements. */
    clip: number;
    /** Weight of the divergence from the reference policy (adapter off); 0 saves its forward. Default 0. */
    kl: number;
    /** What that divergence is. Default flow-grpo. */
    kl_form: KLForm;
    /** Advantages are clamped to plus and minus this. Default 5. */
    advantage_max: number;
    /** Added to the deviation that rewards are divided by. Default 1e-4. */
    advantage_eps: number;
    /** Divide by the deviation of all final rewards of the update instead of the group's. Default false. */
    global_std: boolean;
    /** Whether raw rewards are added up, or each is normalised in its group first. Default sum. */
    combine: 'sum' | 'normalised';
    /** Share of the trainable steps that an update uses; these are the first ones unless shuffled. Default 1. */
    timestep_fraction: number;
    /** Draw the trained steps at random for each trajectory instead of the first ones. Default false. */
    shuffle_timesteps: boolean;
    /** Whether the last step, whose noise is tiny, is trained too. Default false. */
    train_last_step: boolean;
    /** Optimizer steps over one rollout; the first is exactly on-policy. Default 1. */
    updates_per_rollout: number;
  };
  train: {
    /** Rollouts, each followed by `grpo.updates_per_rollout` optimizer steps. Default 100. */
    updates: number;
    /**
     * Where `lora` is null, the weights that learn, by the ends of their names: biases and gains alone are few, and few groups
     * teach them more surely than many weights (BitFit: Ben Zaken et al. 2022). Default all, which needs `model.weights` f32.
     */
    weights?: string[];
    /** AdamW's learning rate. Default 3e-4, for an adapter; 1e-5 is usual for all weights. */
    lr: number;
    /** AdamW's decoupled weight decay. Default 1e-4. */
    weight_decay: number;
    /** AdamW's decay of both moments. Default [0.9, 0.999]. */
    betas: [number, number];
    /**
     * Added to the root of AdamW's second moment. Far above a gradient's elements (1e-6 are usual here) the step follows their
     * size, as SGD's with momentum does, instead of their sign. Default 1e-8.
     */
    eps: number;
    /** The gradient's norm at most. Default 1. */
    grad_norm: number;
    /** Steps of trajectories in one forward and backward: bounds memory, changes no result. Default 4. */
    micro_batch: number;
    /** Decay of the weights' moving average; 0 for none. Default 0. */
    ema: number;
    /** Recompute blocks in the backward instead of keeping their activations. Default false. */
    checkpointing: boolean;
  };
  save: {
    /** Updates between checkpoints; the last is always written. Default 20. */
    every: number;
    /** How many checkpoints stay on disk. Default 5. */
    keep: number;
  };
  sample: {
    /** Updates between sample grids; 0 draws them before and after training alone. Default 0. */
    every: number;
    /** A file of prompts; default: the first test prompts. */
    prompts?: string;
    /** Seeds of the noise; each makes a picture of every prompt. Default [1, 2, 3, 4]. */
    seeds: number[];
  };
  eval: {
    /** Updates between evaluations; 0 evaluates before and after training alone. Default 0. */
    every: number;
    /** Held-out pictures. Default 64. */
    n: number;
    /** Rewards reported besides those that are trained on. Default none. */
    rewards: string[];
  };
  /** What weights, noise and the order of prompts are drawn from, 32 bits. Default 42. */
  seed: number;
}

export type SamplerConfig = RunConfig['sampler'];
export type GrpoConfig = RunConfig['grpo'];
export type TrainConfig = RunConfig['train'];

/** The default of every key that has one. Model, prompts and rewards have none: a run must name them. */
export const defaults = {
  model: { weights: 'f16' },
  lora: { rank: 8, targets: 'attention' },
  reward: { weight: 1, timeout_s: 60 },
  sampler: { steps: 10, guidance: 1, eval_noise: 0, detach_unconditional: true, same_latent: false },
  grpo: {
    keep: [24, 16, 12],
    prune_at: [5, 7],
    prune: 'ovf',
    groups_per_update: 8,
    clip: 1e-4,
    kl: 0,
    kl_form: 'flow-grpo',
    advantage_max: 5,
    advantage_eps: 1e-4,
    global_std: false,
    combine: 'sum',
    timestep_fraction: 1,
    shuffle_timesteps: false,
    train_last_step: false,
    updates_per_rollout: 1,
  },
  train: {
    updates: 100,
    lr: 3e-4,
    weight_decay: 1e-4,
    betas: [0.9, 0.999],
    eps: 1e-8,
    grad_norm: 1,
    micro_batch: 4,
    ema: 0,
    checkpointing: false,
  },
  save: { every: 20, keep: 5 },
  sample: { every: 0, seeds: [1, 2, 3, 4] },
  eval: { every: 0, n: 64, rewards: [] },
  seed: 42,
} as const;

/** The default of `sampler.noise`, by the kind of step. */
export const defaultNoise: Readonly<Record<StepKind, number>> = { 'flow-sde': 0.7, cps: 0.8, dance: 0.3, ddim: 1 };
