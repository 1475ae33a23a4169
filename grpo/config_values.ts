/** The kinds of values that a configuration's keys take, as schemas: their errors say what was expected. */
import { z } from 'zod';

// Each schema's error is what was expected; finetune/config/file.ts says what was found, and where.
export const number = () => z.number({ error: 'a number' });
export const above = (least: number) => number().gt(least, { error: `a number above ${least}` });
export const atLeast = (least: number) => number().min(least, { error: `a number of at least ${least}` });
export const between = (low: number, high: number, error: string) => number().gt(low, { error }).max(high, { error });
export const whole = (least: number, most = Number.MAX_SAFE_INTEGER) => {
  const error = `a whole number of at least ${least}${most < Number.MAX_SAFE_INTEGER ? ` and at most ${most}` : ''}`;
  return z.int({ error: 'a whole number' }).min(least, { error }).max(most, { error });
};
/** Counts of samples and pictures at most: lists are made of so many. */
export const most = 1_000_000;
export const decay = () => {
  const error = 'a decay of at least 0 and below 1';
  return number().min(0, { error }).lt(1, { error });
};
export const seed = () => whole(0, 0xffffffff);
export const text = (error: string) => z.string({ error }).min(1, { error });
export const flag = () => z.boolean({ error: 'true or false' });
export const list = <T extends z.ZodType>(item: T, error: string) => z.array(item, { error });
export const oneOf = <const T extends readonly string[]>(names: T) =>
  z.enum(names, { error: `one of ${names.join(', ')}` });
export const section = <T extends z.ZodRawShape>(shape: T) =>
  z.strictObject(shape, { error: ({ code }) => (code === 'unrecognized_keys' ? 'unknown key' : 'keys with values') });
