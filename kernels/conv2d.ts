/** Plans of the convolution and its gradients: layouts, grids, and the choice among the structures. */
import { chosenKernel, type ShapeClass } from './choice.js';
import { type DType, type Features, linearGrid, type Plan, type Variant } from './kernel.js';
import { subgroupMatrixTile, subgroupMatrixVariant, suitsSubgroupMatrices } from './subgroup_matrix.js';

/** Sizes of a convolution of x [batch, channels, height, width] with a weight [outChannels, channels, kernelHeight, kernelWidth]. */
export interface Conv2dSize {
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outChannels: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  readonly paddingTop: number;
  readonly paddingLeft: number;
}

/** How the tensors beside the weight are stored; null where there is no bias. */
export interface Conv2dTypes {
  readonly dtype: DType;
  readonly weight: DType;
  readonly bias: DType | null;
  readonly residual: boolean;
}

const vec4s = (channels: number): number => Math.ceil(channels / 4);

type Structure = 'subgroup_matrix' | 'subgroup' | 'tiled';

/** Kernels are a class of work in one of the structures. */
type Conv2dClass = Extract<ShapeClass, `conv2d${string}`>;
type Conv2dKernel = `${Conv2dClass}_${Exclude<Structure, 'subgroup_matrix'>}`;

/**
 * The kernels that run on a device and keep every bit of f32 operands: among these measuring may choose. The subgroup
 * structure needs one fixed size and a lane count that its tiles divide into.
 */
export function conv2dCandidates(shapeClass: Conv2dClass, { subgroups, subgroupSize }: Features): Conv2dKernel[] {
  const divides = subgroups && (subgroupSize === 4 || subgroupSize === 8);
  return [...(divides ? [`${shapeClass}_subgroup` as const] : []), `${shapeClass}_tiled`];
}

/**
 * The structure for operands of these types. That of subgroup matrices rounds them to f16, so it is for those that are. Of
 * the others the one that was measured to be the fastest, else that of subgroups on software adapters: there workgroup
 * memory is as slow as any other; on a GPU the shuffles would cost half of the multiplications' time.
 */
function structureFor(shapeClass: Conv2dClass, operands: readonly DType[], features: Features): Structure {
  if (suitsSubgroupMatrices(features, operands)) return 'subgroup_matrix';
  const candidates = conv2dCandidates(shapeClass, features);
  const usual = features.software ? candidates[0]! : candidates.at(-1)!;
  return (chosenKernel(features, shapeClass, candidates) ?? usual).endsWith('_tiled') ? 'tiled' : 'subgroup';
}

/** x [batch, channels, pixels] to [batch, pixels, vec4s(channels)] of vec4, padded with zeros. */
export function planChannelsLast(batch: number, channels: number, pixels: number, dtype: DType): Plan {
  const count = batch * pixels * Math.ceil(channels / 16);
  return {
    kernel: 'conv2d_channels_last',
    variant: { types: { T: dtype, V: `vec4<${dtype}>` } },
    params: { count, channels, pixels },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}

/** Elements of the channels-last copy that `planChannelsLast` writes. */
export function channelsLastSize(batch: number, channels: number, pixels: number): number {
  return batch * pixels * vec4s(channels) * 4;
}

/** Which product the weight's copy is for: rows are the input's channels (forward) or the output's (input gradient). */
export type Conv2dDirection = 'forward' | 'inputGrad';

/** The weight [O, C, kh, kw] to [kh * kw, rows, columns], padded with zeros; f16 stays f16. */
export function planConv2dWeight(size: Conv2dSize, direction: Conv2dDirection, dtype: DType): Plan {
  const { channels, outChannels } = size;
  const taps = size.kernelHeight * size.kernelWidth;
  const forward = direction === 'forward';
  const [rows, columns] = forward ? [channels, outChannels] : [outChannels, channels];
  const count = vec4s(rows) * (dtype === 'f16' ? 2 : 4) * Math.ceil(columns / 16);
  return {
    kernel: 'conv2d_weight',
    variant: { constants: { F16: dtype === 'f16' } },
    params: {
      count,
      rows,
      columns,
      row_stride: forward ? taps : channels * taps,
      column_stride: forward ? channels * taps : taps,
      taps,
    },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}

/** 32-bit words of the weight's copy. */
export function conv2dWeightWords(size: Conv2dSize, dtype: DType): number {
  const elements = size.kernelHeight * size.kernelWidth * vec4s(size.channels) * vec4s(size.outChannels) * 16;
  return dtype === 'f16' ? elements / 2 : elements;
}

/** Pixels and channels of the result that a workgroup computes, and the structure's part of the variant. */
interface Tile {
  readonly pixels: number;
  readonly columns: number;
  readonly variant: Variant;
}

/** 32 pixels a lane, fewer for a small picture; only as many lanes side by side along the channels as they can fill. */
function subgroupTile(channels: number, pixels: number, subgroupSize: number): Tile {
  let columnLanes = subgroupSize;
  while (columnLanes > 1 && 2 * channels <= 4 * columnLanes) columnLanes /= 2;
  let rows = (32 * subgroupSize) / columnLanes;
  while (rows > 16 && 2 * pixels <= rows) rows /= 2;
  const constants = { SUBGROUP: subgroupSize, COLUMN_LANES: columnLanes, ROWS: rows };
  return { pixels: rows, columns: 4 * columnLanes, variant: { constants, subgroups: true } };
}

function tileFor(structure: Structure, channels: number, pixels: number, features: Features): Tile {
  if (structure === 'subgroup') return subgroupTile(channels, pixels, features.subgroupSize);
  if (structure === 'subgroup_matrix') {
    const { rows, columns } = subgroupMatrixTile(channels);
    return { pixels: rows, columns, variant: subgroupMatrixVariant(channels, features) };
  }
  const rows = pixels > 64 ? 8 : 4;
  return { pixels: 16 * rows, columns: 64, variant: { constants: { ROWS: rows } } };
}

/**
 * y [batch, outChannels, outHeight, outWidth] from the channels-last x and the weight's copy; or with 'inputGrad' dx from
 * the channels-last dy. Nothing but the number of workgroups depends on the batch.
 */
export function planConv2d(size: Conv2dSize, direction: Conv2dDirection, types: Conv2dTypes, features: Features): Plan {
  const forward = direction === 'forward';
  const input = { channels: size.channels, height: size.height, width: size.width };
  const output = { channels: size.outChannels, height: size.outHeight, width: size.outWidth };
  const [source, result] = forward ? [input, output] : [output, input];
  const step = forward ? 1 : size.stride;
  const pixels = Math.ceil(result.height / step) * Math.ceil(result.width / step);
  const structure = structureFor('conv2d', [types.dtype, types.weight], features);
  const tile = tileFor(structure, result.channels, pixels, features);
  const pixelTiles = Math.ceil(pixels / tile.pixels);
  const columnTiles = Math.ceil(result.channels / tile.columns);
  const workgroups = pixelTiles * columnTiles * step * step * size.batch;
  return {
    kernel: `conv2d_${structure}`,
    variant: {
      ...tile.variant,
      types: { T: types.dtype, V: `vec4<${types.dtype}>`, ...tile.variant.types },
      constants: {
        ...tile.variant.constants,
        TRANSPOSED: !forward,
        WEIGHT_F16: types.weight === 'f16',
        HAS_BIAS: types.bias !== null,
        BIAS_F16: types.bias === 'f16',
        HAS_RESIDUAL: types.residual,
      },
    },
    params: {
      depth4: vec4s(source.channels),
      columns: result.channels,
      source_height: source.height,
      source_width: source.width,
      result_height: result.height,
      result_width: result.width,
      kernel_height: size.kernelHeight,
      kernel_width: size.kernelWidth,
      stride: size.stride,
      padding_top: size.paddingTop,
      padding_left: size.paddingLeft,
      pixel_tiles: pixelTiles,
      column_tiles: columnTiles,
      workgroups,
    },
    grid: linearGrid(workgroups),
  };
}

/** Output and input channels that a workgroup computes, and the structure's part of the variant. */
function weightGradTile(
  structure: Structure,
  channels: number,
  features: Features,
): { edge: number; variant: Variant } {
  const { subgroupSize } = features;
  if (structure === 'tiled') return { edge: 64, variant: {} };
  if (structure === 'subgroup') {
    return { edge: 4 * subgroupSize, variant: { constants: { SUBGROUP: subgroupSize }, subgroups: true } };
  }
  return { edge: subgroupMatrixTile(channels).rows, variant: subgroupMatrixVariant(channels, features) };
}

/** Workgroups that keep an adapter busy; the weight gradient's sum is split to reach them. */
const busy = { software: 16, gpu: 512 };

/**
 * `parts` partial weight gradients [parts, O, C, kh, kw] in f32 from the channels-last x and dy, to be added in order.
 * The split follows from the shapes and the kind of adapter alone, so that a run can be repeated bit by bit.
 */
export function planConv2dWeightGrad(
  size: Conv2dSize,
  dtype: DType,
  features: Features,
): { plan: Plan; parts: number } {
  const structure = structureFor('conv2d_weight_grad', [dtype], features);
  const { edge, variant } = weightGradTile(structure, size.channels, features);
  const channelTiles = Math.ceil(size.channels / edge);
  const outChannelTiles = Math.ceil(size.outChannels / edge);
  const tiles = channelTiles * outChannelTiles * size.kernelHeight * size.kernelWidth;
  const rows = size.batch * size.outHeight;
  const wanted = Math.min(rows, Math.ceil((features.software ? busy.software : busy.gpu) / tiles));
  const rowsPerPart = Math.ceil(rows / wanted);
  const parts = Math.ceil(rows / rowsPerPart);
  const plan: Plan = {
    kernel: `conv2d_weight_grad_${structure}`,
    variant: { ...variant, types: { V: `vec4<${dtype}>`, ...variant.types } },
    params: {
      channels: size.channels,
      out_channels: size.outChannels,
      height: size.height,
      width: size.width,
      out_height: size.outHeight,
      out_width: size.outWidth,
      kernel_height: size.kernelHeight,
      kernel_width: size.kernelWidth,
      stride: size.stride,
      padding_top: size.paddingTop,
      padding_left: size.paddingLeft,
      rows,
      rows_per_part: rowsPerPart,
      channel_tiles: channelTiles,
      out_channel_tiles: outChannelTiles,
      workgroups: tiles * parts,
    },
    grid: linearGrid(tiles * parts),
  };
  return { plan, parts };
}
