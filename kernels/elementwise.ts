/** Plans for elementwise kernels: merging axes, broadcasting by strides, the vector width. */
import { type DType, elementTypes, linearGrid, type Plan } from './kernel.js';

export interface ElementwiseInput {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

export interface ElementwiseOptions {
  /** The WGSL expression of the result, of `a`, `b`, `c`, `params.p` and `params.q`. */
  readonly expression: string;
  /** The output: the shape that all inputs broadcast to. */
  readonly output: ElementwiseInput;
  readonly p?: number;
  readonly q?: number;
}

const workgroupSize = 256;
/** A lane of a large tensor computes several vectors: fewer workgroups to start (add of 4M on lavapipe: 8.7 to 5.8 ms). */
const longRun = { from: 2 ** 16, run: 8 };
const maxRank = 5;

/**
 * Sizes of the output's axes and the inputs' strides along them, innermost first. Neighbouring axes along which every
 * input is either contiguous or repeated are merged, so that equal shapes give one axis.
 */
export function mergeAxes(
  shape: readonly number[],
  inputs: readonly (readonly number[])[],
): { sizes: number[]; strides: number[][] } {
  const sizes: number[] = [];
  const strides: number[][] = inputs.map(() => []);
  const running = inputs.map(() => 1);
  for (let axis = 1; axis <= shape.length; axis++) {
    const size = shape[shape.length - axis]!;
    if (size === 1) continue;
    const step = inputs.map((input, i) => ((input[input.length - axis] ?? 1) === 1 ? 0 : running[i]!));
    const last = sizes.length - 1;
    const merges = last >= 0 && step.every((stride, i) => stride === strides[i]![last]! * sizes[last]!);
    if (merges) sizes[last]! *= size;
    else {
      sizes.push(size);
      step.forEach((stride, i) => {
        strides[i]!.push(stride);
      });
    }
    step.forEach((stride, i) => {
      if (stride > 0) running[i]! *= size;
    });
  }
  if (sizes.length === 0) {
    sizes.push(1);
    for (const list of strides) list.push(0);
  }
  return { sizes, strides };
}

/** A plan for `y = expression(a, b, c)` with up to three inputs. Throws when the axes do not merge into five. */
export function planElementwise(
  inputs: readonly ElementwiseInput[],
  { expression, output, p = 0, q = 0 }: ElementwiseOptions,
): Plan {
  const { sizes, strides } = mergeAxes(
    output.shape,
    inputs.map(({ shape }) => shape),
  );
  const rank = sizes.length;
  if (rank > maxRank)
    throw new Error(
      `broadcasting [${inputs.map(({ shape }) => `[${shape}]`).join(', ')}] needs ${rank} axes, ${maxRank} at most`,
    );
  const width = sizes[0]! % 4 === 0 ? 4 : 1;
  const { F, U } = elementTypes('f32', width);
  const types: Record<string, string> = { F, U };
  const params: Record<string, number> = { p, q };
  ['A', 'B', 'C'].forEach((name, i) => {
    const input = inputs[i];
    // An input that repeats along the innermost axis is loaded as one scalar for the whole vector.
    const scalar = input === undefined || strides[i]![0] === 0;
    const element = elementTypes(input?.dtype ?? 'f32', width);
    types[name] = scalar ? element.T : element.V;
    types[`F${name}`] = element.F;
    types[`S${name}`] = elementTypes(input?.dtype ?? 'f32', 1).F;
    types[`L${name}`] = scalar ? types[`S${name}`]! : element.F;
    const unit = scalar ? 1 : width;
    for (let axis = 0; axis < maxRank; axis++) {
      const stride = strides[i]?.[axis] ?? 0;
      params[`${name.toLowerCase()}${axis}`] = axis === 0 ? Math.min(stride, 1) : stride / unit;
    }
  });
  const result = elementTypes(output.dtype, width);
  types.Y = result.V;
  types.FY = result.F;
  sizes[0]! /= width;
  const count = sizes.reduce((product, size) => product * size, 1);
  const run = count >= longRun.from ? longRun.run : 1; // a parameter, so that the kernel is the same
  return {
    kernel: 'elementwise',
    variant: {
      types,
      constants: { INPUTS: inputs.length, RANK: rank },
      declarations: [`fn apply(a: FA, b: FB, c: FC) -> FY { return ${expression}; }`],
    },
    params: {
      ...params,
      count,
      run,
      size0: sizes[0]!,
      size1: sizes[1] ?? 1,
      size2: sizes[2] ?? 1,
      size3: sizes[3] ?? 1,
    },
    grid: linearGrid(Math.ceil(count / (workgroupSize * run))),
  };
}

/** Whether a plan does nothing but copy `a` to `y`, element by element. */
export function isPlainCopy({ kernel, variant, params }: Plan): boolean {
  const { types, constants, declarations } = variant;
  if (kernel !== 'elementwise' || constants?.INPUTS !== 1 || constants.RANK !== 1) return false;
  return params.a0 === 1 && types?.A === types?.Y && declarations?.[0]?.endsWith('{ return a; }') === true;
}
