/** AdamW on the GPU: clipping, moments and updates in place, nothing read back. */
import { planAdamW, planAdamWStep, planSquareSum, squareSumChunks } from '../kernels/adamw.js';
import type { Device } from './device.js';
import { CheckError, check } from './errors.js';
import { dispatch } from './op.js';
import { sameShape } from './shape.js';
import { scalar, type Tensor, tensor } from './tensor.js';

export interface AdamWOptions {
  /** Learning rate at the start; later `optimizer.lr.write([value])`. Default 1e-3. */
  readonly lr?: number;
  /** Decay of the running means of the gradient and of its square. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps?: number;
  /** Decoupled decay: each step takes lr * weightDecay * parameter away. Default 1e-2. */
  readonly weightDecay?: number;
  /** Gradients are scaled down so that their global norm is at most this. Default: no clipping. */
  readonly maxGradNorm?: number;
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019), and PyTorch's clip_grad_norm_ before it.
 *
 * A step changes the parameters in place and reads nothing back, so it can be captured; learning rate and count are
 * tensors for that reason. A step whose gradients have no finite norm (an infinity, NaN, or squares beyond f32) changes
 * nothing but `gradNorm`.
 */
export class AdamW {
  /** f32 []: the learning rate of the next step. */
  readonly lr: Tensor;
  /** u32 []: steps taken, skipped ones not counted. */
  readonly count: Tensor;
  /** f32 []: the global norm of the last step's gradients, before clipping. */
  readonly gradNorm: Tensor;
  /** Running means of the gradients, in the order of the parameters. */
  readonly firstMoments: readonly Tensor[];
  /** Running means of the squared gradients. */
  readonly secondMoments: readonly Tensor[];
  private readonly device: Device;
  private readonly options: Required<Omit<AdamWOptions, 'lr' | 'maxGradNorm'>>;
  private readonly maxGradNorm: number | undefined;
  private readonly partials: Tensor;
  private readonly factors: Tensor;

  /** Makes the state for `parameters`, which must be f32 leaves: f16 would lose updates smaller than a half's step. */
  constructor(
    readonly parameters: readonly Tensor[],
    { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 1e-2, maxGradNorm }: AdamWOptions = {},
  ) {
    const first = parameters[0];
    check(first !== undefined, 'AdamW: expected at least one parameter');
    for (const [i, parameter] of parameters.entries()) {
      check(parameter.dtype === 'f32', () => `AdamW: parameter ${i} is ${parameter}, expected f32`);
      check(!parameter.node, () => `AdamW: parameter ${i} is the output of ${parameter.node?.name}, not a leaf`);
    }
    const storages = new Set(parameters.map(({ storage }) => storage));
    check(storages.size === parameters.length, 'AdamW: two parameters share their memory; pass each once');
    check(
      betas.every((beta) => beta > 0 && beta < 1),
      `AdamW: betas [${betas}] must lie between 0 and 1`,
    );
    check(eps > 0, `AdamW: eps must be positive, found ${eps}`);
    check(lr >= 0 && weightDecay >= 0, `AdamW: lr ${lr} and weightDecay ${weightDecay} must not be negative`);
    check(maxGradNorm === undefined || maxGradNorm > 0, `AdamW: maxGradNorm must be positive, found ${maxGradNorm}`);
    const { device } = first;
    check(!device.recorder, 'AdamW: make the optimizer outside the captured step');
    this.device = device;
    this.options = { betas, eps, weightDecay };
    this.maxGradNorm = maxGradNorm;
    const zeros = ({ size, shape }: Tensor): Tensor => tensor(device, new Float32Array(size), shape);
    this.firstMoments = parameters.map(zeros);
    this.secondMoments = parameters.map(zeros);
    this.lr = scalar(device, lr);
    this.count = scalar(device, 0, 'u32');
    this.gradNorm = scalar(device, 0);
    this.factors = tensor(device, [0, 0, 0, 0]);
    const chunks = parameters.reduce((sum, { size }) => sum + squareSumChunks(size), 0);
    this.partials = tensor(device, new Float32Array(chunks));
  }

  /** Updates the parameters by their gradients, given in the same order. */
  step(gradients: readonly Tensor[]): void {
    const { device, parameters, partials, factors, count, gradNorm, lr, options } = this;
    check(
      gradients.length === parameters.length,
      () => `AdamW: ${gradients.length} gradients for ${parameters.length} parameters`,
    );
    device.withLabel('AdamW', () => {
      let start = 0;
      for (const [i, gradient] of gradients.entries()) {
        const { shape } = parameters[i]!;
        if (!sameShape(gradient.shape, shape) || gradient.dtype !== 'f32') {
          throw new CheckError(`AdamW: gradient ${i} is ${gradient}, its parameter ${parameters[i]}`);
        }
        dispatch(planSquareSum(gradient.size, start), { x: gradient, partials });
        start += squareSumChunks(gradient.size);
      }
      dispatch(planAdamWStep(start, options.betas, this.maxGradNorm), { partials, count, norm: gradNorm, factors });
      for (const [i, parameter] of parameters.entries()) {
        dispatch(planAdamW(parameter.size, options), {
          parameter,
          gradient: gradients[i]!,
          first_moment: this.firstMoments[i]!,
          second_moment: this.secondMoments[i]!,
          factors,
          lr,
        });
      }
    });
  }

  /** The state a checkpoint needs, by name; restore it with `write`. */
  stateTensors(): Record<string, Tensor> {
    const state: Record<string, Tensor> = { count: this.count, lr: this.lr };
    this.firstMoments.forEach((moment, i) => {
      state[`firstMoments.${i}`] = moment;
    });
    this.secondMoments.forEach((moment, i) => {
      state[`secondMoments.${i}`] = moment;
    });
    return state;
  }

  /** Frees the state; the parameters stay. */
  dispose(): void {
    for (const state of [...Object.values(this.stateTensors()), this.gradNorm, this.factors, this.partials])
      state.dispose();
  }
}
