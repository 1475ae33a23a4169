import { describe, expect, test } from 'vitest';
import { type Conv2dSize, type Conv2dTypes, planConv2d, planConv2dWeightGrad } from '../../kernels/conv2d.js';
import type { Features, Plan } from '../../kernels/kernel.js';

const software: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const gpu: Features = { ...software, subgroupSize: 32, software: false };
const types: Conv2dTypes = { dtype: 'f32', weight: 'f32', bias: null, residual: false };

const square = (batch: number, channels: number, pixels: number, stride = 1): Conv2dSize => ({
  batch,
  channels,
  height: pixels,
  width: pixels,
  outChannels: channels,
  outHeight: Math.ceil(pixels / stride),
  outWidth: Math.ceil(pixels / stride),
  kernelHeight: 3,
  kernelWidth: 3,
  stride,
  paddingTop: 1,
  paddingLeft: 1,
});

const directions = ['forward', 'inputGrad'] as const;
const workgroups = ({ grid }: { readonly grid: readonly [number, number, number] }): number =>
  grid[0] * grid[1] * grid[2];

test('subgroup matrices are for images and weights of f16 alone, as they round their operands to it', () => {
  const tensorCores: Features = { ...gpu, subgroupMatrix: 'native' };
  const kernelOf = (dtypes: Partial<Conv2dTypes>): string =>
    planConv2d(square(1, 64, 16), 'forward', { ...types, ...dtypes }, tensorCores).kernel;
  expect(kernelOf({ dtype: 'f16', weight: 'f16' })).toBe('conv2d_subgroup_matrix');
  expect(kernelOf({ weight: 'f16' })).toBe('conv2d_tiled');
  const { plan } = planConv2dWeightGrad(square(1, 64, 16), 'f16', tensorCores);
  expect(plan.kernel).toBe('conv2d_weight_grad_subgroup_matrix');
  expect(planConv2dWeightGrad(square(1, 64, 16), 'f32', tensorCores).plan.kernel).toBe('conv2d_weight_grad_tiled');
});

describe.each([
  { name: 'a software adapter', features: software, structure: 'subgroup' },
  {
    name: 'a software adapter with subgroups of another size',
    features: { ...software, subgroupSize: 16 },
    structure: 'tiled',
  },
  {
    name: 'a software adapter without subgroups',
    features: { ...software, subgroups: false, subgroupSize: 0 },
    structure: 'tiled',
  },
  { name: 'a GPU', features: gpu, structure: 'tiled' },
])('on $name', ({ features, structure }) => {
  test(`the convolution and its gradients have the ${structure} structure`, () => {
    for (const direction of directions) {
      expect(planConv2d(square(1, 64, 16), direction, types, features).kernel).toBe(`conv2d_${structure}`);
    }
    expect(planConv2dWeightGrad(square(1, 64, 16), 'f32', features).plan.kernel).toBe(
      `conv2d_weight_grad_${structure}`,
    );
  });

  test('the batch changes the number of workgroups and nothing else', () => {
    for (const direction of directions) {
      for (const pixels of [1, 4, 8, 17, 64]) {
        const [one, many] = [1, 37].map((batch) => planConv2d(square(batch, 33, pixels), direction, types, features));
        const fixed = ({ kernel, variant, params }: Plan) => ({
          kernel,
          variant,
          params: { ...params, workgroups: 0 },
        });
        expect(fixed(many!)).toEqual(fixed(one!));
        expect(workgroups(many!)).toBe(37 * workgroups(one!));
      }
    }
  });

  test('the input gradient of a stride has one phase for each remainder', () => {
    const plan = planConv2d(square(1, 4, 8, 2), 'inputGrad', types, features);
    expect(workgroups(plan)).toBe(4 * plan.params.pixel_tiles! * plan.params.column_tiles!);
  });

  test('a large image fits the grid', () => {
    const plan = planConv2d(square(1, 64, 4096), 'forward', types, features);
    for (const size of plan.grid) expect(size).toBeLessThanOrEqual(65_535);
    expect(workgroups(plan)).toBeGreaterThanOrEqual(plan.params.workgroups!);
  });
});

describe('the weight gradient', () => {
  test('is one sum where the weight alone makes enough workgroups', () => {
    expect(planConv2dWeightGrad(square(4, 320, 32), 'f32', software).parts).toBe(1);
  });

  test('is split into parts of whole rows that cover all samples where it does not', () => {
    for (const features of [software, gpu]) {
      const { plan, parts } = planConv2dWeightGrad(square(3, 4, 7), 'f32', features);
      expect(parts).toBeGreaterThan(1);
      const { rows, rows_per_part: each } = plan.params;
      expect(rows).toBe(21);
      expect((parts - 1) * each!).toBeLessThan(rows!);
      expect(parts * each!).toBeGreaterThanOrEqual(rows!);
    }
  });
});

test.each([
  [3, 64, { COLUMN_LANES: 1, ROWS: 256 }],
  [16, 64, { COLUMN_LANES: 4, ROWS: 64 }],
  [17, 64, { COLUMN_LANES: 8, ROWS: 32 }],
  [320, 64, { COLUMN_LANES: 8, ROWS: 32 }],
  [3, 4, { COLUMN_LANES: 1, ROWS: 16 }],
])(
  'lanes of a subgroup that %i channels leave idle sum other pixels of %i a side',
  (outChannels, pixels, constants) => {
    const size = { ...square(1, 8, pixels), outChannels };
    expect(planConv2d(size, 'forward', types, software).variant.constants).toMatchObject(constants);
  },
);
