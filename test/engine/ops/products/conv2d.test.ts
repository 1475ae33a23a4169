import { describe, expect, test } from 'vitest';
import { conv2d } from '../../../../engine/ops/products/conv2d.js';
import { upsampleConv2d } from '../../../../engine/ops/products/upsample_conv2d.js';
import { scope } from '../../../../engine/tensor/scope.js';
import { backward } from '../../../../engine/tensor/tape.js';
import type { Tensor } from '../../../../engine/tensor/tensor.js';
import type { DType, Features } from '../../../../kernels/kernel.js';
import { type Conv2dCase, conv2dCases, conv2dHalfCases } from '../../../cases/conv2d.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  type Host,
  random,
  testDevice,
  upload,
  withFeatures,
} from '../../../check.js';
import * as reference from '../../../references/conv2d.js';
import { upsampleNearest } from '../../../references/resample.js';

const device = await testDevice();

/** The inputs of a case in order, the op and the reference as functions of them. */
function prepare(
  { x, weight: [o, kh, kw], stride = 1, padding = 0, bias, residual, weightDtype = 'f32' }: Conv2dCase,
  dtype: DType = 'f32',
) {
  const hosts: { host: Host; dtype: DType }[] = [
    { host: random(x, 1, { dtype }), dtype },
    { host: random([o, x[1], kh, kw], 2, { dtype: weightDtype }), dtype: weightDtype },
  ];
  const biasAt = bias ? hosts.push({ host: random([o], 3, { dtype: weightDtype }), dtype: weightDtype }) - 1 : -1;
  const options = { stride, padding };
  if (residual) {
    const { shape } = reference.conv2d(hosts[0]!.host, hosts[1]!.host, null, options);
    hosts.push({ host: random(shape, 4, { dtype }), dtype });
  }
  const residualAt = residual ? hosts.length - 1 : -1;
  return {
    inputs: hosts.map(({ host }) => host),
    dtypes: hosts.map((input) => input.dtype),
    batched: residual ? [0, residualAt] : [0],
    run: (...tensors: Tensor[]): Tensor =>
      conv2d(tensors[0]!, tensors[1]!, tensors[biasAt] ?? null, { ...options, residual: tensors[residualAt] ?? null }),
    reference: (...inputs: Host[]): Host =>
      reference.conv2d(inputs[0]!, inputs[1]!, inputs[biasAt] ?? null, options, inputs[residualAt] ?? null),
    terms: x[0] * Math.max(x[1], o) * Math.max(kh * kw, x[2] * x[3]),
  };
}

const structures: readonly { name: string; features: Partial<Features> }[] = [
  { name: 'with subgroups', features: {} },
  { name: 'with tiles in workgroup memory', features: { subgroups: false, subgroupSize: 0 } },
];

describe.each(structures)('conv2d $name', ({ features }) => {
  test.each(conv2dCases)('equals the definition, and so do its gradients: $name', async (conv) => {
    const { inputs, run, reference, terms } = prepare(conv);
    await withFeatures(device, features, async () => {
      await checkForward(device, run, reference, inputs, { terms });
      await checkGradients(device, run, reference, inputs, { terms });
    });
  });

  test.each(conv2dHalfCases)('reads weights in f16 without a device feature: $name', async (conv) => {
    const { inputs, dtypes, run, reference, terms } = prepare(conv);
    await withFeatures(device, { ...features, f16: false }, async () => {
      await checkForward(device, run, reference, inputs, { terms, dtypes });
      await checkGradients(device, run, reference, inputs, { terms, dtypes, wrt: [0] });
    });
  });

  test.skipIf(!device.features.f16)('computes images in f16, with all gradients (needs shader-f16)', async () => {
    const { inputs, dtypes, run, reference, terms } = prepare({ ...conv2dHalfCases[0]!, residual: true }, 'f16');
    await withFeatures(device, features, async () => {
      await checkForward(device, run, reference, inputs, { terms, dtypes });
      await checkGradients(device, run, reference, inputs, { terms, dtypes });
    });
  });

  test('gives a sample the same bits in any batch, forward and back', async () => {
    const { inputs, run, batched } = prepare({ ...conv2dCases[1]!, x: [3, 5, 7, 6] });
    await withFeatures(device, features, () => checkBatchInvariance(device, run, inputs, { batched }));
  });

  test('repeats the weight gradient bit by bit when its sum is split', async () => {
    const { inputs, run } = prepare({ name: '', x: [3, 4, 16, 16], weight: [4, 1, 1] });
    const evaluate = async (): Promise<number[]> => {
      const gradient = scope(device, () => {
        const [x, weight] = inputs.map((input) => upload(device, input)) as [Tensor, Tensor];
        const y = run(x, weight.requireGrad());
        return backward(y, [weight], { seed: x })[0]!;
      });
      const values = [...(await gradient.data())];
      gradient.dispose();
      return values;
    };
    await withFeatures(device, features, async () => expect(await evaluate()).toEqual(await evaluate()));
  });
});

describe.each(structures)('upsampleConv2d $name', ({ features }) => {
  const inputs = [random([2, 5, 4, 3], 1), random([7, 5, 3, 3], 2), random([7], 3)];
  const run = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor => upsampleConv2d(x, weight, bias ?? null);
  const expected = (x: Host, weight: Host, bias?: Host): Host => {
    const [, , height, width] = x.shape as [number, number, number, number];
    return reference.conv2d(upsampleNearest(x, 2 * height, 2 * width), weight, bias ?? null, { padding: 1 });
  };

  test('equals the convolution of the large image, and so do its gradients', async () => {
    const terms = 2 * 7 * 9 * 48;
    await withFeatures(device, features, async () => {
      for (const some of [inputs, inputs.slice(0, 2)]) {
        await checkForward(device, run, expected, some, { terms });
        await checkGradients(device, run, expected, some, { terms });
      }
      await checkBatchInvariance(device, run, inputs, { batched: [0] });
    });
  });

  test('sums weights of f16 in f32', async () => {
    const half = [inputs[0]!, random([7, 5, 3, 3], 2, { dtype: 'f16' })];
    await withFeatures(device, { ...features, f16: false }, () =>
      checkForward(device, run, expected, half, { terms: 45, dtypes: ['f32', 'f16'] }),
    );
  });

  test('refuses another window', () => {
    scope(device, () => {
      const [x, weight] = [upload(device, inputs[0]!), upload(device, random([7, 5, 1, 1], 2))];
      expect(() => upsampleConv2d(x, weight, null)).toThrow(/a weight \[O, C, 3, 3\], found .* and \[7, 5, 1, 1\] f32/);
    });
  });
});

describe.skipIf(!device.features.f16 || !device.features.subgroups)('conv2d with subgroup matrices', () => {
  // Few cases: each variant of what stands in for the matrices takes seconds to compile.
  const names = ['3x3 to 14 channels over several tiles of pixels', 'stride 2 padded on all sides'];
  test.each(conv2dCases.filter(({ name }) => names.includes(name)))(
    'equals the definition in f16: $name',
    async (conv) => {
      const { inputs, dtypes, run, reference, terms } = prepare({ ...conv, weightDtype: 'f16' }, 'f16');
      await withFeatures(device, { subgroupMatrix: 'emulated' }, async () => {
        await checkForward(device, run, reference, inputs, { terms, dtypes });
        await checkGradients(device, run, reference, inputs, { terms, dtypes });
      });
    },
  );

  test('a picture does not depend on the others of its batch', async () => {
    const { inputs, batched, run } = prepare({ ...conv2dCases[3]!, weightDtype: 'f16' }, 'f16');
    await withFeatures(device, { subgroupMatrix: 'emulated' }, () =>
      checkBatchInvariance(device, run, inputs, { batched }),
    );
  });
});

describe('conv2d refuses', () => {
  const cases: readonly {
    name: string;
    x?: number[];
    weight?: number[];
    bias?: number[];
    options?: object;
    message: RegExp;
  }[] = [
    {
      name: 'an image without a batch',
      x: [3, 4, 4],
      message: /conv2d: expected x of \[N, C, H, W\], found \[3, 4, 4\] f32/,
    },
    {
      name: 'other channels',
      weight: [2, 4, 3, 3],
      message: /x is \[1, 3, 4, 4\] f32, weight \[2, 4, 3, 3\] f32; expected a weight of \[O, 3, kh, kw\]/,
    },
    { name: 'a bias of another length', bias: [3], message: /expected a bias of \[2\], found \[3\] f32/ },
    {
      name: 'a window larger than the image',
      weight: [2, 3, 5, 5],
      message: /larger than x \[1, 3, 4, 4\] f32 padded to 4 x 4/,
    },
    { name: 'a stride of 0', options: { stride: 0 }, message: /expected a stride of 1 or more, found 0/ },
    { name: 'a negative padding', options: { padding: [0, -1, 0, 0] }, message: /found \[0,-1,0,0\]/ },
  ];
  test.each(cases)('$name', ({ x = [1, 3, 4, 4], weight = [2, 3, 3, 3], bias, options, message }) => {
    scope(device, () => {
      const make = (shape: number[]): Tensor => upload(device, random(shape, 1));
      expect(() => conv2d(make(x), make(weight), bias ? make(bias) : null, options)).toThrow(message);
    });
  });

  test('a residual of another shape', () => {
    scope(device, () => {
      const make = (shape: number[]): Tensor => upload(device, random(shape, 1));
      const residual = make([1, 2, 4, 4]);
      expect(() => conv2d(make([1, 3, 4, 4]), make([2, 3, 3, 3]), null, { residual })).toThrow(
        /expected a residual of \[1, 2, 2, 2\] f32, found \[1, 2, 4, 4\] f32/,
      );
    });
  });
});
