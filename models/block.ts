/** Blocks: the parts of a network that are kept or recomputed as a whole. */
import { checkpoint, parameters, type Tensor } from '../engine/index.js';

export interface Block {
  forward(...inputs: Tensor[]): Tensor;
}

export interface ForwardOptions {
  /**
   * Keep only the outputs of blocks: backward() computes the rest again. Without gradients it frees what is inside a block
   * as soon as the block is done. The values are the same bits. Default false.
   */
  readonly checkpoint?: boolean;
}

/** block.forward(...inputs), recomputed in backward() where asked. Its weights are the tensors in its fields. */
export function runBlock(block: Block, inputs: readonly Tensor[], options: ForwardOptions): Tensor {
  if (!options.checkpoint) return block.forward(...inputs);
  return checkpoint((...xs: Tensor[]) => block.forward(...xs), inputs, parameters(block));
}
