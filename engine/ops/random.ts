/** Random numbers as functions of a key and a counter: the same for a sample wherever and whenever it is drawn. */
import { planRandom, type RandomKind } from '../../kernels/random.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { checkShape, formatShape, type Shape } from '../tensor/shape.js';
import { empty, type Tensor } from '../tensor/tensor.js';

/** Options of the random numbers. */
export interface RandomOptions {
  /** Tells apart draws that share keys and counter, such as two in one captured step. A u32; default 0. */
  readonly stream?: number;
}

function generator(name: string, kind: RandomKind) {
  return defineOp(name, (keys: Tensor, counter: Tensor, shape: Shape, { stream = 0 }: RandomOptions = {}) => {
    const isWords = keys.dtype === 'u32' && keys.rank === 2 && keys.shape[1] === 2;
    check(isWords, () => `keys are ${keys}, expected [n, 2] u32`);
    check(counter.dtype === 'u32' && counter.size === 1, () => `counter is ${counter}, expected [1] u32`);
    checkShape(shape);
    const samples = keys.shape[0]!;
    check(shape[0] === samples, () => `${samples} keys for shape ${formatShape(shape)}; expected [${samples}, ...]`);
    check(Number.isInteger(stream) && stream >= 0 && stream < 2 ** 32, `stream must be a u32, found ${stream}`);
    const y = empty(keys.device, shape, kind === 'bits' ? 'u32' : 'f32');
    dispatch(planRandom(kind, samples, y.size / samples, stream), { keys, counter, y });
    return [y];
  });
}

/**
 * Standard normal numbers, f32 of `shape` [n, ...]. Sample i is a function of keys[i], the counter and `stream` alone.
 * keys is u32 [n, 2], counter u32 [1] (a tensor, so that a captured step draws anew when it is raised).
 * Philox4x32-10 (Salmon et al. 2011) and Box-Muller.
 */
export const normal = generator('normal', 'normal');

/** Numbers uniform in [0, 1), otherwise as `normal`. */
export const uniform = generator('uniform', 'uniform');

/** The generator's own 32-bit words, u32, otherwise as `normal`. */
export const randomBits = generator('randomBits', 'bits');
