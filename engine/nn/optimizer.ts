/** AdamW on the GPU: clipping, moments and updates in place, nothing read back. */
import { planAdamW, planAdamWStep, planSquareSum, squareSumChunks } from '../../kernels/adamw.js';
import type { Device } from '../device/device.js';
import { CheckError, check } from '../errors.js';
import { zerosLike } from '../ops/create.js';
import { assign } from '../ops/elementwise.js';
import { owning } from '../owning.js';
import { dispatch } from '../tensor/op.js';
import { type Shape, sameShape } from '../tensor/shape.js';
import { scalar, type Tensor, tensor } from '../tensor/tensor.js';
import { wholeOf, zerosTogether } from '../tensor/together.js';

/** Options of AdamW. */
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

interface Unit {
  readonly parameter: Tensor;
  readonly first: Tensor;
  readonly second: Tensor;
}

const shapesOf = (tensors: readonly Tensor[]): Shape[] => tensors.map(({ shape }) => shape);

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019), and PyTorch's clip_grad_norm_ before it.
 *
 * A step changes the parameters in place and reads nothing back, so it can be captured; learning rate and count are
 * tensors for that reason. A step whose gradients have no finite norm (an infinity, NaN, or squares beyond f32) changes
 * nothing but `gradNorm`.
 *
 * Parameters that were made or moved together are updated in one dispatch, others in one each.
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
  /** Where gradients are gathered when the parameters lie together. */
  private readonly gathered: readonly Tensor[] | null;
  /** What one dispatch updates: all parameters that lie together, or each. */
  private readonly units: readonly Unit[];

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
    const whole = wholeOf(parameters);
    const state = owning((own) => {
      const zeros = (): readonly Tensor[] =>
        (whole ? zerosTogether(device, shapesOf(parameters))?.map(own) : null) ??
        parameters.map((parameter) => own(zerosLike(parameter)));
      const [firstMoments, secondMoments] = [zeros(), zeros()];
      const gathered = whole && zeros();
      const units = whole
        ? [{ parameter: whole, first: wholeOf(firstMoments)!, second: wholeOf(secondMoments)! }]
        : parameters.map((parameter, i) => ({ parameter, first: firstMoments[i]!, second: secondMoments[i]! }));
      const chunks = units.reduce((sum, { parameter }) => sum + squareSumChunks(parameter.size), 0);
      return {
        firstMoments,
        secondMoments,
        gathered,
        units,
        lr: own(scalar(device, lr)),
        count: own(scalar(device, 0, 'u32')),
        gradNorm: own(scalar(device, 0)),
        factors: own(tensor(device, [0, 0, 0, 0])),
        partials: tensor(device, new Float32Array(chunks)),
      };
    });
    this.firstMoments = state.firstMoments;
    this.secondMoments = state.secondMoments;
    this.gathered = state.gathered;
    this.units = state.units;
    this.lr = state.lr;
    this.count = state.count;
    this.gradNorm = state.gradNorm;
    this.factors = state.factors;
    this.partials = state.partials;
  }

  /** Updates the parameters by their gradients, given in the same order. */
  step(gradients: readonly Tensor[]): void {
    const { device, parameters, units, partials, factors, count, gradNorm, lr, options } = this;
    check(
      gradients.length === parameters.length,
      () => `AdamW: ${gradients.length} gradients for ${parameters.length} parameters`,
    );
    for (const [i, gradient] of gradients.entries()) {
      if (!sameShape(gradient.shape, parameters[i]!.shape) || gradient.dtype !== 'f32') {
        throw new CheckError(`AdamW: gradient ${i} is ${gradient}, its parameter ${parameters[i]}`);
      }
    }
    device.withLabel('AdamW', () => {
      const sources = this.gather(gradients);
      let start = 0;
      for (const gradient of sources) {
        dispatch(planSquareSum(gradient.size, start), { x: gradient, partials });
        start += squareSumChunks(gradient.size);
      }
      dispatch(planAdamWStep(start, options.betas, this.maxGradNorm), { partials, count, norm: gradNorm, factors });
      for (const [i, { parameter, first, second }] of units.entries()) {
        dispatch(planAdamW(parameter.size, options), {
          parameter,
          gradient: sources[i]!,
          first_moment: first,
          second_moment: second,
          factors,
          lr,
        });
      }
    });
  }

  /** The gradients as the units take them. */
  private gather(gradients: readonly Tensor[]): readonly Tensor[] {
    const { gathered } = this;
    if (!gathered) return gradients;
    const whole = wholeOf(gradients);
    if (whole) return [whole];
    for (const [i, gradient] of gradients.entries()) assign(gathered[i]!, gradient);
    return [wholeOf(gathered)!];
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
    const { gradNorm, factors, partials, gathered } = this;
    const others = [gradNorm, factors, partials, ...(gathered ?? [])];
    for (const state of [...Object.values(this.stateTensors()), ...others]) state.dispose();
  }
}
