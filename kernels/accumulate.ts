/** A plan for sums that grow in place, such as gradients over micro-batches. */
import { elementTypes, linearGrid, type Plan } from './kernel.js';

/** total += part, of `size` f32 elements each. */
export function planAccumulate(size: number): Plan {
  const width = size % 4 === 0 ? 4 : 1;
  const count = size / width;
  return {
    kernel: 'accumulate',
    variant: { types: { V: elementTypes('f32', width).V } },
    params: { count },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}
