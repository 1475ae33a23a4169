/** JSON files of test/fixtures, which remember what tests read of them: a field that no test reads checks nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../engine/version.js';

/** A value that has fields of its own, in itself or in the objects of its list. */
const hasFields = (value: unknown): value is object =>
  typeof value === 'object' &&
  value !== null &&
  (!Array.isArray(value) || value.some((each) => hasFields(each) && !Array.isArray(each)));

/** Paths of all fields, those of a list's objects together: `cases.args.eta`. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (!hasFields(value)) return [path];
  if (Array.isArray(value)) return value.flatMap((each) => fieldsOf(each, path));
  return Object.entries(value).flatMap(([key, each]) => fieldsOf(each, path ? `${path}.${key}` : key));
}

/** What every file has to say of itself, and of where its numbers come from. */
const descriptions = ['group', 'doc', 'cases.name', 'cases.source', 'cases.note', 'cases.verified', 'cases.dtype'];

/**
 * Reads `test/fixtures/<name>.json`. `done`, called after the other tests are declared, declares one that fails for each field that nobody has read,
 * but descriptions and those of `unread`, each with the reason, and for a field of `unread` that somebody reads.
 */
export function readRecorded<T>(
  name: string,
  unread: Readonly<Record<string, string>> = {},
): { readonly value: T; done(): void } {
  const whole: unknown = JSON.parse(readFileSync(join(packageRoot(), 'test', 'fixtures', `${name}.json`), 'utf8'));
  const seen = new Set<string>();
  const recorded = (value: unknown, path: string): unknown =>
    hasFields(value)
      ? new Proxy(value, {
          get(target, key) {
            const found: unknown = Reflect.get(target, key);
            if (typeof key !== 'string' || !Object.hasOwn(target, key) || key === 'length') return found;
            const at = Array.isArray(target) ? path : path ? `${path}.${key}` : key;
            seen.add(at);
            return recorded(found, at);
          },
        })
      : value;
  return {
    value: recorded(whole, '') as T, // as its reader knows it to be
    done() {
      test(`every field of ${name}.json is read, but for those with a reason`, () => {
        const left = [...new Set(fieldsOf(whole))].filter((path) => !seen.has(path) && !descriptions.includes(path));
        expect(left.sort()).toEqual(Object.keys(unread).sort());
      });
    },
  };
}
