/** jax-js on WebGPU. Its arrays are reference-counted: a function takes its arguments over, `.ref` keeps one for later. */
import { adamEpsilon, learningRate, normEpsilon } from './cases.mjs';
import { provideNavigator, runCases, sleepUntil, values, versionOf } from './common.mjs';

const adapter = await provideNavigator();
const {
  defaultDevice,
  getWebGPUDevice,
  grad,
  init,
  jit,
  lax,
  nn,
  numpy: np,
  valueAndGrad,
} = await import('@jax-js/jax');
await init('webgpu');
defaultDevice('webgpu');

const array = (shape, seed, scale) =>
  np
    .array(
      values(
        shape.reduce((a, b) => a * b, 1),
        seed,
        scale,
      ),
    )
    .reshape(shape);
const done = () => sleepUntil(getWebGPUDevice().queue.onSubmittedWorkDone());

/** A case that calls a function of arrays and keeps the outputs of the last call. */
function repeat(compute, inputs) {
  let outputs = [];
  const free = () => {
    for (const output of outputs) output.dispose();
    outputs = [];
  };
  return {
    run: async () => {
      free();
      outputs = [compute(...inputs.map((input) => input.ref))].flat();
      for (const output of outputs) await sleepUntil(output.blockUntilReady());
      await done();
    },
    read: () => outputs[0].ref.data(),
    release: () => {
      free();
      for (const input of inputs) input.dispose();
    },
  };
}

const convolution = (x, weight) =>
  lax.convGeneralDilated(
    x,
    weight,
    [1, 1],
    [
      [1, 1],
      [1, 1],
    ],
  );

function attend(query, key, value) {
  const scale = query.shape[3] ** -0.5;
  const scores = np.matmul(query.mul(scale), np.swapaxes(key, 2, 3));
  return np.matmul(nn.softmax(scores, -1), value);
}

/** Gradients of sum(f(inputs) dy) with respect to the first `count` inputs; the last input is dy. */
const gradients = (f, count) => {
  const loss = (...inputs) => np.sum(f(...inputs.slice(0, -1)).mul(inputs.at(-1)));
  return jit(grad(loss, { argnums: Array.from({ length: count }, (_, i) => i) }));
};

const make = {
  matmul: ({ m, n, k }) =>
    repeat(
      jit((a, b) => np.matmul(a, b)),
      [array([m, k], 1), array([k, n], 2)],
    ),
  conv2d: ({ channels, size }) =>
    repeat(jit(convolution), [array([1, channels, size, size], 1), array([channels, channels, 3, 3], 2)]),
  conv2dBackward: ({ channels, size }) => {
    const image = [1, channels, size, size];
    return repeat(gradients(convolution, 2), [array(image, 1), array([channels, channels, 3, 3], 2), array(image, 3)]);
  },
  attention: ({ batch, heads, tokens, headDim }) =>
    repeat(
      jit(attend),
      [1, 2, 3].map((seed) => array([batch, heads, tokens, headDim], seed)),
    ),
  attentionBackward: ({ batch, heads, tokens, headDim }) =>
    repeat(
      gradients(attend, 3),
      [1, 2, 3, 4].map((seed) => array([batch, heads, tokens, headDim], seed)),
    ),
  groupNorm: ({ channels, size, groups }) => {
    const shape = [1, channels, size, size];
    const norm = jit((x, weight, bias) => {
      const grouped = x.reshape([groups, (channels * size * size) / groups]);
      const centred = grouped.ref.sub(np.mean(grouped, 1, { keepdims: true }));
      const variance = np.mean(np.square(centred.ref), 1, { keepdims: true });
      const normalised = centred.div(np.sqrt(variance.add(normEpsilon)));
      return normalised.reshape(shape).mul(weight).add(bias);
    });
    return repeat(norm, [array(shape, 1), array([channels, 1, 1], 2), array([channels, 1, 1], 3)]);
  },
  softmax: ({ rows, columns }) =>
    repeat(
      jit((x) => nn.softmax(x, -1)),
      [array([rows, columns], 1)],
    ),
  add: ({ count }) =>
    repeat(
      jit((a, b) => a.add(b)),
      [array([count], 1), array([count], 2)],
    ),
  mlp: ({ batch, widths }) => {
    const [b1, b2] = [0.9, 0.999];
    const layers = widths.length - 1;
    const loss = (weights, x, target) => {
      const y = weights.reduce((h, weight, i) => {
        const z = np.matmul(h, weight);
        return i < layers - 1 ? nn.relu(z) : z;
      }, x);
      return np.mean(np.square(y.sub(target)));
    };
    // The bias corrections come in as arrays: numbers would be compiled in.
    const update = jit((weights, ms, vs, x, target, c1, c2) => {
      const [value, grads] = valueAndGrad(loss)(
        weights.map((w) => w.ref),
        x,
        target,
      );
      const next = weights.map((weight, i) => {
        const g = grads[i];
        const m = ms[i].mul(b1).add(g.ref.mul(1 - b1));
        const v = vs[i].mul(b2).add(np.square(g).mul(1 - b2));
        const step = m.ref
          .div(c1.ref)
          .div(np.sqrt(v.ref.div(c2.ref)).add(adamEpsilon))
          .mul(learningRate);
        return { weight: weight.sub(step), m, v };
      });
      c1.dispose();
      c2.dispose();
      return { value, weights: next.map((n) => n.weight), ms: next.map((n) => n.m), vs: next.map((n) => n.v) };
    });
    const shapes = widths.slice(1).map((out, i) => [widths[i], out]);
    let weights = shapes.map(([i, o], index) => array([i, o], 3 + index, i ** -0.5));
    let ms = shapes.map((shape) => np.zeros(shape));
    let vs = shapes.map((shape) => np.zeros(shape));
    const x = array([batch, widths[0]], 1);
    const target = array([batch, widths.at(-1)], 2);
    let steps = 0;
    let first;
    return {
      run: async () => {
        steps++;
        const c1 = np.array([1 - b1 ** steps]);
        const c2 = np.array([1 - b2 ** steps]);
        const out = update(weights, ms, vs, x.ref, target.ref, c1, c2);
        ({ weights, ms, vs } = out);
        for (const made of [...weights, ...ms, ...vs]) await sleepUntil(made.blockUntilReady());
        await done();
        if (steps === 1) first = await out.value.data();
        else out.value.dispose();
      },
      read: async () => first,
    };
  },
};

await runCases({ peer: 'jax-js', version: versionOf('@jax-js/jax'), adapter }, make);
