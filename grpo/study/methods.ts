/** The methods that several experiments compare. */
import type { ConfigChanges } from '../finetune/config/program.js';
import { wholeGroup } from '../rollout/stages.js';
import type { Method } from './experiment.js';

/** A group of so many that nobody thins. */
export const plainGroup = (size: number, name = `plain${size}`, label = `plain group of ${size}`): Method => ({
  name,
  label,
  changes: { grpo: wholeGroup(size) },
});

/** Pro-GRPO: thinned by the variance of previews' rewards, before the given steps of ten. */
export const pruned = (
  name: string,
  label: string,
  keep: readonly number[],
  at: readonly number[],
  more: ConfigChanges = {},
): Method => ({
  name,
  label: `${label}, ${keep.join(' → ')}`,
  changes: { ...more, grpo: { keep: [...keep], prune_at: [...at], prune: 'ovf', ...more.grpo } },
});

/** Flow-GRPO with the group of the paper's: what all is held against. */
export const flowGrpo = plainGroup(24, 'full', 'Flow-GRPO, full group of 24');
export const flash = pruned('flash', 'Pro-GRPO Flash', [24, 16, 12], [5, 7]);
export const standard = pruned('standard', 'Pro-GRPO Standard', [48, 24, 12], [5, 7]);

/** A half at random: final rewards have no say in who is trained on. */
export const uniformHalf: Method = {
  name: 'uniform',
  label: 'uniform half, 24 → 12',
  changes: { grpo: { keep: [24, 12], prune_at: [], prune: 'uniform' } },
};

/** The half of largest variance of final rewards. */
export const staticOvf: Method = {
  name: 'ovf-after',
  label: 'static OVF, 24 → 12',
  changes: { grpo: { keep: [24, 12], prune_at: [], prune: 'ovf-after' } },
};

/** The same with other keys, under another name. */
export function varied(method: Method, name: string, label: string, changes: ConfigChanges): Method {
  const sections = Object.keys(changes) as (keyof ConfigChanges)[];
  const merged = Object.fromEntries(
    sections.map((section) => [section, { ...asObject(method.changes[section]), ...asObject(changes[section]) }]),
  );
  return { ...method, name, label, changes: { ...method.changes, ...merged } };
}

const asObject = (section: unknown): object => (typeof section === 'object' && section !== null ? section : {});
