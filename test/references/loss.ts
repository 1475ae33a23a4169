/** Losses in double precision: each gives a scalar. */
import type { Host } from '../host.js';
import { logSoftmax, mean } from './reduce.js';

const scalar = (value: number): Host => ({ shape: [], data: Float64Array.of(value) });

export function mse(prediction: Host, target: Host): Host {
  return scalar(mean([...prediction.data].map((value, i) => (value - target.data[i]!) ** 2)));
}

export function crossEntropy({ shape, data }: Host, labels: Host): Host {
  const [n, classes] = shape as [number, number];
  const losses = Array.from({ length: n }, (_, row) => {
    const logProbs = logSoftmax([...data.slice(row * classes, (row + 1) * classes)]);
    return -logProbs[labels.data[row]!]!;
  });
  return scalar(mean(losses));
}

export function contrastive({ shape, data }: Host): Host {
  const n = shape[0]!;
  const labels = { shape: [n], data: Float64Array.from({ length: n }, (_, i) => i) };
  const turned = data.map((_, i) => data[(i % n) * n + Math.floor(i / n)]!);
  const rows = crossEntropy({ shape, data }, labels).data[0]!;
  const columns = crossEntropy({ shape, data: turned }, labels).data[0]!;
  return scalar((rows + columns) / 2);
}
