/** Plan of the random numbers. */
import { linearGrid, type Plan } from './kernel.js';

/** `bits` are Philox's words as u32, the others f32. */
export type RandomKind = 'bits' | 'uniform' | 'normal';

const kinds: readonly RandomKind[] = ['bits', 'uniform', 'normal'];

/** `size` numbers for each of `samples` keys. */
export function planRandom(kind: RandomKind, samples: number, size: number, stream: number): Plan {
  const blocks = Math.ceil(size / 4);
  return {
    kernel: 'random',
    variant: { types: { Y: kind === 'bits' ? 'u32' : 'f32' }, constants: { KIND: kinds.indexOf(kind) } },
    params: { samples, size, blocks, stream },
    grid: linearGrid(Math.ceil((samples * blocks) / 64)),
  };
}
