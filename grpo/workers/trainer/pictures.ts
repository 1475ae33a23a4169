/** Pictures of a group that another machine has drawn and scored. */
import type { Prompt } from '../../model.js';
import type { ScoredPicture } from '../../rollout/rollout.js';
import type { Report } from '../messages.js';

type Steps = NonNullable<Report['pictures']>['steps'];

/** The pictures of each step, of their bytes one after the other. Throws where the bytes are not as many as they say. */
export function picturesOf(
  steps: Steps,
  bytes: Uint8Array,
  prompt: Prompt,
): { readonly step: number; readonly shown: readonly ScoredPicture[] }[] {
  const sizes = steps.flatMap(({ pictures }) => pictures.map(({ width, height }) => 3 * width * height));
  const expected = sizes.reduce((sum, size) => sum + size, 0);
  if (expected !== bytes.length) throw new Error(`workers: pictures of ${bytes.length} bytes, expected ${expected}`);
  let start = 0;
  return steps.map(({ step, pictures }) => ({
    step,
    shown: pictures.map((picture) => {
      const size = 3 * picture.width * picture.height;
      start += size;
      return { ...picture, ...prompt, rgb: bytes.subarray(start - size, start) };
    }),
  }));
}
