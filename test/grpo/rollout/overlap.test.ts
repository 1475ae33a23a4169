import { expect, test } from 'vitest';
import { Gate, inLanes, type Task } from '../../../grpo/rollout/overlap.js';

/** Resolves when what was resolved before has had its consequences. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a gate lets one in at a time, the lowest number first, and is let go once', async () => {
  const gate = new Gate();
  const entered: number[] = [];
  const leave = await gate.enter(5);
  const others = [3, 4, 1].map(async (number) => {
    const go = await gate.enter(number);
    entered.push(number);
    return go;
  });
  await settled();
  expect(entered).toEqual([]);
  expect([gate.isWanted(1), gate.isWanted(2)]).toEqual([false, true]);
  leave();
  leave(); // the second must not let in one more
  await settled();
  expect(entered).toEqual([1]);
  const late = gate.enter(2).then((go) => {
    entered.push(2);
    return go;
  });
  for (const [i, waiting] of [others[2]!, late, others[0]!, others[1]!].entries()) {
    (await waiting)();
    await settled();
    expect(entered).toEqual([1, 2, 3, 4].slice(0, i + 2));
  }
  (await gate.enter(9))();
});

test('a gate that was let go while one waits is not entered by another who asks at once', async () => {
  const gate = new Gate();
  const entered: string[] = [];
  const leave = await gate.enter(0);
  const first = gate.enter(7).then((go) => {
    entered.push('waited');
    return go;
  });
  leave();
  const second = gate.enter(1).then((go) => {
    entered.push('came');
    return go;
  });
  (await first)();
  (await second)();
  expect(entered).toEqual(['waited', 'came']);
});

/** Tasks that end as the test says. */
function tasks() {
  const begun: Task[] = [];
  const ends = new Map<number, { resolve: (value: string) => void; reject: (error: unknown) => void }>();
  const body = (task: Task): Promise<string> => {
    begun.push(task);
    return new Promise((resolve, reject) => ends.set(task.number, { resolve, reject }));
  };
  const end = async (number: number): Promise<void> => {
    ends.get(number)!.resolve(`did ${number}`);
    await settled();
  };
  return { begun, ends, body, end };
}

test('so many tasks are in flight as there are lanes, each in its own, and the results come in order', async () => {
  const { begun, body, end } = tasks();
  const all = inLanes(5, 2, undefined, body);
  const flight = (): number[][] => begun.map(({ number, lane }) => [number, lane]);
  expect(flight()).toEqual([0, 1].map((i) => [i, i]));
  await end(1);
  expect(flight().slice(2)).toEqual([[2, 1]]);
  await end(2);
  await end(0);
  expect(flight().slice(3)).toEqual([
    [3, 1],
    [4, 0],
  ]);
  await end(4);
  await end(3);
  expect(await all).toEqual([0, 1, 2, 3, 4].map((i) => `did ${i}`));
  expect(begun.some(({ signal }) => signal.aborted)).toBe(false);
});

test('one that fails ends the others, which are waited for; the error of the first of them is thrown', async () => {
  const { begun, ends, body } = tasks();
  let ended = false;
  const all = inLanes(9, 3, undefined, body).finally(() => {
    ended = true;
  });
  all.catch(() => {});
  ends.get(2)!.reject(new Error('two'));
  await settled();
  expect(begun.map(({ signal }) => (signal.reason as Error).message)).toEqual(Array(3).fill('two'));
  ends.get(1)!.reject(new Error('one'));
  await settled();
  expect(ended, 'while one is in flight').toBe(false);
  ends.get(0)!.resolve('well');
  await expect(all).rejects.toThrow('one');
  expect(begun.length, 'none begins any more').toBe(3);
});

test('a signal ends all by its reason, also before anything began, and is not listened to afterwards', async () => {
  const stop = new AbortController();
  const { begun, ends, body } = tasks();
  const all = inLanes(3, 2, stop.signal, body);
  all.catch(() => {});
  stop.abort(new Error('enough'));
  for (const { number, signal } of begun) ends.get(number)!.reject(signal.reason);
  await expect(all).rejects.toThrow('enough');
  expect(begun.length).toBe(2);
  await expect(inLanes(3, 2, stop.signal, body)).rejects.toThrow('enough');
  expect(begun.length).toBe(2);
  const later = new AbortController();
  let counted = 0;
  const { addEventListener, removeEventListener } = later.signal;
  later.signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
    counted++;
    addEventListener.apply(later.signal, given);
  };
  later.signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
    counted--;
    removeEventListener.apply(later.signal, given);
  };
  expect(await inLanes(2, 1, later.signal, async ({ number }) => number)).toEqual([0, 1]);
  expect(counted).toBe(0);
});
