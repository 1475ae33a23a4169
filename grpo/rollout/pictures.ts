/** From latents to the pictures that rewards see. */
import { forwardFlops } from '../../engine/device/flops.js';
import { assignRows, capture, indexSelect, noGrad, type Step, type Tensor, zeros } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { GenerativeModel, Prompt } from '../model.js';
import type { RewardImage } from '../rewards/reward.js';
import { type Chunks, equalChunks, rowsOf } from './chunks.js';

/** A picture that was sampled. */
export interface Picture extends RewardImage {
  /** Whether every value the decoder gave was finite. Bytes of those that were not are 0. */
  readonly finite: boolean;
}

/** Pictures decoded at once: a decoder at full size needs some 0.5 GB for one of 512 x 512, of 64 x 64 latents. */
export const decodedAtOnce = ([, height, width]: GenerativeModel['latentShape']): number =>
  Math.max(1, Math.floor(4096 / (height * width)));

/** Decodes batches of `count` latents, in chunks by a step that is captured once. */
export class PictureDecoder {
  private constructor(
    /** [count, ...]: what pictures() decodes. The caller writes it. */
    readonly latents: Tensor,
    private readonly chunks: Chunks,
    private readonly chunk: Tensor,
    private readonly decoded: Tensor,
    private readonly step: Step<void>,
  ) {}

  /** A decoder of `count` latents, `most` of them at once. */
  static create(
    model: GenerativeModel,
    count: number,
    most = decodedAtOnce(model.latentShape),
  ): Promise<PictureDecoder> {
    const { device, latentShape, pictureSize, decode } = model;
    return owning(async (own) => {
      const chunks = equalChunks(count, most);
      const latents = own(zeros(device, [count, ...latentShape]));
      const chunk = own(zeros(device, [chunks.size], 'u32'));
      const decoded = own(zeros(device, [count, 3, ...pictureSize]));
      const step = await capture(device, () =>
        noGrad(() => assignRows(decoded, chunk, decode(indexSelect(latents, chunk)))),
      );
      return new PictureDecoder(latents, chunks, chunk, decoded, step);
    });
  }

  /** Arithmetic of one picture in FLOP; sums and elementwise work are not counted. */
  get flops(): number {
    return forwardFlops(this.step.dispatches) / this.chunks.size;
  }

  /** The pictures of the latents, one for each of the prompts. */
  async pictures(prompts: readonly Prompt[]): Promise<Picture[]> {
    const { chunks, chunk, decoded, step } = this;
    for (const start of chunks.starts) {
      chunk.write(rowsOf(start, chunks));
      step.run();
    }
    const values = await decoded.data();
    const [, , height, width] = decoded.dims(4);
    const plane = height * width;
    return prompts.map((prompt, i) => {
      const { rgb, finite } = toBytes(values.subarray(3 * plane * i, 3 * plane * (i + 1)), plane);
      return { rgb, width, height, ...prompt, finite };
    });
  }

  dispose(): void {
    for (const thing of [this.step, this.latents, this.chunk, this.decoded]) thing.dispose();
  }
}

/** Three planes of values in [-1, 1] as interleaved bytes, rounded (halves to even) and clamped as Flow-GRPO does. */
function toBytes(values: ArrayLike<number>, plane: number): { rgb: Uint8Array; finite: boolean } {
  const rgb = new Uint8ClampedArray(3 * plane);
  let finite = true;
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < plane; i++) {
      const value = values[c * plane + i]!;
      if (!Number.isFinite(value)) finite = false;
      rgb[3 * i + c] = 255 * ((value + 1) / 2);
    }
  }
  return { rgb: new Uint8Array(rgb.buffer), finite };
}
