/** The configuration of a run: one interface, every field with its unit and its default. Keys are those of the YAML file. */

/** How the group is thinned while it is sampled, or afterwards. */
export type Prune = 'ovf' | 'uniform' | 'none' | 'ovf-after';

/** One step's distribution: Flow-GRPO's or DanceGRPO's flow SDE, coefficients-preserving sampling, or DDIM with eta. */
export type StepKind = 'flow-sde' | 'dance' | 'cps' | 'ddim';

export interface RewardConfig {
  /** Factor of the reward in the sum. Default 1. */
  weight: number;
  /** A user's ES module, default export (images) => scores. */
  module?: string;
  /** A server that is sent PNGs and answers with scores. */
  http?: string;
  /** Seconds until a server or module counts as failed. Default 60. */
  timeout_s: number;
  /** Folder of a checkpoint, for clip, pickscore, hpsv2 and aesthetic. */
  path?: string;
}

export interface RunConfig {
  model: {
    /** A model folder in diffusers' layout, or the name of an embedded model: scenes-flow, scenes-diffusion. */
    path: string;
    /** How frozen matrices are kept on the GPU. Default f16. */
    weights: 'f32' | 'f16';
  };
  /** Low-rank adapter; null trains every weight of the network (then `model.weights` must be f32 and `grpo.kl` 0). */
  lora: {
    /** Default 8. */
    rank: number;
    /** The adapter's factor is alpha / rank. Default 2 rank. */
    alpha: number;
    /** A preset (attention) or patterns of layer names. */
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
    /** Denoising steps of a rollout, T. */
    steps: number;
    /** Classifier-free guidance in rollout and training; 1 is none. */
    guidance: number;
    /** Default by the kind of model: flow-sde or ddim. */
    kind?: StepKind;
    /** a of flow-sde and cps, c of dance, eta of ddim. */
    noise: number;
    /** Pixels; default: the model's own. */
    resolution?: number;
    /** Deterministic steps of an evaluation, and its guidance (default: the rollout's). */
    eval_steps: number;
    eval_guidance?: number;
    /** Whether the unconditional half of the guidance gets no gradient, as in Flow-GRPO. Default true. */
    detach_unconditional: boolean;
    /** One initial latent for a whole group, as in DanceGRPO. Default false. */
    same_latent: boolean;
  };
  grpo: {
    /** Size of the group, then survivors after each checkpoint: [G] without pruning, [24, 16, 12] for Flash. */
    keep: number[];
    /** 0-based step indices of the checkpoints, one fewer than `keep`; for ovf-after empty. */
    prune_at: number[];
    prune: Prune;
    /** Prompts an update, each sampled as a group. */
    groups_per_update: number;
    /** The clip range of the ratio. */
    clip: number;
    /** Weight of the divergence from the reference policy (adapter off); 0 saves its forward. */
    kl: number;
    /** Flow-GRPO's form, the true Gaussian divergence, or squared difference of predictions. */
    kl_form: 'flow-grpo' | 'gaussian' | 'velocity';
    /** Advantages are clamped to plus and minus this. Default 5. */
    advantage_max: number;
    /** Added to the deviation. Default 1e-4. */
    advantage_eps: number;
    /** Deviation of all final rewards of the update instead of the group's. Default false. */
    global_std: boolean;
    /** Weighted sum of raw rewards, or each normalised in its group first. */
    combine: 'sum' | 'normalised';
    /** Share of the trainable steps used in an update, first ones unless shuffled. Default 1. */
    timestep_fraction: number;
    /** Draw the trained steps at random for each trajectory instead of the first ones. Default false. */
    shuffle_timesteps: boolean;
    /** Whether the last step, whose noise is tiny, is trained too. Default false. */
    train_last_step: boolean;
    /** Optimizer steps over one rollout; the first is exactly on-policy. Default 1. */
    updates_per_rollout: number;
  };
  train: {
    /** Rollouts, each followed by `grpo.updates_per_rollout` optimizer steps. */
    updates: number;
    lr: number;
    weight_decay: number;
    betas: [number, number];
    /** The gradient's norm at most. */
    grad_norm: number;
    /** Trajectory-steps in one forward and backward. */
    micro_batch: number;
    /** Decay of the weights' moving average; 0 for none. */
    ema: number;
    /** Recompute blocks in the backward instead of keeping their activations. */
    checkpointing: boolean;
  };
  save: {
    /** Updates between checkpoints; the last is always written. */
    every: number;
    /** How many stay on disk. */
    keep: number;
  };
  sample: {
    /** Updates between sample grids; 0 for before and after alone. */
    every: number;
    /** A file of prompts; default: the first test prompts. */
    prompts?: string;
    seeds: number[];
  };
  eval: {
    /** Updates between evaluations; 0 for before and after alone. */
    every: number;
    /** Held-out pictures. */
    n: number;
    /** Rewards reported besides those that are trained on. */
    rewards: string[];
  };
  seed: number;
}
