/** Networks that make a vector of a picture, as rewards use them: in batches that fit their size, unit vectors on the host. */
import { capture, type Device, noGrad, type Step, type Tensor, zeros } from '../../../engine/index.js';
import { checkConfig } from '../../../models/files/config.js';
import type { CLIPConfig } from '../../../models/networks/clip.js';
import { clipVisionConfig } from '../../../models/networks/clip_vision.js';
import type { ImageProcessor } from '../../../models/pictures/image_processor.js';
import type { Picture } from '../../../models/pictures/png.js';

/** From pixels [N, 3, size, size] to features [N, dim]. */
type Encode = (pixels: Tensor) => Tensor;

/** What the memory of an image encoder goes by. */
export interface VisionSize {
  /** Side of the pictures that it reads, and of a patch, in pixels. */
  readonly imageSize: number;
  readonly patchSize: number;
  /** Features of a token. */
  readonly width: number;
}

/** That of a config of CLIP's, with transformers' defaults. */
export function visionSizeOf({ vision_config, vision_config_dict }: CLIPConfig): VisionSize {
  const { resolved } = checkConfig(clipVisionConfig, vision_config_dict ?? vision_config ?? {});
  const { image_size, patch_size, hidden_size } = resolved;
  return { imageSize: image_size, patchSize: patch_size, width: hidden_size };
}

/** Pictures that every encoder reads at once; ViT-H keeps 85 MB of intermediates for them. */
const fewest = 8;
/** Features of all tokens of as many pictures in ViT-H. */
const busyFeatures = fewest * 257 * 1280;
/** More at once save nothing: the fifty dispatches of a small encoder cost a millisecond, 64 pictures twenty. */
const mostPictures = 64;

/**
 * Sizes of the batches that `count` pictures are encoded in. Encoders smaller than ViT-H read more than 8 at once, in powers of
 * two, so that few sizes serve all counts and less than 8 places of the last batch stay empty.
 */
export function encodedTogether(count: number, { imageSize, patchSize, width }: VisionSize): number[] {
  const tokens = Math.floor(imageSize / patchSize) ** 2 + 1;
  const fitting = Math.min(mostPictures, busyFeatures / (tokens * width));
  const batches: number[] = [];
  for (let left = count; left > 0; left -= batches.at(-1)!) {
    let batch = fewest;
    while (2 * batch <= Math.min(left, fitting)) batch *= 2;
    batches.push(batch);
  }
  return batches;
}

/** Encodes pictures by captured steps, whose memory is planned once. A picture's vector does not depend on the others. */
export class ImageEncoder {
  /** By the number of pictures that are encoded together. */
  private readonly steps = new Map<number, EncoderStep>();

  private constructor(
    private readonly device: Device,
    private readonly encode: Encode,
    private readonly process: ImageProcessor,
    private readonly size: VisionSize,
  ) {}

  /** `size` is that of the network, whose pictures `process` makes. */
  static async create(
    device: Device,
    encode: Encode,
    process: ImageProcessor,
    size: VisionSize,
  ): Promise<ImageEncoder> {
    const encoder = new ImageEncoder(device, encode, process, size);
    await encoder.stepFor(fewest);
    return encoder;
  }

  /** The unit vector of each picture. */
  async unitVectors(images: readonly Picture[]): Promise<Float64Array[]> {
    return (await this.vectors(images)).map(unit);
  }

  /** The vector of each picture, as the network gives it. */
  async vectors(images: readonly Picture[]): Promise<Float64Array[]> {
    const batches = encodedTogether(images.length, this.size);
    for (const batch of batches) await this.stepFor(batch);
    let start = 0;
    // Each batch is prepared while the one before it is encoded.
    const vectors = batches.map(async (batch) => {
      const { pixels, step } = this.steps.get(batch)!;
      const part = images.slice(start, start + batch);
      start += batch;
      const values = new Float32Array(pixels.size); // what fills up the last batch moves no other picture
      for (const [i, image] of part.entries()) values.set(this.process(image), (i * pixels.size) / batch);
      pixels.write(values);
      step.run();
      return rowsOf(await step.outputs.features.data(), part.length, batch);
    });
    return (await Promise.all(vectors)).flat();
  }

  private async stepFor(batch: number): Promise<void> {
    if (this.steps.has(batch)) return;
    const { device, encode } = this;
    const { imageSize } = this.size;
    const pixels = zeros(device, [batch, 3, imageSize, imageSize]);
    try {
      const step = await capture(device, () => ({ features: noGrad(() => encode(pixels)) }));
      this.steps.set(batch, { pixels, step });
    } catch (error) {
      pixels.dispose();
      throw error;
    }
  }

  dispose(): void {
    for (const { pixels, step } of this.steps.values()) for (const thing of [step, pixels]) thing.dispose();
  }
}

interface EncoderStep {
  /** [batch, 3, size, size]. */
  readonly pixels: Tensor;
  readonly step: Step<{ readonly features: Tensor }>;
}

/** The first `count` of `rows` rows. */
function rowsOf(values: ArrayLike<number>, count: number, rows: number): Float64Array[] {
  const dim = values.length / rows;
  return Array.from({ length: count }, (_, row) =>
    Float64Array.from({ length: dim }, (_, i) => values[row * dim + i]!),
  );
}

/** A vector over its length. */
export function unit(vector: Float64Array): Float64Array {
  const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return vector.map((value) => value / norm);
}

export const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
