/** Losses: from a batch to one number, always f32. */
import { check } from '../errors.js';
import { defineOp } from '../tensor/op.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { arange, full } from './create.js';
import { add, cast, equal, exp, inDtype, mul, square, sub, where } from './elementwise.js';
import { mean, sum } from './reduce.js';
import { reshape, transpose } from './shape.js';
import { logSoftmax } from './softmax.js';

/** mean((prediction - target)^2) over all elements, of two tensors of one shape -> scalar. */
export const mse = defineOp('mse', (prediction: Tensor, target: Tensor) => {
  check(
    sameShape(prediction.shape, target.shape),
    () => `the shapes differ: prediction is ${formatShape(prediction.shape)}, target ${formatShape(target.shape)}`,
  );
  const difference = (): Tensor => sub(inDtype(prediction, 'f32'), inDtype(target, 'f32'));
  const grad = (dy: Tensor, sign: 1 | -1): Tensor => mul(difference(), mul(dy, (sign * 2) / prediction.size));
  return [
    mean(square(difference())),
    (dy) => [() => inDtype(grad(dy, 1), prediction.dtype), () => inDtype(grad(dy, -1), target.dtype)],
  ];
});

/** Mean over the rows of -logSoftmax(logits)[label]: logits [n, classes], labels u32 [n], each below classes -> scalar. */
export const crossEntropy = defineOp('crossEntropy', (logits: Tensor, labels: Tensor) => {
  const [n, classes] = logits.dims(2);
  check(
    labels.dtype === 'u32' && sameShape(labels.shape, [n]),
    () => `expected labels [${n}] u32 beside logits ${formatShape(logits.shape)}, found ${labels}`,
  );
  const { device } = logits;
  const logProbs = logSoftmax(inDtype(logits, 'f32')); // [n, classes]
  const isLabel = equal(reshape(labels, [n, 1]), arange(device, classes, { dtype: 'u32' })); // [n, classes]
  const picked = sum(where(isLabel, logProbs, full(device, [], 0)), 1);
  // (softmax - one at the label) / n
  const grad = (dy: Tensor): Tensor =>
    inDtype(mul(sub(exp(logProbs), cast(isLabel, 'f32')), mul(dy, 1 / n)), logits.dtype);
  return [mul(mean(picked), -1), (dy) => [() => grad(dy), undefined]];
});

/**
 * CLIP's symmetric loss of logits [n, n], whose rows are images and columns texts, pair i on the diagonal: the mean of
 * crossEntropy over rows and over columns -> scalar. (Radford et al. 2021, figure 3.)
 */
export function contrastive(logits: Tensor): Tensor {
  const [n = 0, columns] = logits.shape;
  check(logits.rank === 2 && n === columns, () => `contrastive: expected logits [n, n], found ${logits}`);
  const labels = arange(logits.device, n, { dtype: 'u32' });
  return mul(add(crossEntropy(logits, labels), crossEntropy(transpose(logits, 0, 1), labels)), 0.5);
}
