/** The models that ship. */
import { join } from 'node:path';
import { packageRoot } from '../../engine/version.js';

/** Names of the embedded models; each is an ordinary folder. */
export const embeddedModels = [
  'scenes-vae',
  'scenes-clip',
  'scenes-pick',
  'scenes-hps',
  'scenes-aesthetic',
  'scenes-flow',
  'scenes-diffusion',
] as const;

export type EmbeddedModel = (typeof embeddedModels)[number];

/** The folder of an embedded model. */
export const embeddedFolder = (name: EmbeddedModel): string => join(packageRoot(), 'models', 'embedded', name);
