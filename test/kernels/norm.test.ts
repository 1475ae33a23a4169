import { expect, test } from 'vitest';
import { sourceOf } from '../../engine/device/kernel_source.js';
import { type GroupNormSize, planGroupNorm, planGroupNormStatistics } from '../../kernels/group_norm.js';
import { type Features, kernelKey, type Plan, packParams } from '../../kernels/kernel.js';
import {
  columnSumChunks,
  type LayerNormSize,
  planLayerNorm,
  planLayerNormColumnSums,
} from '../../kernels/layer_norm.js';

const cpu: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const gpu: Features = { ...cpu, subgroupSize: 32, software: false };

const group: GroupNormSize = {
  samples: 2,
  channels: 320,
  pixels: 4096,
  groups: 32,
  dtype: 'f16',
  weight: 'f32',
  silu: true,
};
const layer: LayerNormSize = {
  rows: 154,
  columns: 320,
  samples: 2,
  dtype: 'f32',
  weight: undefined,
  bias: false,
  modulation: 'f32',
  centered: true,
};

test('the variant of a norm does not depend on the batch', () => {
  for (const features of [cpu, gpu]) {
    for (const samples of [1, 3, 64]) {
      const larger = planGroupNorm({ ...group, samples }, 1e-5, features);
      expect(kernelKey(larger)).toBe(kernelKey(planGroupNorm(group, 1e-5, features)));
      const rows = planLayerNorm({ ...layer, rows: 77 * samples, samples }, 1e-5, features);
      expect(kernelKey(rows)).toBe(kernelKey(planLayerNorm(layer, 1e-5, features)));
      expect(columnSumChunks({ ...layer, rows: 77 * samples, samples })).toBe(2);
    }
  }
});

test('a CPU gives each row one lane, a GPU a workgroup', () => {
  expect(planGroupNorm(group, 1e-5, cpu).grid).toEqual([80, 1, 1]);
  expect(planGroupNorm(group, 1e-5, gpu).grid).toEqual([640, 1, 1]);
  expect(planLayerNorm(layer, 1e-5, cpu).grid).toEqual([20, 1, 1]);
  expect(planLayerNorm(layer, 1e-5, gpu).grid).toEqual([154, 1, 1]);
});

test('more rows than a grid dimension holds go on in y', () => {
  const { grid } = planLayerNorm({ ...layer, rows: 100_000 }, 1e-5, gpu);
  expect(grid).toEqual([50_000, 2, 1]);
});

test('every plan fills the Params of its kernel', () => {
  const plans: Plan[] = [
    planGroupNormStatistics(group, 1e-5, cpu),
    planGroupNorm(group, 1e-5, cpu),
    planLayerNorm(layer, 1e-5, cpu),
    planLayerNormColumnSums(layer),
  ];
  for (const plan of plans) {
    expect(() => packParams(sourceOf(plan), plan.params)).not.toThrow();
  }
});
