/** The shapes every library runs. The same inputs everywhere: `values(count, seed)` of common.mjs, seeds 1, 2, 3 in order of use. */
export const cases = [
  { name: 'matmul 1024x1024x1024', kind: 'matmul', m: 1024, n: 1024, k: 1024 },
  { name: 'matmul 4096x1280x320', kind: 'matmul', m: 4096, n: 1280, k: 320 },
  { name: 'matmul 1024x320x1280', kind: 'matmul', m: 1024, n: 320, k: 1280 },
  { name: 'conv3x3 1x320x32x32 -> 320', kind: 'conv2d', channels: 320, size: 32 },
  { name: 'conv3x3 forward + backward', kind: 'conv2dBackward', channels: 320, size: 32 },
  { name: 'attention B2 H8 S1024 D40', kind: 'attention', batch: 2, heads: 8, tokens: 1024, headDim: 40 },
  { name: 'attention, one fused op', kind: 'attentionFused', batch: 2, heads: 8, tokens: 1024, headDim: 40 },
  { name: 'attention forward + backward', kind: 'attentionBackward', batch: 2, heads: 8, tokens: 1024, headDim: 40 },
  { name: 'groupNorm 1x320x32x32, 32 groups', kind: 'groupNorm', channels: 320, size: 32, groups: 32 },
  { name: 'softmax 1024x1024', kind: 'softmax', rows: 1024, columns: 1024 },
  { name: 'add 4M', kind: 'add', count: 1 << 22 },
  { name: 'MLP 512-1024-1024-256 b256, Adam step', kind: 'mlp', batch: 256, widths: [512, 1024, 1024, 256] },
];

/** Learning rate of the MLP's Adam step, and the epsilon of norms and of Adam. */
export const learningRate = 1e-3;
export const normEpsilon = 1e-5;
export const adamEpsilon = 1e-8;
