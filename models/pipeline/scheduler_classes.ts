/**
 * diffusers' schedulers of diffusion: their noise schedules are of one kind, and they differ in the sampler, which here is DDIM.
 * Defaults are those of their constructors in diffusers 0.42.
 */

/** The defaults in which the classes differ; of a key that a class lacks, what it does. */
export interface DiffusionDefaults {
  readonly beta_start: number;
  readonly beta_end: number;
  readonly timestep_spacing: 'leading' | 'trailing' | 'linspace';
  readonly set_alpha_to_one: boolean;
  readonly clip_sample: boolean;
}

const usual: DiffusionDefaults = {
  beta_start: 0.0001,
  beta_end: 0.02,
  timestep_spacing: 'linspace',
  set_alpha_to_one: true,
  clip_sample: false,
};
const karras: DiffusionDefaults = { ...usual, beta_start: 0.00085, beta_end: 0.012 };

export const diffusionClasses: Readonly<Record<string, DiffusionDefaults>> = {
  DDIMScheduler: { ...usual, timestep_spacing: 'leading', clip_sample: true },
  DDPMScheduler: { ...usual, timestep_spacing: 'leading', clip_sample: true },
  PNDMScheduler: { ...usual, timestep_spacing: 'leading', set_alpha_to_one: false },
  DPMSolverMultistepScheduler: usual,
  DPMSolverSinglestepScheduler: usual,
  DEISMultistepScheduler: usual,
  UniPCMultistepScheduler: usual,
  EulerDiscreteScheduler: usual,
  EulerAncestralDiscreteScheduler: usual,
  LMSDiscreteScheduler: usual,
  HeunDiscreteScheduler: karras,
  KDPM2DiscreteScheduler: karras,
  KDPM2AncestralDiscreteScheduler: karras,
};

/** Why some keys change nothing here. */
const reasons = {
  solver: 'a setting of another sampler than DDIM, which samples',
  spacing: 'spaces the levels of another sampler than DDIM, which visits timesteps by timestep_spacing',
  noise: "the variance of another sampler's noise; DDIM has its own, by sampler.noise",
  thresholding: 'read only with thresholding, which is refused',
  flow: 'read only with use_flow_sigmas, which is refused',
  format: 'the library that older files were written for',
} as const;

/** Keys of these classes that change nothing, each with the reason. */
export const irrelevantKeys: Readonly<Record<string, string>> = {
  skip_prk_steps: reasons.solver,
  solver_order: reasons.solver,
  algorithm_type: reasons.solver,
  solver_type: reasons.solver,
  solver_p: reasons.solver,
  lower_order_final: reasons.solver,
  euler_at_final: reasons.solver,
  final_sigmas_type: reasons.solver,
  lambda_min_clipped: reasons.solver,
  predict_x0: reasons.solver,
  disable_corrector: reasons.solver,
  interpolation_type: reasons.solver,
  use_karras_sigmas: reasons.spacing,
  use_exponential_sigmas: reasons.spacing,
  use_beta_sigmas: reasons.spacing,
  use_lu_lambdas: reasons.spacing,
  variance_type: reasons.noise,
  dynamic_thresholding_ratio: reasons.thresholding,
  sample_max_value: reasons.thresholding,
  flow_shift: reasons.flow,
  time_shift_type: reasons.flow,
  tensor_format: reasons.format,
};
