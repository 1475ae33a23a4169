/** Images as sequences of tokens, one a patch, and the table of sinusoids that says where each patch lies. */
import { add, type Conv2d, permute, reshape, type Tensor } from '../../engine/index.js';
import { conv2d } from './layers.js';
import type { Parameters } from './parameters.js';

/**
 * A convolution over patches side by side, to which positions are added. Its weights are `proj.weight` [features, C, p, p] and
 * `proj.bias`.
 */
export class PatchEmbedding {
  private readonly proj: Conv2d;

  constructor(parameters: Parameters, patch: number, inChannels: number, features: number) {
    this.proj = conv2d(parameters, 'proj', inChannels, features, patch, { stride: patch });
  }

  /** Latents [N, C, H, W] and positions [(H/p)(W/p), features] to tokens [(H/p)(W/p), N, features], row by row. */
  forward(latents: Tensor, positions: Tensor): Tensor {
    const patches = this.proj.forward(latents); // [N, features, H/p, W/p]
    const [samples, features] = patches.dims(4);
    const tokens = permute(reshape(patches, [samples, features, -1]), [2, 0, 1]);
    return add(tokens, reshape(positions, [-1, 1, features]));
  }
}

/**
 * Sinusoids of the patches of a square, [size * size, features] row by row: those of the column in the first half, of the
 * row in the second, each [sin(p w_k) | cos(p w_k)] with w_k = 10000^(-k / (features / 4)). The position p of column j is
 * j base / size, rounded to f32 as in diffusers: a table larger than the image the model was made for spans the same range
 * more finely. `features` is a multiple of 4.
 */
export function sinCosPositions(size: number, base: number, features: number): Float32Array {
  const quarter = features / 4;
  const table = new Float32Array(size * size * features);
  const codes = Array.from({ length: size }, (_, j) => {
    const position = Math.fround(j / (size / base));
    const angles = Array.from({ length: quarter }, (_, k) => position * 10000 ** (-k / quarter));
    return [...angles.map(Math.sin), ...angles.map(Math.cos)];
  });
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const at = (row * size + column) * features;
      table.set(codes[column]!, at);
      table.set(codes[row]!, at + features / 2);
    }
  }
  return table;
}

/** The rows of a table of size x size positions that lie in its middle rows x columns, row by row. */
export function centredRows(size: number, rows: number, columns: number): Uint32Array {
  const top = Math.floor((size - rows) / 2);
  const left = Math.floor((size - columns) / 2);
  return Uint32Array.from(
    { length: rows * columns },
    (_, i) => (top + Math.floor(i / columns)) * size + left + (i % columns),
  );
}
