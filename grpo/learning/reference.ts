/** The policy that a divergence (grpo.kl) is from: the network without its adapter, or a frozen copy of what learns. */
import { CheckError } from '../../engine/errors.js';
import { EMA, type Tensor } from '../../engine/index.js';
import type { GrpoConfig, RunConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';

type ReferenceKeys = Pick<GrpoConfig, 'kl' | 'kl_reference'>;

/** A reference policy. */
export interface Reference {
  /** Runs `body` under the reference, also inside a captured step; afterwards the policy is what it was, to the bit. */
  run<R>(body: () => R): R;
  /** The copy by the names of what learns, f32, where there is one: a run that goes on needs it again. */
  readonly copy?: ReadonlyMap<string, Tensor>;
  dispose(): void;
}

/** Whether the reference is a copy of what learns as the run began with it: the initial adapter, or without one the network's weights. */
export const copiesReference = ({
  lora,
  grpo,
}: {
  readonly lora: RunConfig['lora'];
  readonly grpo: ReferenceKeys;
}): boolean => grpo.kl > 0 && (lora === null || grpo.kl_reference === 'initial');

/**
 * The reference that a configuration asks for; undefined where it has no divergence. A copy is made of what learns as it is now,
 * and takes that memory again; under it the two exchange their values and exchange them back. Throws a CheckError for the
 * initial adapter of a model that has none.
 */
export function referenceOf(
  model: Pick<GenerativeModel, 'trainable' | 'reference'>,
  { kl, kl_reference: wanted }: ReferenceKeys,
): Reference | undefined {
  if (kl === 0) return undefined;
  const { trainable, reference } = model;
  if (wanted === 'initial' && !reference)
    throw new CheckError('grpo.kl_reference: initial means the adapter as it began, but there is none; expected base');
  if (wanted === 'base' && reference) return { run: (body) => reference(body), dispose: () => {} };
  const frozen = new EMA([...trainable.values()], { decay: 1 });
  return {
    run(body) {
      frozen.swap();
      try {
        return body();
      } finally {
        frozen.swap();
      }
    },
    copy: new Map([...trainable.keys()].map((name, i) => [name, frozen.averages[i]!])),
    dispose: () => frozen.dispose(),
  };
}
