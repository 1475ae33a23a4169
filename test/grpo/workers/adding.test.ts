/** Shards that come in any order are added in theirs. */
import { expect, test } from 'vitest';
import { Adding } from '../../../grpo/workers/trainer/adding.js';

const wait = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

function adding(count: number, load = async (value: number) => Float32Array.of(value)) {
  const added: number[] = [];
  return { added, shards: new Adding<number>(count, load, (values) => added.push(values[0]!)) };
}

test('each as soon as it and all before it are there, once', async () => {
  const { added, shards } = adding(4);
  shards.arrive(2, 12);
  await wait();
  expect(added).toEqual([]);
  shards.arrive(0, 10);
  await wait();
  expect(added).toEqual([10]);
  shards.arrive(1, 11);
  shards.arrive(1, 99);
  await wait();
  expect(added).toEqual([10, 11, 12]);
  shards.arrive(3, 13);
  await shards.finish();
  expect(added).toEqual([10, 11, 12, 13]);
});

test('nothing is added after a stop, not even what is being fetched', async () => {
  const { added, shards } = adding(2, async (value) => {
    await wait();
    return Float32Array.of(value);
  });
  shards.arrive(0, 10);
  shards.stop();
  shards.arrive(1, 11);
  await wait();
  await wait();
  expect(added).toEqual([]);
});

test('what fetching fails by is thrown at the end, and so is a shard that is missing', async () => {
  const { shards } = adding(1, () => Promise.reject(new Error('lost')));
  shards.arrive(0, 10);
  await expect(shards.finish()).rejects.toThrow('lost');
  const { shards: missing } = adding(2);
  missing.arrive(0, 10);
  await expect(missing.finish()).rejects.toThrow('1 of 2 shards were added');
});
