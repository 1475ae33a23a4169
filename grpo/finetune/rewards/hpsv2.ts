/** Human Preference Score v2.1 (Wu et al. 2023), by its authors' weights. */
import { dirname } from 'node:path';
import type { Device } from '../../../engine/index.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { asTransformersClip, readOpenClipConfig } from '../../../models/files/open_clip.js';
import { loadWeightsFrom } from '../../../models/files/weights.js';
import { CLIPModel } from '../../../models/networks/clip.js';
import { imageProcessor } from '../../../models/pictures/image_processor.js';
import { loadTokenizer } from '../../../models/text/tokenizer.js';
import type { Reward } from '../../rewards/reward.js';
import { visionSizeOf } from './image_encoder.js';
import { ImageTextModel } from './image_text.js';
import { openAnyWeights, weightFile } from './single_file.js';

/**
 * The cosine of picture and prompt, about 0.2 to 0.4, without a factor. `path` is HPS_v2.1_compressed.pt or .safetensors,
 * or a folder with one; beside it are the files of CLIP's tokenizer. As in its authors' package, pictures become floats
 * first and are resized so (here as torchvision does since 0.17, antialiased).
 */
export async function hpsv2(device: Device, name: string, path: string): Promise<Reward> {
  const pattern = /^HPS_v2.*\.(pt|safetensors)$/;
  const file = await weightFile(path, pattern, 'HPS_v2.1_compressed.pt or HPS_v2.1_compressed.safetensors');
  const folder = dirname(file);
  const config = await readOpenClipConfig(folder);
  const tokenizer = await loadTokenizer(folder);
  const parameters = new Parameters({ storage: 'f16' });
  const clip = new CLIPModel(parameters, config);
  const source = await openAnyWeights(file);
  try {
    await loadWeightsFrom(device, asTransformersClip(source), parameters);
  } finally {
    await source.close();
  }
  const vision = visionSizeOf(config);
  const { imageSize } = vision;
  const process = imageProcessor({ size: imageSize, crop: [imageSize, imageSize], arithmetic: 'torch' });
  const model = await ImageTextModel.create(device, { clip, parameters, tokenizer, process, vision, folder });
  return { name, score: (images, { warn } = {}) => model.cosines(images, warn), dispose: () => model.dispose() };
}
