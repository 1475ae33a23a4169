/** What the networks ask of a config.json. */
import { check } from '../../engine/errors.js';

/**
 * Refuses a config that asks for a variant the network does not have: `only` lists, by key, the one value it implements,
 * which is also diffusers' default. An absent key and null stand for the default.
 */
export function checkVariant(network: string, config: object, only: Readonly<Record<string, unknown>>): void {
  const values: Readonly<Record<string, unknown>> = { ...config };
  for (const [key, expected] of Object.entries(only)) {
    const found = values[key] ?? expected;
    checkConfig(found === expected, network, key, found, JSON.stringify(expected));
  }
}

/** Throws with the key, what was found and what was expected, unless `condition` holds. */
export function checkConfig(
  condition: boolean,
  network: string,
  key: string,
  found: unknown,
  expected: string,
): asserts condition {
  check(
    condition,
    () => `${network}: config ${key}: found ${JSON.stringify(found) ?? 'nothing'}, expected ${expected}`,
  );
}

/** A whole number of 1 or more. */
export const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 1;

/**
 * The keys of `defaults` with the config's values; an absent key and null stand for the default. Where the default is a
 * count, the value must be one.
 */
export function withDefaults<C extends object>(
  network: string,
  config: { readonly [K in keyof NoInfer<C>]?: NoInfer<C>[K] | null },
  defaults: C,
): C {
  const values: Readonly<Record<string, unknown>> = { ...config };
  const full = Object.entries(defaults).map(([key, usual]): [string, unknown] => {
    const found = values[key] ?? usual;
    checkConfig(!isCount(usual) || isCount(found), network, key, found, 'a positive integer');
    return [key, found];
  });
  return Object.fromEntries(full) as C; // of the same keys
}
