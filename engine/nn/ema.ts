/** Exponential moving average of parameters, on the GPU. */
import { type EmaOperation, planEma } from '../../kernels/ema.js';
import type { Device } from '../device/device.js';
import { check } from '../errors.js';
import { owning } from '../owning.js';
import { dispatch } from '../tensor/op.js';
import { sameShape } from '../tensor/shape.js';
import { empty, scalar, type Tensor } from '../tensor/tensor.js';
import { wholeOf, zerosTogether } from '../tensor/together.js';

/** Options of an EMA. */
export interface EMAOptions {
  /** Weight of the old average in each update; later `ema.decay.write([value])`. */
  readonly decay: number;
}

/** The decay of update number `step` (0-based), warming up to `decay`: min((1 + step) / (10 + step), decay). */
export const emaDecay = (step: number, decay: number): number => Math.min((1 + step) / (10 + step), decay);

/**
 * Averages that follow the parameters: average += (1 - decay) (parameter - average) at each update(). To evaluate or
 * save with them, swap(), do so, and swap() back.
 */
export class EMA {
  /** f32 []: the decay of the next update. */
  readonly decay: Tensor;
  /** The averages, in the order of the parameters; they start as copies of them. */
  readonly averages: readonly Tensor[];
  private readonly device: Device;

  constructor(
    readonly parameters: readonly Tensor[],
    { decay }: EMAOptions,
  ) {
    const first = parameters[0];
    check(first !== undefined, 'EMA: expected at least one parameter');
    check(decay >= 0 && decay <= 1, `EMA: decay must lie between 0 and 1, found ${decay}`);
    for (const [i, parameter] of parameters.entries()) {
      check(parameter.dtype === 'f32', () => `EMA: parameter ${i} is ${parameter}, expected f32`);
    }
    const { device } = first;
    check(!device.recorder, 'EMA: make it outside the captured step');
    this.device = device;
    const shapes = parameters.map(({ shape }) => shape);
    const state = owning((own) => {
      const together = wholeOf(parameters) && zerosTogether(device, shapes)?.map(own);
      return { averages: together ?? shapes.map((shape) => own(empty(device, shape))), decay: scalar(device, decay) };
    });
    this.decay = state.decay;
    this.averages = state.averages;
    owning((own) => {
      own(this);
      // The copy runs in the other direction here: each parameter takes the average's part.
      this.run('copy', this.averages, parameters);
    });
  }

  /** Moves the averages towards the parameters. Can be captured. */
  update(): void {
    this.run('update', this.parameters, this.averages);
  }

  /** Exchanges the parameters' values with the averages', in place and without further memory. */
  swap(): void {
    this.run('swap', this.parameters, this.averages);
  }

  /** Overwrites `targets`, of the parameters' shapes, with the averages. */
  copyTo(targets: readonly Tensor[]): void {
    const { averages } = this;
    check(targets.length === averages.length, `EMA: ${targets.length} targets for ${averages.length} averages`);
    for (const [i, { shape, dtype }] of targets.entries()) {
      const matches = sameShape(shape, averages[i]!.shape) && dtype === 'f32';
      check(matches, () => `EMA: target ${i} is ${targets[i]}, its average ${averages[i]}`);
    }
    this.run('copy', targets, averages);
  }

  /** Frees the averages; the parameters stay. */
  dispose(): void {
    for (const state of [this.decay, ...this.averages]) state.dispose();
  }

  private run(operation: EmaOperation, parameters: readonly Tensor[], averages: readonly Tensor[]): void {
    const { device, decay } = this;
    const [all, allAverages] = [wholeOf(parameters), wholeOf(averages)];
    const pairs = all && allAverages ? [[all, allAverages]] : parameters.map((each, i) => [each, averages[i]!]);
    device.withLabel(`EMA ${operation}`, () => {
      for (const [parameter, average] of pairs as [Tensor, Tensor][]) {
        dispatch(planEma(operation, parameter.size), { average, parameter, decay });
      }
    });
  }
}
