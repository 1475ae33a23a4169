/** Where turns that leave the GPU to others put what they go on with: latents, and the prediction of the step they are at. */
import { type Tensor, zeros } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { GenerativeModel } from '../model.js';

export interface ParkingSize {
  /** Turns that can be away at one time, and samples of each at most. */
  readonly lanes: number;
  readonly samples: number;
}

/**
 * Rows for the samples of each lane. What steps compute with besides, the batches of their stages, exists once, however many
 * turns are in flight: its activations are what is large.
 */
export class Parking {
  private constructor(
    private readonly size: ParkingSize,
    /** f32 [lanes samples, ...latent] both. */
    readonly latents: Tensor,
    readonly prediction: Tensor,
  ) {}

  static create({ device, latentShape }: GenerativeModel, size: ParkingSize): Parking {
    return owning((own) => {
      const make = (): Tensor => own(zeros(device, [size.lanes * size.samples, ...latentShape]));
      return new Parking(size, make(), make());
    });
  }

  /** The row of a lane's sample, by its place in the batch. */
  row(lane: number, place: number): number {
    return lane * this.size.samples + place;
  }

  dispose(): void {
    for (const each of [this.latents, this.prediction]) each.dispose();
  }
}
