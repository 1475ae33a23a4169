import { describe, expect, test } from 'vitest';
import { arrayOf, fromHalf, toBytes, toHalf } from '../../../engine/tensor/dtype.js';
import { broadcastAxes, broadcastShapes, checkShape, resolveAxes, stridesOf } from '../../../engine/tensor/shape.js';

describe('half precision on the host', () => {
  test('every half survives the way to a number and back', () => {
    for (let half = 0; half < 65536; half++) {
      const value = fromHalf(half);
      if (!Number.isNaN(value)) expect(toHalf(value)).toBe(half);
    }
  });

  test('rounding is to nearest, ties to even', () => {
    expect(fromHalf(toHalf(1 + 2 ** -11))).toBe(1);
    expect(fromHalf(toHalf(1 + 3 * 2 ** -11))).toBe(1 + 2 ** -9);
    expect(fromHalf(toHalf(1 + 2 ** -11 + 2 ** -20))).toBe(1 + 2 ** -10);
    expect(fromHalf(toHalf(2 ** -25))).toBe(0);
    expect(fromHalf(toHalf(3 * 2 ** -26))).toBe(2 ** -24);
    expect(fromHalf(toHalf(65519))).toBe(65504);
    expect(fromHalf(toHalf(65520))).toBe(Number.POSITIVE_INFINITY);
    expect(fromHalf(toHalf(Number.NaN))).toBeNaN();
  });

  test('values that are no integers are refused for integer types', () => {
    expect(() => toBytes('u32', [1, 2.5])).toThrow('value 2.5 at 1 is not of type u32');
    expect(() => toBytes('u32', [-1])).toThrow('value -1 at 0 is not of type u32');
    expect([...arrayOf('i32', toBytes('i32', [-7, 3]))]).toEqual([-7, 3]);
  });
});

describe('shapes', () => {
  test('broadcasting follows numpy', () => {
    expect(broadcastShapes([2, 1, 4], [3, 1])).toEqual([2, 3, 4]);
    expect(broadcastAxes([3, 1], [2, 3, 4])).toEqual([0, 2]);
    expect(broadcastAxes([2, 3], [2, 3])).toEqual([]);
    expect(() => broadcastShapes([2, 3], [2])).toThrow('shapes [2, 3] and [2] do not broadcast');
  });

  test('axes are resolved, sorted and checked', () => {
    expect(resolveAxes([-1, 0], 3)).toEqual([0, 2]);
    expect(resolveAxes(undefined, 2)).toEqual([0, 1]);
    expect(() => resolveAxes([0, -3], 3)).toThrow('axes [0,-3] name an axis twice');
    expect(() => resolveAxes(3, 3)).toThrow('axis 3 is outside the 3 axes');
    expect(stridesOf([2, 3, 4])).toEqual([12, 4, 1]);
  });

  test('sizes must be positive integers', () => {
    expect(() => checkShape([2, -3])).toThrow('shape [2, -3]: every size must be a positive integer, found -3');
    expect(() => checkShape([0])).toThrow('found 0');
    expect(() => checkShape([1.5])).toThrow('found 1.5');
  });
});
