/** Recomputation: trading a second forward pass of a block for the memory of its intermediates. */
import { defineOp } from './op.js';
import { scope } from './scope.js';
import { backward, withGrad } from './tape.js';
import type { Tensor } from './tensor.js';

/**
 * Runs `block(...inputs)` keeping only its output; backward() runs the block again and differentiates that run (Chen et
 * al. 2016, sublinear memory). `parameters` are the tensors the block reads besides its inputs whose gradients are
 * wanted. The block must give the same values again: random numbers inside repeat, being functions of key and counter.
 */
export const recompute = defineOp(
  'recompute',
  (block: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[], parameters: readonly Tensor[] = []) => {
    const { device } = inputs[0]!;
    // No label around the block: the ops inside carry their own and name their own errors.
    const y = device.withLabel('', () => scope(device, () => block(...inputs)));
    return [
      y,
      (dy) => {
        // One recomputation serves all gradients; it runs when the first of them is wanted.
        let gradients: ReadonlyMap<Tensor, Tensor> | undefined;
        const runAgain = (): ReadonlyMap<Tensor, Tensor> =>
          device.withLabel('', () => {
            const leaves = inputs.map((input) => (input.requiresGrad ? input.detach().requireGrad() : input));
            const moving = [...inputs, ...parameters].filter(({ requiresGrad }) => requiresGrad);
            const wrt = [...leaves, ...parameters].filter(({ requiresGrad }) => requiresGrad);
            const found = scope(device, () =>
              backward(
                withGrad(true, () => block(...leaves)),
                wrt,
                { seed: dy },
              ),
            );
            return new Map(moving.map((tensor, i) => [tensor, found[i]!]));
          });
        const gradientOf = (tensor: Tensor) => (): Tensor => {
          gradients ??= runAgain();
          return gradients.get(tensor)!;
        };
        return [undefined, ...inputs.map(gradientOf), ...parameters.map(gradientOf)];
      },
    ];
  },
);
