/** onnxruntime-node: `node onnx.mjs webgpu|cpu`. Inference only; inputs and outputs cross to the CPU and back. */
import ort from 'onnxruntime-node';
import { normEpsilon } from './cases.mjs';
import { runCases, values, versionOf } from './common.mjs';
import { encodeModel } from './onnx_model.mjs';

const provider = process.argv[2] ?? 'webgpu';

/** A session over one graph with fixed weights, and a run of it. */
async function session(model, feeds) {
  const created = await ort.InferenceSession.create(encodeModel(model), {
    executionProviders: [provider],
    logSeverityLevel: 3,
  });
  const tensors = Object.fromEntries(
    model.inputs.map(({ name, shape }) => [name, new ort.Tensor('float32', feeds[name], shape)]),
  );
  let last;
  const run = async () => {
    last = await created.run(tensors);
  };
  return { run, read: async () => last[model.outputs[0].name].data, release: () => created.release() };
}

const size = (shape) => shape.reduce((a, b) => a * b, 1);
const constant = (name, shape, seed, scale) => ({ name, shape, data: values(size(shape), seed, scale) });
const integers = (name, list) => ({ name, shape: [list.length], data: BigInt64Array.from(list, BigInt) });
const scalar = (name, value) => ({ name, shape: [], data: Float32Array.of(value) });

/** [a, b, c, d] values as [a, c, b, d]. */
function swapMiddle(data, [a, b, c, d]) {
  const result = new Float32Array(data.length);
  for (let row = 0; row < a * b * c; row++) {
    const [i, j, k] = [Math.floor(row / (b * c)), Math.floor(row / c) % b, row % c];
    result.set(data.subarray(row * d, (row + 1) * d), ((i * c + k) * b + j) * d);
  }
  return result;
}

const make = {
  matmul: ({ m, n, k }) =>
    session(
      {
        nodes: [{ op: 'MatMul', inputs: ['a', 'b'], outputs: ['y'] }],
        inputs: [{ name: 'a', shape: [m, k] }],
        constants: [constant('b', [k, n], 2)],
        outputs: [{ name: 'y', shape: [m, n] }],
      },
      { a: values(m * k, 1) },
    ),
  conv2d: ({ channels, size: side }) => {
    const shape = [1, channels, side, side];
    return session(
      {
        nodes: [
          {
            op: 'Conv',
            inputs: ['x', 'weight'],
            outputs: ['y'],
            attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
          },
        ],
        inputs: [{ name: 'x', shape }],
        constants: [constant('weight', [channels, channels, 3, 3], 2)],
        outputs: [{ name: 'y', shape }],
      },
      { x: values(size(shape), 1) },
    );
  },
  attention: ({ batch, heads, tokens, headDim }) => {
    const shape = [batch, heads, tokens, headDim];
    const given = ['query', 'key', 'value'];
    return session(
      {
        nodes: [
          { op: 'Transpose', inputs: ['key'], outputs: ['keyT'], attributes: { perm: [0, 1, 3, 2] } },
          { op: 'Mul', inputs: ['query', 'scale'], outputs: ['scaled'] },
          { op: 'MatMul', inputs: ['scaled', 'keyT'], outputs: ['scores'] },
          { op: 'Softmax', inputs: ['scores'], outputs: ['probabilities'], attributes: { axis: -1 } },
          { op: 'MatMul', inputs: ['probabilities', 'value'], outputs: ['y'] },
        ],
        inputs: given.map((name) => ({ name, shape })),
        constants: [scalar('scale', headDim ** -0.5)],
        outputs: [{ name: 'y', shape }],
      },
      Object.fromEntries(given.map((name, i) => [name, values(size(shape), i + 1)])),
    );
  },
  attentionFused: async ({ batch, heads, tokens, headDim }) => {
    const shape = [batch, tokens, heads * headDim];
    const given = ['query', 'key', 'value'];
    const made = await session(
      {
        nodes: [
          {
            op: 'MultiHeadAttention',
            domain: 'com.microsoft',
            inputs: given,
            outputs: ['y'],
            attributes: { num_heads: heads },
          },
        ],
        inputs: given.map((name) => ({ name, shape })),
        outputs: [{ name: 'y', shape }],
      },
      Object.fromEntries(
        given.map((name, i) => [name, swapMiddle(values(size(shape), i + 1), [batch, heads, tokens, headDim])]),
      ),
    );
    return { ...made, read: async () => swapMiddle(await made.read(), [batch, tokens, heads, headDim]) };
  },
  groupNorm: ({ channels, size: side, groups }) => {
    const shape = [1, channels, side, side];
    return session(
      {
        // As PyTorch exports it: instance norm over the groups, then scale and shift by channel.
        nodes: [
          { op: 'Reshape', inputs: ['x', 'grouped'], outputs: ['g'] },
          {
            op: 'InstanceNormalization',
            inputs: ['g', 'ones', 'zeros'],
            outputs: ['n'],
            attributes: { epsilon: { float: normEpsilon } },
          },
          { op: 'Reshape', inputs: ['n', 'whole'], outputs: ['r'] },
          { op: 'Mul', inputs: ['r', 'weight'], outputs: ['s'] },
          { op: 'Add', inputs: ['s', 'bias'], outputs: ['y'] },
        ],
        inputs: [{ name: 'x', shape }],
        constants: [
          integers('grouped', [1, groups, (channels / groups) * side * side]),
          integers('whole', shape),
          { name: 'ones', shape: [groups], data: new Float32Array(groups).fill(1) },
          { name: 'zeros', shape: [groups], data: new Float32Array(groups) },
          constant('weight', [channels, 1, 1], 2),
          constant('bias', [channels, 1, 1], 3),
        ],
        outputs: [{ name: 'y', shape }],
      },
      { x: values(size(shape), 1) },
    );
  },
  softmax: ({ rows, columns }) => {
    const shape = [rows, columns];
    return session(
      {
        nodes: [{ op: 'Softmax', inputs: ['x'], outputs: ['y'], attributes: { axis: -1 } }],
        inputs: [{ name: 'x', shape }],
        outputs: [{ name: 'y', shape }],
      },
      { x: values(rows * columns, 1) },
    );
  },
};

await runCases({ peer: `ORT ${provider}`, version: versionOf('onnxruntime-node') }, make);
