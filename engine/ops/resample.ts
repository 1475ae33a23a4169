/** Changes of an image's resolution, and between images and patches. Images are [N, C, H, W] in f32 or f16. */
import { type ImageSize, planPatch, planResample, type ResampleOptions } from '../../kernels/resample.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';

/** The image's sizes, after the checks that all ops here share. */
function imageDims(x: Tensor): [number, number, number, number] {
  check(x.rank === 4 && isFloat(x), () => `expected an image [N, C, H, W] of f32 or f16, found ${x}`);
  return x.dims(4);
}

const isSize = (value: number): boolean => Number.isInteger(value) && value >= 1;

function resample(x: Tensor, to: ImageSize, options: ResampleOptions): Tensor {
  const [n, c, height, width] = x.dims(4);
  const result = emptyLike(x, [n, c, to.height, to.width]);
  dispatch(planResample(n * c, { height, width }, to, x.dtype, options, x.device.features), { source: x, result });
  return result;
}

/** A new size by a whole factor, or as [height, width]. */
export type UpsampleOptions = { readonly scale: number } | { readonly size: readonly [number, number] };

/**
 * Nearest neighbour: y[i, j] = x[floor(i * H / H'), floor(j * W / W')], in integers (PyTorch's mode 'nearest' rounds its
 * scale to f32, which can differ by a pixel where H' is no multiple of H). Throws for sizes below 1.
 */
export const upsampleNearest = defineOp('upsampleNearest', (x: Tensor, options: UpsampleOptions) => {
  const [, , height, width] = imageDims(x);
  const [toHeight, toWidth] = 'size' in options ? options.size : [height * options.scale, width * options.scale];
  check(
    isSize(toHeight) && isSize(toWidth),
    () => `expected a size of 1 or more, found [${toHeight}, ${toWidth}] for ${x}`,
  );
  const y = resample(x, { height: toHeight, width: toWidth }, { box: 'nearest' });
  return [y, (dy) => [() => resample(dy, { height, width }, { box: 'nearest_grad' })]];
});

/** Means over windows of k x k pixels, side by side; a rest of fewer than k rows or columns is left out. y is [N, C, floor(H/k), floor(W/k)]. */
export const avgPool2d = defineOp('avgPool2d', (x: Tensor, k: number) => {
  const [, , height, width] = imageDims(x);
  check(
    isSize(k) && k <= height && k <= width,
    () => `expected a window of 1 to ${Math.min(height, width)} pixels for ${x}, found ${k}`,
  );
  const options = { factor: k, scale: 1 / (k * k) };
  const y = resample(x, { height: Math.floor(height / k), width: Math.floor(width / k) }, { box: 'pool', ...options });
  return [y, (dy) => [() => resample(dy, { height, width }, { box: 'pool_grad', ...options })]];
});

/** Every k-th pixel: y[i, j] = x[i * k, j * k]. y is [N, C, ceil(H/k), ceil(W/k)]. */
export const stridedDownsample = defineOp('stridedDownsample', (x: Tensor, k: number) => {
  const [, , height, width] = imageDims(x);
  check(isSize(k), () => `expected a stride of 1 or more, found ${k}`);
  const y = resample(x, { height: Math.ceil(height / k), width: Math.ceil(width / k) }, { box: 'strided', factor: k });
  return [y, (dy) => [() => resample(dy, { height, width }, { box: 'strided_grad', factor: k })]];
});

function toPatches(image: Tensor, patch: number): Tensor {
  const [n, c, height, width] = image.dims(4);
  const result = emptyLike(image, [n, (height / patch) * (width / patch), patch * patch * c]);
  dispatch(planPatch([n, c, height, width], patch, image.dtype, false), { source: image, result });
  return result;
}

function toImage(patches: Tensor, patch: number, shape: [number, number, number, number]): Tensor {
  const result = emptyLike(patches, shape);
  dispatch(planPatch(shape, patch, patches.dtype, true), { source: patches, result });
  return result;
}

/**
 * An image as a sequence of patches of p x p pixels: [N, C, H, W] to [N, H/p * W/p, p * p * C], row by row; within a patch
 * the order is row, column, channel, as in the outputs of DiT and SD3. Throws where p does not divide the image.
 */
export const patchify = defineOp('patchify', (x: Tensor, patch: number) => {
  const shape = imageDims(x);
  check(
    isSize(patch) && shape[2] % patch === 0 && shape[3] % patch === 0,
    () => `patches of ${patch} x ${patch} pixels do not divide ${x}`,
  );
  return [toPatches(x, patch), (dy) => [() => toImage(dy, patch, shape)]];
});

/** The patches and the image that unpatchify makes of them. */
export interface UnpatchifyOptions {
  /** Rows and columns of a patch, in pixels. */
  readonly patch: number;
  readonly channels: number;
  /** Height and width of the image, in pixels. */
  readonly height: number;
  readonly width: number;
}

/** The image of a sequence of patches, the inverse of patchify: [N, H/p * W/p, p * p * C] to [N, C, H, W]. Throws when the sizes do not fit. */
export const unpatchify = defineOp('unpatchify', (x: Tensor, { patch, channels, height, width }: UnpatchifyOptions) => {
  check(
    [patch, channels, height, width].every(isSize),
    () => `expected sizes of 1 or more, found patch ${patch}, ${channels} channels, ${height} x ${width} pixels`,
  );
  check(
    height % patch === 0 && width % patch === 0,
    `patches of ${patch} x ${patch} pixels do not divide ${height} x ${width} pixels`,
  );
  const tokens = (height / patch) * (width / patch);
  check(
    x.rank === 3 && x.shape[1] === tokens && x.shape[2] === patch * patch * channels,
    () => `expected patches of [N, ${tokens}, ${patch * patch * channels}], found ${x}`,
  );
  check(isFloat(x), () => `expected f32 or f16, found ${x}`);
  return [toImage(x, patch, [x.shape[0]!, channels, height, width]), (dy) => [() => toPatches(dy, patch)]];
});
