/** LAION's aesthetic predictor v2: a head over CLIP's picture vectors, trained on people's ratings (Schuhmann 2022). */
import type { Device } from '../../../engine/index.js';
import { valuesOf } from '../../../engine/safetensors.js';
import { readConfig } from '../../../models/files/config_file.js';
import { ModelFileError } from '../../../models/files/errors.js';
import type { WeightSource } from '../../../models/files/weights.js';
import { clipConfig } from '../../../models/networks/clip.js';
import type { Reward } from '../../rewards/reward.js';
import { dot } from './image_encoder.js';
import { openAnyWeights, weightFile } from './single_file.js';
import { loadVision } from './vision.js';

/** weight . x + bias. */
interface Affine {
  readonly weight: Float64Array;
  readonly bias: number;
}

const layers = ['layers.0', 'layers.2', 'layers.4', 'layers.6', 'layers.7']; // between them is dropout alone

/**
 * The head's linear layers, which have nothing between them, as the one affine map that they are; in double precision.
 * Throws a ModelFileError where a layer is missing, does not follow the one before, or the last has more than one output.
 */
export async function readAestheticHead(file: WeightSource, inputs: number): Promise<Affine> {
  let matrix: Float64Array[] | undefined; // of the layers so far, by rows; before the first, the identity
  let bias = new Float64Array(inputs);
  for (const layer of layers) {
    const width = bias.length;
    const entries = [`${layer}.weight`, `${layer}.bias`].map((name) => file.entries.get(name));
    const outputs = layer === layers.at(-1) ? 1 : (entries[1]?.shape[0] ?? 0);
    const problems = [[outputs, width], [outputs]].flatMap((shape, i) => {
      const found = entries[i];
      const name = `${layer}.${i === 0 ? 'weight' : 'bias'}`;
      if (!found) return [`${name} is missing`];
      if (found.dtype !== 'F32') return [`${name} is ${found.dtype}, expected F32`];
      return `${found.shape}` === `${shape}` ? [] : [`${name} is [${found.shape}], expected [${shape}]`];
    });
    if (problems.length > 0) throw new ModelFileError(file.path, problems);
    const [weights, shifts] = await Promise.all(
      entries.map(async (entry) => valuesOf('F32', await file.readBytes(entry!.name)) as Float32Array),
    );
    const rows = Array.from({ length: outputs }, (_, o) =>
      Float64Array.from(weights!.subarray(o * width, (o + 1) * width)),
    );
    const before = bias;
    bias = Float64Array.from(rows, (row, o) => dot(row, before) + shifts![o]!);
    const previous = matrix;
    matrix = previous ? rows.map((row) => combine(row, previous)) : rows;
  }
  const [weight] = matrix!;
  const all = [...weight!, bias[0]!];
  if (!all.every(Number.isFinite)) throw new ModelFileError(file.path, ['the head has weights that are not finite']);
  return { weight: weight!, bias: bias[0]! };
}

/** The sum of rows, each times its factor. */
function combine(factors: Float64Array, rows: readonly Float64Array[]): Float64Array {
  const sum = new Float64Array(rows[0]!.length);
  rows.forEach((row, r) => {
    for (let i = 0; i < sum.length; i++) sum[i]! += factors[r]! * row[i]!;
  });
  return sum;
}

/**
 * The rating, about 4 to 7. `folder` holds CLIP ViT-L/14 in transformers' layout (its text encoder is passed over) and the
 * head, sac+logos+ava1-l14-linearMSE.pth or the same as .safetensors.
 */
export async function aesthetic(device: Device, name: string, folder: string): Promise<Reward> {
  const config = await readConfig(folder, clipConfig);
  const pattern = /^(sac\+logos\+ava1.*|aesthetic.*)\.(pth|pt|safetensors)$/;
  const file = await openAnyWeights(await weightFile(folder, pattern, 'sac+logos+ava1-l14-linearMSE.pth'));
  const head = await readAestheticHead(file, config.projection_dim).finally(() => file.close());
  const images = await loadVision(device, folder, config, ({ imageEmbeds }) => imageEmbeds);
  return {
    name,
    score: async (pictures) =>
      (await images.unitVectors(pictures)).map((vector) => dot(vector, head.weight) + head.bias),
    dispose: () => images.dispose(),
  };
}
