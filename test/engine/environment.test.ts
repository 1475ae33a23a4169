/** The environment's variables: what they mean, what an empty one means, and what is refused. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cacheFolder, checksFinite, deviceNameOf, forbidsInstalling, memoryOf } from '../../engine/environment.js';
import { EnvironmentError } from '../../engine/errors.js';
import { Device } from '../../engine/index.js';
import { exitCodeOf } from '../../grpo/finetune/exit_codes.js';

test('memory is a number of GB above 0', () => {
  const memory = (value?: string): number | undefined => memoryOf({ WINNOW_MEMORY: value });
  expect(memory()).toBeUndefined();
  expect(memory('')).toBeUndefined();
  expect(memory('8')).toBe(8e9);
  expect(memory(' 0.5 ')).toBe(5e8);
  expect(memory('Infinity')).toBe(Number.POSITIVE_INFINITY);
  for (const wrong of ['abc', '-1', '0', ' ', 'NaN', '8GB', '1e-999', '\u{1f980}']) {
    expect(() => memory(wrong), wrong).toThrow(EnvironmentError);
    expect(() => memory(wrong)).toThrow(
      `the environment's WINNOW_MEMORY is ${JSON.stringify(wrong)}, expected a number of GB above 0`,
    );
  }
});

test('installing is forbidden by 1, allowed by 0 and by nothing, and other words are refused', () => {
  const forbids = (value?: string): boolean => forbidsInstalling({ WINNOW_NO_INSTALL: value });
  expect([forbids(), forbids(''), forbids('0'), forbids('1')]).toEqual([false, false, false, true]);
  for (const wrong of ['true', 'yes', '2', ' 1']) expect(() => forbids(wrong), wrong).toThrow(/expected 1 or 0$/);
});

test('the cache lies below an absolute XDG_CACHE_HOME, else below the home folder', () => {
  const usual = cacheFolder({});
  expect(usual.endsWith(join('.cache', 'winnow'))).toBe(true);
  expect(cacheFolder({ XDG_CACHE_HOME: '/tmp/of mine' })).toBe(join('/tmp/of mine', 'winnow'));
  for (const ignored of ['', 'relative/path', '.']) expect(cacheFolder({ XDG_CACHE_HOME: ignored })).toBe(usual);
});

test('names and switches are taken as they are', () => {
  expect([deviceNameOf({ WINNOW_DEVICE: 'llvm' }), deviceNameOf({ WINNOW_DEVICE: '' })]).toEqual(['llvm', undefined]);
  expect([checksFinite({ DEBUG: 'express,finite' }), checksFinite({ DEBUG: '*' }), checksFinite({})]).toEqual([
    true,
    false,
    false,
  ]);
});

test('a device refuses a wrong variable and a wrong budget before it opens anything', async () => {
  const before = process.env.WINNOW_MEMORY;
  process.env.WINNOW_MEMORY = 'plenty';
  try {
    const error = await Device.create().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(EnvironmentError);
    expect(exitCodeOf(error)).toBe(2);
  } finally {
    if (before === undefined) delete process.env.WINNOW_MEMORY;
    else process.env.WINNOW_MEMORY = before;
  }
  await expect(Device.create({ memoryBudget: -1 })).rejects.toThrow('expected a positive number of bytes, found -1');
});
