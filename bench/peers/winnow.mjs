/** winnow itself, from dist/ (`npm run build` first): every case as a captured step, by wall clock like the others. */
import { capture } from '../../dist/engine/device/capture.js';
import { Device } from '../../dist/engine/device/device.js';
import { AdamW } from '../../dist/engine/nn/optimizer.js';
import { attention } from '../../dist/engine/ops/attention.js';
import { add, relu, square, sub } from '../../dist/engine/ops/elementwise.js';
import { groupNorm } from '../../dist/engine/ops/norm.js';
import { conv2d } from '../../dist/engine/ops/products/conv2d.js';
import { matmul } from '../../dist/engine/ops/products/matmul.js';
import { mean } from '../../dist/engine/ops/reduce.js';
import { softmax } from '../../dist/engine/ops/softmax.js';
import { backward } from '../../dist/engine/tensor/tape.js';
import { tensor } from '../../dist/engine/tensor/tensor.js';
import { adamEpsilon, learningRate, normEpsilon } from './cases.mjs';
import { runCases, values, versionOf } from './common.mjs';

const device = await Device.create();
const array = (shape, seed, scale) =>
  tensor(
    device,
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
    shape,
  );

/** A case that captures `body`, which returns tensors. */
async function repeat(inputs, body) {
  const step = await capture(device, () => [body(...inputs)].flat());
  return {
    run: () => {
      step.run();
      return device.sync();
    },
    read: () => step.outputs[0].data(),
    release: () => {
      step.dispose();
      for (const input of inputs) input.dispose();
    },
  };
}

/** The gradients of `f` at its inputs, for the output's gradient `dy`. */
const gradients = (f, inputs, dy) =>
  repeat(
    inputs.map((x) => x.requireGrad()),
    (...xs) => backward(f(...xs), xs, { seed: dy }),
  );

const convolution = (x, weight) => conv2d(x, weight, null, { padding: 1 });
const filter = (channels) => array([channels, channels, 3, 3], 2);

const make = {
  matmul: ({ m, n, k }) => repeat([array([m, k], 1), array([k, n], 2)], (a, b) => matmul(a, b)),
  conv2d: ({ channels, size }) => repeat([array([1, channels, size, size], 1), filter(channels)], convolution),
  conv2dBackward: ({ channels, size }) => {
    const image = [1, channels, size, size];
    return gradients(convolution, [array(image, 1), filter(channels)], array(image, 3));
  },
  attention: ({ batch, heads, tokens, headDim }) =>
    repeat(
      [1, 2, 3].map((seed) => array([batch, heads, tokens, headDim], seed)),
      (...qkv) => attention(...qkv),
    ),
  attentionFused: (entry) => make.attention(entry),
  attentionBackward: ({ batch, heads, tokens, headDim }) => {
    const [dy, ...inputs] = [4, 1, 2, 3].map((seed) => array([batch, heads, tokens, headDim], seed));
    return gradients((...qkv) => attention(...qkv), inputs, dy);
  },
  groupNorm: ({ channels, size, groups }) =>
    repeat([array([1, channels, size, size], 1), array([channels], 2), array([channels], 3)], (...given) =>
      groupNorm(...given, { groups, eps: normEpsilon }),
    ),
  softmax: ({ rows, columns }) => repeat([array([rows, columns], 1)], (x) => softmax(x)),
  add: ({ count }) => repeat([array([count], 1), array([count], 2)], (a, b) => add(a, b)),
  mlp: ({ batch, widths }) => {
    const weights = widths.slice(1).map((out, i) => array([widths[i], out], 3 + i, widths[i] ** -0.5).requireGrad());
    const optimizer = new AdamW(weights, { lr: learningRate, eps: adamEpsilon, weightDecay: 0 });
    return repeat([array([batch, widths[0]], 1), array([batch, widths.at(-1)], 2)], (x, target) => {
      const last = weights.length - 1;
      const y = weights.reduce((h, weight, i) => (i < last ? relu(matmul(h, weight)) : matmul(h, weight)), x);
      const loss = mean(square(sub(y, target)));
      optimizer.step(backward(loss, weights));
      return loss;
    });
  },
};

const adapter = `${device.info.device} (${device.info.description})`;
await runCases({ peer: 'winnow', version: versionOf('winnow'), adapter }, make);
