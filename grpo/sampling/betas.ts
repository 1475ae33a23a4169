/** The betas of diffusion: how much noise each timestep of training adds, in f32 where diffusers computes in f32. */
import { linspaceF32 } from './linspace.js';

/** How the betas rise. `squaredcos_cap_v2` is the cosine schedule of Nichol and Dhariwal 2021, eq. 17. */
export const betaSchedules = ['linear', 'scaled_linear', 'squaredcos_cap_v2'] as const;
export type BetaSchedule = (typeof betaSchedules)[number];

/** What the betas are made of. */
export interface BetaConfig {
  /** The timesteps of training. Default 1000. */
  readonly trainTimesteps?: number;
  /** The first and the last beta; the cosine schedule has its own. Default 0.00085 and 0.012: Stable Diffusion's. */
  readonly betaStart?: number;
  readonly betaEnd?: number;
  /** `scaled_linear`, linear in the square root, is Stable Diffusion's. Default. */
  readonly betaSchedule?: BetaSchedule;
  /** The betas themselves, one for each timestep, in place of all that. */
  readonly trainedBetas?: readonly number[] | null;
  /** Rescales them so that nothing of the sample is left at the last timestep (Lin et al. 2023, algorithm 1). Default false. */
  readonly rescaleZeroSnr?: boolean;
}

const { fround } = Math;

/** Beta of each timestep, f32. */
function betasOf({
  trainTimesteps = 1000,
  betaStart = 0.00085,
  betaEnd = 0.012,
  betaSchedule = 'scaled_linear',
  trainedBetas = null,
}: BetaConfig): Float32Array {
  if (trainedBetas) return Float32Array.from(trainedBetas);
  switch (betaSchedule) {
    case 'linear':
      return Float32Array.from(linspaceF32(betaStart, betaEnd, trainTimesteps));
    case 'scaled_linear':
      return Float32Array.from(
        linspaceF32(Math.sqrt(betaStart), Math.sqrt(betaEnd), trainTimesteps),
        (level) => level * level,
      );
    case 'squaredcos_cap_v2': {
      const product = (time: number): number => Math.cos((((time + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return Float32Array.from({ length: trainTimesteps }, (_, i) =>
        Math.min(1 - product((i + 1) / trainTimesteps) / product(i / trainTimesteps), 0.999),
      );
    }
  }
}

/** The products of 1 - beta: the factors in f32, their product in double precision, as PyTorch's cumprod. */
function productsOf(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((beta) => {
    product *= fround(1 - beta);
    return product;
  });
}

/** Betas whose product ends at 0: the square roots of the products are shifted to end there, and scaled to begin as before. */
function rescaledBetas(betas: Float32Array): Float32Array {
  const roots = productsOf(betas).map(Math.sqrt);
  const [first, last] = [roots[0]!, roots.at(-1)!];
  const scale = fround(first / fround(first - last));
  const products = roots.map((root) => fround(fround(root - last) * scale) ** 2);
  return products.map((product, i) => 1 - (i === 0 ? product : fround(product / products[i - 1]!)));
}

/** The product of 1 - beta up to each timestep, which falls: the share of the sample in the variance of its noisy latents. */
export function alphasCumprod(config: BetaConfig = {}): Float32Array {
  const betas = betasOf(config);
  return productsOf(config.rescaleZeroSnr ? rescaledBetas(betas) : betas);
}
