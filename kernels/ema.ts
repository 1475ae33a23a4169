/** Plans of the moving average of parameters. */
import { elementTypes, linearGrid, type Plan } from './kernel.js';

/** What happens between a parameter and its average: `copy` is from the average to the parameter. */
export type EmaOperation = 'update' | 'copy' | 'swap';

const operations: readonly EmaOperation[] = ['update', 'copy', 'swap'];

/** One parameter of `size` f32 elements. */
export function planEma(operation: EmaOperation, size: number): Plan {
  const width = size % 4 === 0 ? 4 : 1;
  const count = size / width;
  return {
    kernel: 'ema',
    variant: { types: { V: elementTypes('f32', width).V }, constants: { OPERATION: operations.indexOf(operation) } },
    params: { count },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}
