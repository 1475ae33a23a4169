import { describe, expect, test } from 'vitest';
import {
  type AttentionKernel,
  type AttentionOptions,
  attentionTiles,
  maxHeadDim,
  planAttention,
  planAttentionDelta,
  planAttentionKeyValueGrad,
  planAttentionQueryGrad,
} from '../../kernels/attention.js';
import { type Features, kernelKey } from '../../kernels/kernel.js';

const lavapipe: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const gpu: Features = { ...lavapipe, subgroupSize: 32, software: false };
const tensorCores: Features = { ...gpu, subgroupMatrix: 'native' };
const size = { batch: 2, heads: 8, queries: 1024, keys: 77, headDim: 40 };
const options: AttentionOptions = { dtype: 'f32', scale: 1, causal: false, layout: 'BHTC', bias: null };

test('the kernel does not depend on the batch, the number of tokens, the scale, the mask or the layout', () => {
  for (const plan of [planAttention, planAttentionQueryGrad, planAttentionKeyValueGrad]) {
    for (const features of [lavapipe, gpu]) {
      const key = kernelKey(plan(size, options, features));
      for (const changed of [{ batch: 1 }, { batch: 64, heads: 1 }, { queries: 1 }, { keys: 4096 }]) {
        expect(kernelKey(plan({ ...size, ...changed }, options, features))).toBe(key);
      }
      expect(kernelKey(plan(size, { ...options, causal: true, layout: 'TBHC', scale: 2 }, features))).toBe(key);
    }
  }
});

describe('subgroup matrices', () => {
  const half: AttentionOptions = { ...options, dtype: 'f16' };

  test('make the forward kernel of f16 alone', () => {
    expect(planAttention(size, half, tensorCores).kernel).toBe('attention_subgroup_matrix');
    expect(planAttention(size, options, tensorCores).kernel).toBe('attention');
    expect(planAttention(size, half, gpu).kernel).toBe('attention');
    expect(planAttentionQueryGrad(size, half, tensorCores).kernel).toBe('attention_query_grad');
    expect(planAttentionKeyValueGrad(size, half, tensorCores).kernel).toBe('attention_key_value_grad');
  });

  test('are taken whatever the batch, the number of tokens, the scale, the mask and the layout', () => {
    for (const bias of [null, { batch: 0, head: 0, query: 77 }]) {
      const key = kernelKey(planAttention(size, { ...half, bias }, tensorCores));
      for (const changed of [{ batch: 1 }, { batch: 64, heads: 1 }, { queries: 1 }, { keys: 1 }, { keys: 4096 }]) {
        expect(kernelKey(planAttention({ ...size, ...changed }, { ...half, bias }, tensorCores))).toBe(key);
      }
      const others = { ...half, bias, causal: true, layout: 'TBHC', scale: 2 } as const;
      expect(kernelKey(planAttention(size, others, tensorCores))).toBe(key);
    }
  });

  test('take 64 queries a workgroup', () => {
    expect(planAttention(size, half, tensorCores).grid).toEqual([16 * 16, 1, 1]);
    expect(planAttention({ ...size, queries: 65 }, half, tensorCores).grid).toEqual([16 * 2, 1, 1]);
  });

  test('fit in 32 KiB of workgroup memory with rows of every length', () => {
    for (let headDim = 1; headDim <= maxHeadDim; headDim++) {
      const { constants } = planAttention({ ...size, headDim }, half, tensorCores).variant;
      const { BLOCKS, TILE } = constants as Record<string, number>;
      expect(16 * BLOCKS!).toBeGreaterThanOrEqual(headDim);
      const keysAndValues = 2 * 2 * TILE! * (16 * BLOCKS! + 8);
      const weightsAndScores = 64 * (2 * (TILE! + 8) + 4 * (TILE! + 4));
      const factorsAndLeaps = 4 * (64 + 4);
      expect(keysAndValues + weightsAndScores + factorsAndLeaps).toBeLessThanOrEqual(32_768);
    }
  });
});

test('queries are spread over workgroups in the query kernels, keys in the key and value kernel', () => {
  const blocks = (kernel: AttentionKernel, count: number): number => {
    const { rows, workgroup } = attentionTiles(kernel, lavapipe);
    return 16 * Math.ceil(count / (rows * workgroup));
  };
  expect(planAttention(size, options, lavapipe).grid).toEqual([blocks('attention', 1024), 1, 1]);
  expect(planAttentionQueryGrad(size, options, lavapipe).grid).toEqual([blocks('attention_query_grad', 1024), 1, 1]);
  expect(planAttentionKeyValueGrad(size, options, lavapipe).grid).toEqual([
    blocks('attention_key_value_grad', 77),
    1,
    1,
  ]);
});

test('sums of the largest head dimension fit in the workgroup memory of software adapters', () => {
  for (const plan of [planAttention, planAttentionQueryGrad, planAttentionKeyValueGrad]) {
    const { CHUNKS, ROWS, WORKGROUP, OUTPUTS } = plan(size, options, lavapipe).variant.constants as Record<
      string,
      number
    >;
    expect(16 * CHUNKS! * ROWS! * WORKGROUP! * OUTPUTS!).toBeLessThanOrEqual(32_768);
  }
});

test('grids beyond 65,535 workgroups use a second dimension', () => {
  const many = { ...size, batch: 4096 };
  for (const plan of [planAttention(many, options, lavapipe), planAttentionDelta(many, options, lavapipe)]) {
    expect(Math.max(...plan.grid)).toBeLessThanOrEqual(65_535);
    expect(plan.grid[1]).toBeGreaterThan(1);
  }
});

test('tiles are shared by shuffle only where subgroups are narrow and of one size', () => {
  expect(attentionTiles('attention', lavapipe)).toMatchObject({ shuffle: true, workgroup: 8, lanes: 8 });
  expect(attentionTiles('attention', { ...lavapipe, subgroupSize: 4 })).toMatchObject({
    shuffle: true,
    workgroup: 4,
    lanes: 4,
  });
  expect(attentionTiles('attention', { ...lavapipe, subgroups: false, subgroupSize: 0 }).shuffle).toBe(false);
  expect(attentionTiles('attention', gpu).shuffle).toBe(false);
});

test('rows are loaded as vectors where the head dimension is a multiple of 4', () => {
  expect(planAttention(size, options, gpu).variant).toMatchObject({
    types: { V: 'vec4<f32>' },
    constants: { CHUNKS: 10 },
  });
  expect(planAttention({ ...size, headDim: 13 }, { ...options, dtype: 'f16' }, gpu).variant).toMatchObject({
    types: { V: 'f16' },
    constants: { CHUNKS: 4 },
  });
});

test('on software adapters head dimensions share a kernel', () => {
  const key = (headDim: number): string => kernelKey(planAttention({ ...size, headDim }, options, lavapipe));
  expect(key(8)).toBe(key(160));
  expect(key(13)).toBe(key(1));
});

test('a bias by key alone is loaded once for all queries', () => {
  const biased = (query: number): unknown =>
    planAttention(size, { ...options, bias: { batch: 77, head: 0, query } }, lavapipe).variant.constants?.BIAS;
  expect([biased(0), biased(77)]).toEqual([1, 2]);
});
