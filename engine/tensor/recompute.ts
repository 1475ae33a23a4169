/** Recomputation: trading a second forward pass of a block for the memory of its intermediates. */
import { check } from '../errors.js';
import { defineOp, once } from './op.js';
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
    check(
      new Set(parameters).size === parameters.length,
      'a parameter is listed twice; its gradient would count twice',
    );
    // No label around the block: the ops inside carry their own and name their own errors.
    const y = device.withLabel('', () => scope(device, () => block(...inputs)));
    return [
      y,
      (dy) => {
        // One recomputation serves all gradients; it runs when the first of them is wanted. Each place among the inputs has
        // a leaf of its own, and so a gradient of its own: one tensor may stand at several, and among the parameters too.
        const gradients = once(() =>
          device.withLabel('', () => {
            const leaves = inputs.map((input) => (input.requiresGrad ? input.detach().requireGrad() : input));
            const places = [...leaves, ...parameters];
            const wrt = places.filter(({ requiresGrad }) => requiresGrad);
            const found = scope(device, () =>
              backward(
                withGrad(true, () => block(...leaves)),
                wrt,
                { seed: dy },
              ),
            );
            return places.map((leaf) => found[wrt.indexOf(leaf)]);
          }),
        );
        const thunks = [...inputs, ...parameters].map((_, place) => (): Tensor => gradients()[place]!);
        return [undefined, ...thunks];
      },
    ];
  },
);
