/** Whether the parts of a folder are made for each other, by their configs alone: each contradiction is a line that names both. */
import type { ResolvedConfig } from '../files/config.js';
import type { vaeConfig } from '../networks/vae.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** What a component's config says under a key. */
export interface Said {
  /** The subfolder. */
  readonly component: string;
  readonly key: string;
  readonly value: number;
}

const fileOf = ({ component }: Said): string => `${component}/config.json`;
const ofKey = (said: Said): string => `${said.key} of ${fileOf(said)}`;
const line = (said: Said, expected: string): string =>
  `${fileOf(said)}: ${said.key} is ${said.value}, expected ${expected}`;

/** Keys of one config, by name. */
export const saying =
  <C extends object>(component: string, config: C) =>
  <K extends keyof C & string>(key: K): Said => ({ component, key, value: Number(config[key]) });

/** Two keys, or a key and the sum of several, that must be equal. */
export function* equal(said: Said, ...others: readonly Said[]): Iterable<string> {
  const sum = others.reduce((total, { value }) => total + value, 0);
  if (said.value === sum) return;
  const names = others.map(ofKey).join(' and ');
  yield line(said, others.length > 1 ? `${sum}, the sum of ${names}` : `${sum}, ${names}`);
}

/** A key that must reach the sum of others. */
export function* atLeast(said: Said, ...others: readonly Said[]): Iterable<string> {
  const sum = others.reduce((total, { value }) => total + value, 0);
  if (said.value < sum) yield line(said, `at least ${sum}, the sum of ${others.map(ofKey).join(' and ')}`);
}

/** A key that must have one of some values, for a reason that is said. */
export function* oneOf(said: Said, values: readonly number[], reason: string): Iterable<string> {
  if (!values.includes(said.value)) yield line(said, `${values.join(' or ')}: ${reason}`);
}

/** What an autoencoder's config must say to be that of a pipeline. */
export function latentKeys(config: ResolvedConfig<typeof vaeConfig>) {
  const said = saying('vae', config);
  return {
    channels: said('latent_channels'),
    *ofPictures(): Iterable<string> {
      for (const key of ['in_channels', 'out_channels'] as const) yield* oneOf(said(key), [3], 'red, green and blue');
    },
    /** Pipelines that know no shift_factor would pass over it. */
    *withoutShift(pipeline: string): Iterable<string> {
      yield* oneOf(said('shift_factor'), [0], `${pipeline} does not shift latents`);
    },
  };
}

/** A tokenizer's ids must lie in the encoder's vocabulary, and its texts, of `length` tokens, within its positions. */
export function* fits(
  name: string,
  { length: usual, largest: { id, text } }: Tokenizer,
  { vocabulary, positions, length = usual }: { vocabulary: Said; positions?: Said; length?: number },
): Iterable<string> {
  if (id >= vocabulary.value)
    yield `${name}: the largest id is ${id} (${JSON.stringify(text)}), expected less than ${vocabulary.value}, ${ofKey(vocabulary)}`;
  if (positions && length > positions.value)
    yield `${name}: model_max_length is ${length}, expected at most ${positions.value}, ${ofKey(positions)}`;
}
