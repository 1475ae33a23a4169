/** What the networks ask of a config.json. */
import { check } from '../engine/errors.js';

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
