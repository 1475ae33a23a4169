// The kernels of subgroup matrices: the values of matmul with matrices emulated by shuffles (those of conv2d and
// attention are in their own tests), and that Dawn accepts all of them as a GPU runs them.
import { describe, expect, test } from 'vitest';
import { create, globals } from 'webgpu';
import { PipelineCache } from '../../../../engine/device/pipelines.js';
import { requestDevice } from '../../../../engine/driver/adapter.js';
import { linear } from '../../../../engine/ops/products/linear.js';
import { matmul } from '../../../../engine/ops/products/matmul.js';
import type { Tensor } from '../../../../engine/tensor/tensor.js';
import { planAttention } from '../../../../kernels/attention.js';
import { planConv2d, planConv2dWeightGrad } from '../../../../kernels/conv2d.js';
import type { DType, Features, Plan } from '../../../../kernels/kernel.js';
import { planMatmul } from '../../../../kernels/matmul.js';
import { fullLinearCases, type LinearCase, matmulCases } from '../../../cases/matmul.js';
import { checkBatchInvariance, checkForward, type Host, random, testDevice, withFeatures } from '../../../check.js';
import * as reference from '../../../references/matmul.js';

const device = await testDevice();
const tuning = { kernel: 'matmul_subgroup_matrix' } as const;
/** Values that rounding to f16 leaves alone, so that the kernel owes the accuracy of its f32 sums. */
const half = (shape: readonly number[], seed: number): Host => random(shape, seed, { dtype: 'f16' });

const emulated = <R>(body: () => Promise<R>): Promise<R> => withFeatures(device, { subgroupMatrix: 'emulated' }, body);

describe.skipIf(!device.features.f16 || !device.features.subgroups)('matmul', () => {
  // Each variant takes seconds to compile, so few of them: odd sizes in every layout, several tiles, batches.
  const cases = [
    ...matmulCases.filter(({ name }) => name.startsWith('odd sizes')),
    { name: 'several narrow tiles', a: [70, 70], b: [70, 60] },
    { name: 'several wide tiles', a: [140, 70], b: [70, 132] },
    { name: 'batch axes that broadcast both ways', a: [2, 1, 5, 8], b: [3, 8, 4] },
  ];
  for (const { name, a, b, ...transposes } of cases) {
    test(`of ${name} agrees with double precision`, async () => {
      const expected = (left: Host, right: Host): Host => reference.matmul(left, right, transposes);
      const run = (left: Tensor, right: Tensor): Tensor => matmul(left, right, { ...transposes, tuning });
      await emulated(() =>
        checkForward(device, run, expected, [half(a, 1), half(b, 2)], { terms: Math.max(...a, ...b) }),
      );
    });
  }

  const large: LinearCase = { name: 'a bias and a residual, several wide tiles', x: [130, 40], out: 68 };
  for (const [dtype, { name, x, out, activation }] of [
    ['f32', large],
    ['f16', fullLinearCases[1]!],
  ] as const) {
    test(`linear with ${name} agrees with double precision, in ${dtype}`, async () => {
      const rows = x.slice(0, -1);
      const inputs = [half(x, 1), half([out, x.at(-1)!], 2), half([out], 3), half([...rows, out], 4)];
      const dtypes: DType[] = [dtype, dtype, dtype, dtype];
      const run = (input: Tensor, weight: Tensor, bias: Tensor, residual: Tensor): Tensor =>
        linear(input, weight, bias, { activation, residual, tuning });
      const expected = (input: Host, weight: Host, bias: Host, residual: Host): Host =>
        reference.linear(input, weight, { bias, activation, residual });
      await emulated(() => checkForward(device, run, expected, inputs, { terms: x.at(-1)!, dtypes }));
    });
  }

  test('a row depends neither on the other rows nor on its place in a tile', async () => {
    const run = (x: Tensor, weight: Tensor): Tensor => linear(x, weight, null, { tuning });
    const inputs = [half([5, 36], 1), half([40, 36], 2)];
    await emulated(() => checkBatchInvariance(device, run, inputs, { batched: [0] }));
  });
});

test('Dawn accepts every variant as a GPU runs it', async () => {
  Object.assign(globalThis, globals);
  const instance = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
  const adapter = (await instance.requestAdapter())!;
  const gpu = await requestDevice(adapter);
  const nvidia: Features = {
    ...device.features,
    subgroups: true,
    subgroupSize: 32,
    subgroupMatrix: 'native',
    software: false,
  };
  const plans: Plan[] = [];
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      for (const n of [64, 63]) {
        // More columns take a wider tile, the same but for constants, than the null backend's 16 KiB of workgroup memory hold.
        const product = { m: 64, n, k: 64, transposeA, transposeB, a: 'f16', b: 'f16', y: 'f16' } as const;
        plans.push(planMatmul(product, nvidia), planMatmul({ ...product, a: 'f32', y: 'f32' }, nvidia, tuning));
      }
    }
  }
  const pictures = { batch: 2, channels: 64, height: 8, width: 8, outChannels: 64, outHeight: 8, outWidth: 8 };
  const window = { kernelHeight: 3, kernelWidth: 3, stride: 1, paddingTop: 1, paddingLeft: 1 };
  const types = { dtype: 'f16', weight: 'f16', bias: 'f16', residual: true } as const;
  for (const direction of ['forward', 'inputGrad'] as const) {
    plans.push(planConv2d({ ...pictures, ...window }, direction, types, nvidia));
  }
  plans.push(planConv2dWeightGrad({ ...pictures, ...window }, 'f16', nvidia).plan);
  for (const headDim of [64, 13]) {
    for (const bias of [null, { batch: 0, head: 0, query: 0 }]) {
      const size = { batch: 1, heads: 1, queries: 64, keys: 64, headDim };
      const options = { dtype: 'f16', scale: 1, causal: false, layout: 'BHTC', bias } as const;
      const { variant, ...plan } = planAttention(size, options, nvidia);
      plans.push({ ...plan, variant: { ...variant, constants: { ...variant.constants, TILE: 16 } } }); // as with n
    }
  }
  for (const plan of plans) expect(plan.variant.subgroupMatrix).toBe(true);
  await new PipelineCache(gpu).compile(plans);
  gpu.destroy();
});
