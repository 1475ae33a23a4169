/** The image encoder of a CLIP's folder, as the rewards that need no texts use it. */
import type { Device, Tensor } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import type { ResolvedConfig } from '../../../models/files/config.js';
import { clipVisionKeys } from '../../../models/files/key_layouts.js';
import { loadWeights } from '../../../models/files/weights.js';
import type { clipConfig } from '../../../models/networks/clip.js';
import { CLIPVisionModelWithProjection } from '../../../models/networks/clip_vision.js';
import { readImageProcessor } from '../../../models/pictures/image_processor.js';
import { ImageEncoder, visionSizeOf } from './image_encoder.js';

/** What is taken of an image encoder's output: [B, features]. */
export type ReadOutput = (output: ReturnType<CLIPVisionModelWithProjection['forward']>) => Tensor;

export interface VisionEncoder extends Pick<ImageEncoder, 'vectors' | 'unitVectors'> {
  dispose(): void;
}

/**
 * Loads the image encoder of a CLIP in transformers' layout, whose config.json has been read; its text encoder is passed over.
 * Throws a ModelFileError for files that are missing or do not fit.
 */
export function loadVision(
  device: Device,
  folder: string,
  config: ResolvedConfig<typeof clipConfig>,
  read: ReadOutput,
): Promise<VisionEncoder> {
  const size = visionSizeOf(config);
  const vision = { ...(config.vision_config_dict ?? config.vision_config), projection_dim: config.projection_dim };
  return owning(async (own): Promise<VisionEncoder> => {
    const process = await readImageProcessor(folder, size.imageSize);
    const parameters = own(new Parameters({ storage: 'f16' }));
    const network = new CLIPVisionModelWithProjection(parameters, vision);
    await loadWeights(device, folder, parameters, { keys: clipVisionKeys });
    const images = await ImageEncoder.create(device, (pixels) => read(network.forward(pixels)), process, size);
    return {
      vectors: (pictures) => images.vectors(pictures),
      unitVectors: (pictures) => images.unitVectors(pictures),
      dispose: () => {
        images.dispose();
        parameters.dispose();
      },
    };
  });
}
