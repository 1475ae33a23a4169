/** A network with its blocks recomputed in the backward pass, against the same network without. */
import { expect } from 'vitest';
import { backward, type Device, scope, type Tensor } from '../../engine/index.js';
import { random, upload } from '../check.js';

/** Checks that the output and its gradients to `wrt` are the same bits recomputed and kept. */
export async function checkRecompute(
  device: Device,
  run: (recompute: boolean) => Tensor,
  wrt: readonly Tensor[],
): Promise<void> {
  for (const x of wrt) x.requireGrad();
  const evaluate = async (recompute: boolean): Promise<number[][]> => {
    const results = scope(device, () => {
      const y = run(recompute);
      return [y, ...backward(y, wrt, { seed: upload(device, random(y.shape, 5)) })];
    });
    const bits: number[][] = [];
    for (const result of results) {
      bits.push(Array.from(new Uint32Array(Float32Array.from(await result.data()).buffer)));
      result.dispose();
    }
    return bits;
  };
  const kept = await evaluate(false);
  const recomputed = await evaluate(true);
  recomputed.forEach((bits, i) => {
    expect(bits, i === 0 ? 'output' : `gradient ${i - 1} [${wrt[i - 1]!.shape}]`).toEqual(kept[i]);
  });
}
