/**
 * TensorFlow.js on its WebGPU backend, images in NHWC. Bundled by esbuild at start: the CommonJS builds that Node would
 * load come without gradients.
 */
import { build } from 'esbuild';
import { adamEpsilon, learningRate, normEpsilon } from './cases.mjs';
import { provideNavigator, runCases, sleepUntil, values, versionOf } from './common.mjs';

const bundle = new URL('node_modules/.tfjs_bundle.mjs', import.meta.url);
await build({
  stdin: {
    contents: `
      export * from '@tensorflow/tfjs-core';
      import '@tensorflow/tfjs-core/dist/register_all_gradients';
      import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops';
      import '@tensorflow/tfjs-backend-webgpu';`,
    resolveDir: new URL('.', import.meta.url).pathname,
  },
  bundle: true,
  format: 'esm',
  platform: 'node',
  mainFields: ['module', 'main'],
  banner: { js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` },
  outfile: bundle.pathname,
  logLevel: 'error',
});

const adapter = await provideNavigator();
const tf = await import(bundle.href);
await tf.setBackend('webgpu');
await tf.ready();

const array = (shape, seed, scale) =>
  tf.tensor(
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
    shape,
  );
/** [N, C, H, W] values as NHWC, and back. */
const nhwc = (x) => tf.transpose(x, [0, 2, 3, 1]);
const nchw = (x) => tf.transpose(x, [0, 3, 1, 2]);

const done = () => {
  const backend = tf.backend();
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
  return sleepUntil(backend.device.queue.onSubmittedWorkDone());
};

/** A case that calls a function of tensors and keeps the outputs of the last call; `layout` restores NCHW for reading. */
function repeat(compute, inputs, layout = (x) => x) {
  let outputs;
  return {
    run: async () => {
      tf.dispose(outputs);
      outputs = tf.tidy(() => compute(...inputs));
      await done();
    },
    read: () => layout(Array.isArray(outputs) ? outputs[0] : outputs).data(),
    release: () => tf.dispose([outputs, inputs]),
  };
}

const convolution = (x, weight) => tf.conv2d(x, weight, 1, 'same');
/** [O, C, 3, 3] values as tfjs's [3, 3, C, O]. */
const filter = (channels, seed) => tf.transpose(array([channels, channels, 3, 3], seed), [2, 3, 1, 0]);

function attend(query, key, value) {
  const scores = tf.matMul(tf.mul(query, query.shape[3] ** -0.5), key, false, true);
  return tf.matMul(tf.softmax(scores), value);
}

const make = {
  matmul: ({ m, n, k }) => repeat((a, b) => tf.matMul(a, b), [array([m, k], 1), array([k, n], 2)]),
  conv2d: ({ channels, size }) =>
    repeat(convolution, [nhwc(array([1, channels, size, size], 1)), filter(channels, 2)], nchw),
  conv2dBackward: ({ channels, size }) => {
    const image = [1, channels, size, size];
    const dy = nhwc(array(image, 3));
    const both = tf.grads(convolution);
    return repeat((x, weight) => both([x, weight], dy), [nhwc(array(image, 1)), filter(channels, 2)], nchw);
  },
  attention: ({ batch, heads, tokens, headDim }) =>
    repeat(
      attend,
      [1, 2, 3].map((seed) => array([batch, heads, tokens, headDim], seed)),
    ),
  attentionBackward: ({ batch, heads, tokens, headDim }) => {
    const shape = [batch, heads, tokens, headDim];
    const dy = array(shape, 4);
    const all = tf.grads(attend);
    return repeat(
      (...inputs) => all(inputs, dy),
      [1, 2, 3].map((seed) => array(shape, seed)),
    );
  },
  groupNorm: ({ channels, size, groups }) => {
    const norm = (x, weight, bias) => {
      const grouped = tf.reshape(x, [1, size * size, groups, channels / groups]);
      const { mean, variance } = tf.moments(grouped, [1, 3], true);
      const normalised = tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, normEpsilon)));
      return tf.add(tf.mul(tf.reshape(normalised, x.shape), weight), bias);
    };
    return repeat(norm, [nhwc(array([1, channels, size, size], 1)), array([channels], 2), array([channels], 3)], nchw);
  },
  softmax: ({ rows, columns }) => repeat((x) => tf.softmax(x), [array([rows, columns], 1)]),
  add: ({ count }) => repeat((a, b) => tf.add(a, b), [array([count], 1), array([count], 2)]),
  mlp: ({ batch, widths }) => {
    const layers = widths.length - 1;
    const weights = widths.slice(1).map((out, i) => tf.variable(array([widths[i], out], 3 + i, widths[i] ** -0.5)));
    const x = array([batch, widths[0]], 1);
    const target = array([batch, widths.at(-1)], 2);
    const optimizer = tf.train.adam(learningRate, 0.9, 0.999, adamEpsilon);
    const loss = () => {
      const y = weights.reduce((h, weight, i) => {
        const z = tf.matMul(h, weight);
        return i < layers - 1 ? tf.relu(z) : z;
      }, x);
      return tf.mean(tf.square(tf.sub(y, target)));
    };
    let steps = 0;
    let first;
    return {
      run: async () => {
        const value = optimizer.minimize(loss, true, weights);
        await done();
        if (steps++ === 0) first = await value.data();
        value.dispose();
      },
      read: async () => first,
    };
  },
};

await runCases({ peer: 'tfjs', version: versionOf('@tensorflow/tfjs-core'), adapter }, make);
