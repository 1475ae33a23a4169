import { describe, expect, test } from 'vitest';
import { type Lifetime, planSlots } from '../../../engine/device/memory.js';
import { scope } from '../../../engine/tensor/scope.js';
import { empty, tensor } from '../../../engine/tensor/tensor.js';
import { random, testDevice } from '../../check.js';

const device = await testDevice();

describe('planSlots', () => {
  const overlap = (a: Lifetime, b: Lifetime): boolean => a.first <= b.last && b.first <= a.last;

  test('no two lifetimes that overlap share a slot, and each fits', () => {
    const numbers = random([600], 3, { low: 0, high: 1 }).data;
    const lifetimes = Array.from({ length: 200 }, (_, i) => {
      const first = Math.floor(numbers[i]! * 100);
      return {
        bytes: 16 + Math.floor(numbers[200 + i]! * 1000),
        first,
        last: first + Math.floor(numbers[400 + i]! * 20),
      };
    });
    const { slotOf, slotBytes } = planSlots(lifetimes);
    lifetimes.forEach((a, i) => {
      expect(slotBytes[slotOf[i]!]).toBeGreaterThanOrEqual(a.bytes);
      for (let j = 0; j < i; j++) if (overlap(a, lifetimes[j]!)) expect(slotOf[i]).not.toBe(slotOf[j]);
    });
    const most = Math.max(
      ...Array.from({ length: 120 }, (_, t) => lifetimes.filter((l) => l.first <= t && t <= l.last).length),
    );
    expect(slotBytes.length).toBeLessThanOrEqual(1.5 * most);
  });

  test('a chain in which each reads the last needs two slots', () => {
    const chain = Array.from({ length: 10 }, (_, i) => ({ bytes: 64, first: i, last: i + 1 }));
    expect(planSlots(chain).slotBytes).toEqual([64, 64]);
  });

  test('what is kept for ever shares with nothing later', () => {
    const { slotOf } = planSlots([
      { bytes: 64, first: 0, last: Number.POSITIVE_INFINITY },
      { bytes: 64, first: 5, last: 6 },
    ]);
    expect(slotOf[0]).not.toBe(slotOf[1]);
  });
});

describe('scopes', () => {
  test('what is not returned is freed, what is returned lives in the enclosing scope', () => {
    const base = device.memory().liveBytes;
    const outer = scope(device, () => {
      const inner = scope(device, () => {
        empty(device, [1024]);
        return { kept: empty(device, [256]) };
      });
      expect(device.memory().liveBytes - base).toBe(1024);
      return inner.kept;
    });
    expect(outer.disposed).toBe(false);
    outer.dispose();
    expect(outer.disposed).toBe(true);
  });

  test('an error inside frees everything', () => {
    expect(() =>
      scope(device, () => {
        empty(device, [1000]);
        throw new Error('stop');
      }),
    ).toThrow('stop');
  });

  test('a promise is refused', () => {
    expect(() => scope(device, async () => {})).toThrow('scope: the body returned a promise');
  });

  test('buffers are used again', () => {
    const first = empty(device, [5000]);
    const { buffer } = first.storage;
    first.dispose();
    const second = empty(device, [5000]);
    expect(second.storage.buffer).toBe(buffer);
    second.dispose();
  });

  test('the report names the largest tensors', () => {
    const big = tensor(device, new Float32Array(100_000), [100, 1000]);
    expect(device.memory().largest[0]).toEqual({ label: 'tensor [100, 1000] f32', bytes: 400_000 });
    big.dispose();
  });
});
