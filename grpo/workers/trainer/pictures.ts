/** Pictures that another machine has drawn, cut out of their bytes. */
import type { Prompt } from '../../model.js';
import type { ScoredPicture } from '../../rollout/rollout.js';
import type { Report } from '../messages.js';

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Pictures of these sizes with their bytes, RGB, one after the other. Throws where the bytes are not as many. */
export function cutOut<S extends Size>(sizes: readonly S[], bytes: Uint8Array): (S & { readonly rgb: Uint8Array })[] {
  const expected = sizes.reduce((sum, { width, height }) => sum + 3 * width * height, 0);
  if (expected !== bytes.length) throw new Error(`workers: pictures of ${bytes.length} bytes, expected ${expected}`);
  let start = 0;
  return sizes.map((size) => {
    const own = 3 * size.width * size.height;
    start += own;
    return { ...size, rgb: bytes.subarray(start - own, start) };
  });
}

/** The pictures of a group, step by step. */
export function picturesOf(
  steps: NonNullable<Report['pictures']>['steps'],
  bytes: Uint8Array,
  prompt: Prompt,
): { readonly step: number; readonly shown: readonly ScoredPicture[] }[] {
  const all = cutOut(
    steps.flatMap(({ pictures }) => pictures),
    bytes,
  );
  return steps.map(({ step, pictures }) => ({
    step,
    shown: all.splice(0, pictures.length).map((picture) => ({ ...picture, ...prompt })),
  }));
}
