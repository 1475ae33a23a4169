/** What a taste is told of pictures: plain numbers, and what the layers of a CLIP's image encoder see, in groups. */
import { join } from 'node:path';
import { exists, hashFile, sha256Of } from '../../../engine/files.js';
import { concat, type Device, mean, slice, sqrt, square, sub, type Tensor } from '../../../engine/index.js';
import { type EmbeddedModel, embeddedFolder, embeddedModels } from '../../../models/embedded/index.js';
import { readConfig } from '../../../models/files/config_file.js';
import { findWeights, readable } from '../../../models/files/weight_files.js';
import { clipConfig } from '../../../models/networks/clip.js';
import type { CLIPVisionModelWithProjection } from '../../../models/networks/clip_vision.js';
import type { Picture } from '../../../models/pictures/png.js';
import { visionSizeOf } from '../rewards/image_encoder.js';
import { loadVision } from '../rewards/vision.js';
import { plainNumbers } from './plain.js';

/**
 * Groups of features. plain: plainNumbers(). early: means and deviations over the patches of each channel, before the CLIP's
 * first layer and after it. last: means over the patches of each channel after its last layer. projection: its vector of the
 * picture, unnormalised.
 */
export const groupNames = ['plain', 'early', 'last', 'projection'] as const;

export type GroupName = (typeof groupNames)[number];

/** A picture's features, by group. */
export type Features = Readonly<Partial<Record<GroupName, Float64Array>>>;

export interface FeatureReader {
  /** The features of each picture, which do not depend on the others. */
  read(images: readonly Picture[]): Promise<Features[]>;
  dispose(): void;
}

/** The CLIP that ships, which knows the scenes of the models that ship. */
export const embeddedClip = 'scenes-clip' satisfies EmbeddedModel;

/** The folder of a CLIP that is given by it or by an embedded model's name. */
export const clipFolder = (clip: string): string => {
  const embedded = embeddedModels.find((name) => name === clip);
  return embedded ? embeddedFolder(embedded) : clip;
};

/**
 * SHA-256 of what makes a CLIP's image encoder: its config.json, its preprocessor_config.json where there is one, and its
 * weights. Throws a ModelFileError for files that are missing.
 */
export async function clipHash(clip: string): Promise<string> {
  const folder = clipFolder(clip);
  const { shards } = await findWeights(folder);
  const processor = join(folder, 'preprocessor_config.json');
  const files = [join(folder, 'config.json'), ...((await exists(processor)) ? [processor] : []), ...shards.keys()];
  const hashes: string[] = [];
  for (const file of files) hashes.push(await readable(file, () => hashFile(file)));
  return sha256Of(hashes.join('\n'));
}

/** Opens what reads features of pictures; the CLIP is loaded only where a group asks for it. Throws a ModelFileError for its files. */
export async function openFeatures(
  device: Device,
  clip: string,
  groups: readonly GroupName[] = groupNames,
): Promise<FeatureReader> {
  const folder = clipFolder(clip);
  const config = await readConfig(folder, clipConfig);
  const plain = (images: readonly Picture[]): Features[] => images.map((image) => ({ plain: plainNumbers(image) }));
  if (groups.every((group) => group === 'plain')) return { read: async (images) => plain(images), dispose: () => {} };
  const { width } = visionSizeOf(config);
  const vision = await loadVision(device, folder, config, pooled);
  return {
    read: async (images) => {
      const vectors = await vision.vectors(images);
      return plain(images).map((own, i) => ({ ...own, ...groupsOf(vectors[i]!, width) }));
    },
    dispose: () => vision.dispose(),
  };
}

const earlyStates = 2;

/** [B, features]: of the states before and after the first layer means and deviations, of the last means, and the projection. */
function pooled({
  hiddenStates,
  lastHiddenState,
  imageEmbeds,
}: ReturnType<CLIPVisionModelWithProjection['forward']>): Tensor {
  const patches = (x: Tensor): Tensor => slice(x, 1, 1); // the first token is the picture's
  const early = hiddenStates.slice(0, earlyStates).map(patches);
  const moments = early.flatMap((x) => {
    const centre = mean(x, 1, { keepDims: true });
    return [mean(x, 1), sqrt(mean(square(sub(x, centre)), 1))];
  });
  return concat([...moments, mean(patches(lastHiddenState), 1), imageEmbeds], 1);
}

/** The parts of a vector that pooled() made. */
function groupsOf(vector: Float64Array, width: number): Features {
  const [early, last] = [2 * earlyStates * width, (2 * earlyStates + 1) * width];
  return {
    early: vector.slice(0, early),
    last: vector.slice(early, last),
    projection: vector.slice(last),
  };
}
