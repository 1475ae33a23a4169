/** Blocks: the parts of a network that are kept or recomputed as a whole. */
import { parameters, recompute, reshape, type Tensor } from '../../engine/index.js';

export interface Block {
  forward(...inputs: (Tensor | undefined)[]): Tensor;
}

export interface ForwardOptions {
  /**
   * Keep only the outputs of blocks: backward() computes the rest again. Without gradients it frees what is inside a block
   * as soon as the block is done. The values are the same bits. Default false.
   */
  readonly recompute?: boolean;
}

/**
 * block.forward(...inputs), recomputed in backward() where asked. Its weights are the tensors in its fields. An input the
 * block does not read is left undefined: with gradients, what a recomputed block gets must have a part in its result.
 */
export function runBlock(block: Block, inputs: readonly (Tensor | undefined)[], options: ForwardOptions): Tensor {
  // Each input becomes a view, so that its gradients are summed within the block first, in the order of a recomputed block.
  if (!options.recompute) return block.forward(...inputs.map((input) => input && reshape(input, input.shape)));
  const present = inputs.filter((input) => input !== undefined);
  const forward = (...xs: Tensor[]): Tensor => {
    const next = xs.values();
    return block.forward(...inputs.map((input) => input && next.next().value));
  };
  return recompute(forward, present, parameters(block));
}
