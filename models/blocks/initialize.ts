/** Initial weights of a network that is trained from nothing. */
import { type Device, Initializer } from '../../engine/index.js';
import { scope } from '../../engine/tensor/scope.js';
import type { Parameters } from './parameters.js';

export interface InitializeOptions {
  /** Weights of these names begin at zero, so that a branch that ends in them adds nothing at first. */
  readonly zero?: RegExp;
  /** Weights of these names are drawn from a normal with deviation 0.02, as tables of embeddings and positions are. */
  readonly embedding?: RegExp;
}

/**
 * Allocates every declared weight on the device and writes its initial values: matrices and convolutions uniform within
 * 1 / sqrt(fan in), as PyTorch's layers begin, gains one, biases zero. The same seed gives the same values, in order of
 * declaration.
 */
export async function initializeParameters(
  device: Device,
  parameters: Parameters,
  seed: number,
  options: InitializeOptions = {},
): Promise<void> {
  parameters.allocate(device);
  const init = new Initializer(device, seed);
  for (const { name, shape, tensor } of parameters.all) {
    const drawn = scope(device, () => {
      if (options.zero?.test(name)) return init.constant(shape, 0);
      if (options.embedding?.test(name)) return init.normal(shape, 0.02);
      if (shape.length < 2) return init.constant(shape, name.endsWith('weight') ? 1 : 0);
      const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
      return init.uniform(shape, 1 / Math.sqrt(fanIn));
    });
    tensor.write(await drawn.data());
    drawn.dispose();
  }
}
