/** The pauses between tries, and that no limit stands beside the time that a POST is given. */
import { afterEach, expect, test, vi } from 'vitest';
import { openTransport, pauseAfter, retryAfter } from '../../../grpo/rewards/transport.js';
import { isSilent, testServer } from './server.js';

const server = await testServer();
const { url } = server;

afterEach(() => {
  vi.useRealTimers();
});

test('pauses double up to five seconds, and are shortened by up to a half', () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 50].map((tries) => pauseAfter(tries, () => 0));
  expect(longest).toEqual([200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
  expect(pauseAfter(3, () => 1)).toBe(400);
  const drawn = Array.from({ length: 100 }, () => pauseAfter(3));
  expect(new Set(drawn).size).toBeGreaterThan(90);
  expect(Math.min(...drawn)).toBeGreaterThanOrEqual(400);
  expect(Math.max(...drawn)).toBeLessThanOrEqual(800);
});

test('Retry-After is seconds or one of the three forms of a date', () => {
  const now = Date.UTC(1994, 10, 6, 8, 49, 7);
  expect(retryAfter('120', now)).toBe(120_000);
  expect(retryAfter(' 0 ', now)).toBe(0);
  expect(retryAfter('Sun, 06 Nov 1994 08:49:37 GMT', now)).toBe(30_000);
  expect(retryAfter('Sunday, 06-Nov-94 08:49:37 GMT', now)).toBe(30_000);
  expect(retryAfter('Sun, 06 Nov 1994 08:49:00 GMT', now)).toBe(0);
  for (const value of [null, '', 'soon', '-5']) expect(retryAfter(value, now), String(value)).toBe(0);
});

test('the time that a POST is given is its only limit: not 300 s until an answer begins, or 10 s to connect', async () => {
  server.answers = [isSilent];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  // undici's own agent ends such a POST, by timers that tick each second.
  const transport = openTransport();
  let outcome: unknown;
  void transport.post(url, '{}', { headers: {}, timeout: 900 }).then((found) => {
    outcome = found;
  });
  await vi.waitFor(() => expect(server.received.length).toBe(1), { interval: 1 });
  await vi.advanceTimersByTimeAsync(899_000);
  expect(outcome).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1500);
  await vi.waitFor(() => expect(outcome).toEqual({ kind: 'late', tries: 1 }));
  transport.close();
});
