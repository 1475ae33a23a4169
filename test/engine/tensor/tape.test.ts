import { describe, expect, test } from 'vitest';
import { add, cast, floor, mul, square } from '../../../engine/ops/elementwise.js';
import { sum } from '../../../engine/ops/reduce.js';
import { defineOp } from '../../../engine/tensor/op.js';
import { recompute } from '../../../engine/tensor/recompute.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward, noGrad } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

const values = async (body: () => Tensor[]): Promise<number[][]> => {
  const results = scope(device, body);
  const all: number[][] = [];
  for (const result of results) all.push([...(await result.data())]);
  for (const result of results) result.dispose();
  return all;
};

describe('backward', () => {
  test('a tensor used twice gets the sum of both gradients', async () => {
    const [dx] = await values(() => {
      const x = tensor(device, [1, 2, 3]).requireGrad();
      return backward(sum(add(mul(x, x), x)), [x]);
    });
    expect(dx).toEqual([3, 5, 7]);
  });

  test('gradients of intermediate tensors can be asked for', async () => {
    const [dh, dx] = await values(() => {
      const x = tensor(device, [1, 2]).requireGrad();
      const h = mul(x, 3);
      return backward(sum(square(h)), [h, x]);
    });
    expect(dh).toEqual([6, 12]);
    expect(dx).toEqual([18, 36]);
  });

  test('the gradient of a frozen tensor is not computed', async () => {
    const { dispatches, dx } = scope(device, () => {
      const x = tensor(device, [1, 2]).requireGrad();
      const frozen = tensor(device, [[3], [4]].flat());
      const loss = sum(mul(x, frozen));
      const labels: string[] = [];
      const { dispatch } = device;
      device.dispatch = (plan, buffers, label) => {
        labels.push(plan.kernel);
        dispatch.call(device, plan, buffers, label);
      };
      const [gradient] = backward(loss, [x]);
      device.dispatch = dispatch;
      return { dispatches: labels, dx: gradient! };
    });
    expect([...(await dx.data())]).toEqual([3, 4]);
    dx.dispose();
    expect(dispatches.filter((kernel) => kernel === 'elementwise').length).toBeLessThanOrEqual(3); // one, its expand, dx
  });

  test('noGrad and detach cut the tape', async () => {
    scope(device, () => {
      const x = tensor(device, [1, 2]).requireGrad();
      expect(noGrad(() => mul(x, 2)).requiresGrad).toBe(false);
      expect(mul(x, 2).detach().requiresGrad).toBe(false);
      expect(mul(x, 2).requiresGrad).toBe(true);
    });
  });
});

describe('refused by backward', () => {
  const refused = (body: (x: Tensor) => unknown, message: string): void => {
    expect(() => scope(device, () => body(tensor(device, [1, 2]).requireGrad()))).toThrow(message);
  };

  test('a second use of the same tape', () =>
    refused((x) => {
      const loss = sum(square(x));
      backward(loss, [x]);
      backward(loss, [x]);
    }, 'backward: the tape of sum was used by an earlier backward(); run the forward again'));

  test('a loss of several elements without a seed', () =>
    refused((x) => backward(square(x), [x]), 'backward: expected a loss of one element, found [2] f32'));

  test('a seed of another shape', () =>
    refused(
      (x) => backward(square(x), [x], { seed: tensor(device, [1]) }),
      'backward: the seed is [1] f32, the output [2] f32',
    ));

  test('an op without a gradient, by name', () =>
    refused((x) => backward(sum(square(floor(x))), [x]), 'backward: floor has no gradient (reached through square)'));

  test('a cast to an integer', () =>
    refused((x) => backward(sum(cast(cast(x, 'i32'), 'f32')), [x]), 'backward: cast has no gradient'));

  test('a tensor that the loss does not depend on', () =>
    refused((x) => {
      const other = tensor(device, [1, 2, 3]).requireGrad();
      backward(sum(square(x)), [x, other]);
    }, 'backward: tensor 1 of those asked for, [3], is not reached from the loss'));

  test('and the ops after a failed backward still name their own errors', () => {
    refused((x) => {
      const frozen = defineOp('frozen', (a: Tensor) => [add(a, 1), () => [undefined]]);
      expect(() => backward(sum(frozen(x)), [x])).toThrow('frozen has no gradient for its input 0');
      add(x, tensor(device, [1, 2, 3]));
    }, 'add: shapes [2] and [3] do not broadcast');
  });

  test('a gradient that fails inside its pullback leaves no label behind', () => {
    refused((x) => {
      const failing = defineOp('failing', (a: Tensor) => [
        add(a, 1),
        () => [
          () => {
            throw new Error('stop');
          },
        ],
      ]);
      expect(() => backward(sum(failing(x)), [x])).toThrow('stop');
      add(x, tensor(device, [1, 2, 3]));
    }, 'add: shapes [2] and [3] do not broadcast');
  });

  test('requireGrad on something that is no leaf, or no float', () => {
    refused((x) => square(x).requireGrad(), 'requireGrad(): [2] f32 is the output of square, not a leaf');
    refused(() => tensor(device, [1], [1], 'u32').requireGrad(), 'requireGrad(): [1] u32 is not of a float type');
  });
});

describe('recompute', () => {
  const block = (a: Tensor, b: Tensor): Tensor => mul(square(a), b);

  test('one tensor given twice gets the gradient of both places', async () => {
    const [dx] = await values(() => {
      const x = tensor(device, [1, 2, 3]).requireGrad();
      return backward(sum(recompute(block, [x, x])), [x]);
    });
    expect(dx).toEqual([3, 12, 27]);
  });

  test('one tensor given as input and as parameter gets the gradient of both', async () => {
    const [dx] = await values(() => {
      const x = tensor(device, [1, 2, 3]).requireGrad();
      return backward(sum(recompute((a) => block(a, x), [x], [x])), [x]);
    });
    expect(dx).toEqual([3, 12, 27]);
  });

  test('beside an input without gradient each other one keeps its own', async () => {
    const [dx] = await values(() => {
      const x = tensor(device, [1, 2, 3]).requireGrad();
      return backward(sum(recompute(block, [tensor(device, [2, 2, 2]), x])), [x]);
    });
    expect(dx).toEqual([4, 4, 4]);
  });

  test('a parameter listed twice is refused', () => {
    scope(device, () => {
      const x = tensor(device, [1, 2, 3]).requireGrad();
      expect(() => recompute((a) => block(a, x), [x], [x, x])).toThrow('recompute: a parameter is listed twice');
    });
  });
});
