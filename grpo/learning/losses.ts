/** What the keys of a loss mean together: which rows of a survivor it trains on, and which keys say nothing to it. */
import { CheckError } from '../../engine/errors.js';
import { defaults, type GrpoConfig, type LossKind, type SamplerConfig } from '../config.js';
import type { WindowConfig } from '../sampling/window.js';
import { trainedStepCount, trainedSteps } from './timesteps.js';

/** Whether a loss learns from rows of the forward process, which need the final latents alone, instead of from steps of the path. */
export const isForward = (loss: LossKind): boolean => loss !== 'ppo';

type Rows = Pick<WindowConfig, 'sampler'> & {
  readonly grpo: Pick<
    GrpoConfig,
    'loss' | 'forward_rows' | 'timestep_fraction' | 'shuffle_timesteps' | 'train_last_step'
  >;
};

/** How many rows of each survivor are trained: steps of its path, or draws of noise and level. */
export const trainedRowCount = ({ sampler, grpo }: Rows): number =>
  isForward(grpo.loss) ? grpo.forward_rows : trainedStepCount(sampler, grpo);

/** The numbers of those rows, in training order: steps from the window's `start` on, which `seeds` may shuffle, or draws from 0 on. */
export const trainedRows = ({ sampler, grpo }: Rows, seeds: readonly number[], start: number): number[] =>
  isForward(grpo.loss)
    ? Array.from({ length: grpo.forward_rows }, (_, i) => i)
    : trainedSteps(sampler, grpo, seeds, start);

/** Whether the predictions before the first optimizer step of a rollout are kept, as later steps depart from them. */
export const keepsPredictions = ({
  loss,
  updates_per_rollout: steps,
}: Pick<GrpoConfig, 'loss' | 'updates_per_rollout'>): boolean => isForward(loss) && steps > 1;

/**
 * Whether a row of advantage 0 teaches something: with a divergence, and where DiffusionNFT's two implicit policies no longer
 * meet at the old one, so that they draw the policy back to it.
 */
export const learnsFromEveryRow = (grpo: Pick<GrpoConfig, 'loss' | 'kl' | 'updates_per_rollout'>): boolean =>
  grpo.kl > 0 || (grpo.loss === 'nft' && grpo.updates_per_rollout > 1);

/** The keys that a loss goes by. Those of the sampler may be open, where a model decides. */
export interface LossConfig {
  readonly sampler: Pick<SamplerConfig, 'steps' | 'same_latent' | 'detach_unconditional'> & {
    readonly kind?: SamplerConfig['kind'];
    readonly noise?: number | undefined;
  };
  readonly grpo: GrpoConfig;
}

/** A key whose value the loss contradicts, and what was expected and found. */
export interface LossProblem {
  readonly key: string;
  readonly message: string;
}

/**
 * What the keys have wrong for the loss: a sampler that it can't learn from, and keys that it would pass over in silence. An
 * empty list where there is nothing.
 */
export function lossProblems({ sampler, grpo }: LossConfig): LossProblem[] {
  const problems: LossProblem[] = [];
  const { loss } = grpo;
  const expect = (condition: boolean, key: string, message: string): void => {
    if (!condition) problems.push({ key, message });
  };
  const usual = (key: 'clip' | 'row_weights' | 'forward_rows' | 'nft_beta' | 'awm_weight', why: string): void =>
    expect(grpo[key] === defaults.grpo[key], `grpo.${key}`, `${why}; expected ${defaults.grpo[key]}, its default`);
  if (isForward(loss)) {
    const { kind, noise, same_latent: shared, detach_unconditional: detached } = sampler;
    const says = `grpo.loss is ${loss}`;
    expect(kind !== 'ddim', 'grpo.loss', `${loss} is for flows; steps of kind ddim are a diffusion model's`);
    expect(
      noise !== 0 || !shared,
      'sampler.same_latent',
      'deterministic steps (sampler.noise: 0) from one latent make one picture; expected false',
    );
    expect(detached, 'sampler.detach_unconditional', `${says}, which trains without guidance; expected true`);
    usual('row_weights', `${says}, which trains on no steps`);
    expect(!grpo.shuffle_timesteps, 'grpo.shuffle_timesteps', `${says}, which trains on no steps; expected false`);
    expect(!grpo.train_last_step, 'grpo.train_last_step', `${says}, which trains on no steps; expected false`);
    expect(
      grpo.kl === 0 || grpo.kl_form === 'velocity',
      'grpo.kl_form',
      `${says}, whose rows have no transition to compare; expected velocity, found ${grpo.kl_form}`,
    );
  } else {
    const trainable = grpo.train_last_step ? sampler.steps : sampler.steps - 1;
    expect(trainable >= 1, 'sampler.steps', 'expected 2 steps or more: the last is not trained (grpo.train_last_step)');
    expect(
      sampler.noise !== 0,
      'sampler.noise',
      'steps without noise have no ratio to learn from: expected a number above 0, found 0 (grpo.loss nft or awm can)',
    );
    usual('forward_rows', 'grpo.loss is ppo, which trains on steps of the path');
  }
  if (loss === 'nft') usual('clip', 'grpo.loss is nft, which has no ratio to clip');
  else usual('nft_beta', `grpo.loss is ${loss}, not nft`);
  if (loss !== 'awm') usual('awm_weight', `grpo.loss is ${loss}, not awm`);
  return problems;
}

/** Throws a CheckError for keys that contradict the loss, or a kind of model that it is not for. */
export function checkLoss(config: LossConfig, model: 'flow' | 'diffusion'): void {
  const { loss } = config.grpo;
  if (isForward(loss) && model !== 'flow')
    throw new CheckError(`grpo.loss: ${loss} is for flows, found a ${model} model; expected ppo`);
  const problems = lossProblems(config);
  if (problems.length > 0) throw new CheckError(problems.map(({ key, message }) => `${key}: ${message}`).join('; '));
}
