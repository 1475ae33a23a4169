import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { type HttpOptions, httpReward } from '../../../grpo/rewards/http.js';
import { type Reward, RewardError } from '../../../grpo/rewards/reward.js';
import { encodePng } from '../../../models/pictures/png.js';
import { plainPicture } from './pictures.js';
import { hangsUp, isSilent, refuses, says, testServer } from './server.js';

const server = await testServer();
const { url } = server;
const rewards: Reward[] = [];
afterAll(() => {
  for (const each of rewards) each.dispose!();
});

const images = [plainPicture([9, 8, 7], 'a cat'), { ...plainPicture([1, 2, 3], 'a dog'), meta: { count: 2 } }];
const reward = (options: Partial<HttpOptions> = {}): Reward => {
  rewards.push(httpReward('server', { url, encode: encodePng, timeout: 5, ...options }));
  return rewards.at(-1)!;
};

const errorOf = async (scoring: Promise<number[]>): Promise<string> => {
  const error = await scoring.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RewardError);
  return (error as RewardError).message;
};

test.each([{ scores: [0.5, -2] }, [0.5, -2]])('a server is sent PNGs and answers with scores: %j', async (scores) => {
  server.answers = [says(scores)];
  expect(await reward().score(images)).toEqual([0.5, -2]);
  const [{ method, headers, body }] = server.received as [(typeof server.received)[0]];
  expect([method, headers['content-type']]).toEqual(['POST', 'application/json']);
  expect(JSON.parse(body)).toEqual({
    images: images.map((image) => Buffer.from(encodePng(image)).toString('base64')),
    prompts: ['a cat', 'a dog'],
    meta: [{}, { count: 2 }],
  });
});

test.each([
  ['[1]', 'returned 1 scores for 2 images'],
  ['{"scores": [1, null]}', 'returned null as score 2 for 2 images'],
  ['{"scores": [1, NaN]}', 'returned NaN as score 2 for 2 images'],
  ['[-Infinity, 1]', 'returned -Infinity as score 1 for 2 images'],
  ['{"scores": [1, "NaN"]}', 'returned "NaN" as score 2 for 2 images'],
  ['{"scores": ["0.1", "0.5"]}', 'returned "0.1" as score 1 for 2 images'],
  ['{"score": [1, 2]}', 'answered without scores for 2 images'],
  ['', 'answered without scores for 2 images'],
  ['{"scores": "12"}', 'returned "12" instead of an array of scores for 2 images'],
  ['{"scores": {"scores": [1, 2]}}', 'returned {"scores":[1,2]} instead of an array of scores for 2 images'],
])('an answer %s is an error, and is not asked for again', async (text, message) => {
  server.answers = [says(text)];
  expect(await errorOf(reward().score(images))).toContain(`reward "server" ${message} (${url})`);
  expect(server.received.length).toBe(1);
});

test('a status that is no success is an error with the answer, and is not tried again', async () => {
  server.answers = [refuses(500, {}, 'CUDA out of memory')];
  expect(await errorOf(reward().score(images))).toBe(
    `reward "server" answered 500 Internal Server Error for 2 images (${url}): CUDA out of memory`,
  );
  expect(server.received.length).toBe(1);
});

test('a late server is an error', async () => {
  server.answers = [isSilent];
  expect(await errorOf(reward({ timeout: 0.05 }).score(images))).toBe(
    `reward "server" gave no answer in 0.05 s for 2 images (${url})`,
  );
});

test('an answer that breaks off is an error at once; a server that is not there is tried until its time is up', async () => {
  server.answers = [
    (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"sc');
      setTimeout(() => response.destroy(), 10);
    },
  ];
  expect(await errorOf(reward().score(images))).toContain('reward "server" could not be reached for 2 images');
  expect(server.received.length).toBe(1);
  const free = createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, 'close');
  const gone = reward({ url: `http://127.0.0.1:${port}/`, timeout: 1 });
  const start = performance.now();
  expect(await errorOf(gone.score(images))).toMatch(
    /^reward "server" could not be reached after [2-6] tries for 2 images \(http:\/\/127\.0\.0\.1:\d+\/\): .*ECONNREFUSED/,
  );
  expect(performance.now() - start).toBeLessThan(2000);
});

describe('what only the way to it fails by is tried again', () => {
  test.each([429, 502, 503, 504])('the answer %d', async (status) => {
    server.answers = [refuses(status), says([1, 2])];
    expect(await reward().score(images)).toEqual([1, 2]);
    const [first, second] = server.received;
    expect(server.received.length).toBe(2);
    expect(second!.body).toBe(first!.body);
    expect(second!.at - first!.at).toBeGreaterThan(90);
  });

  test('a connection that is closed without an answer', async () => {
    server.answers = [hangsUp, hangsUp, says([1, 2])];
    expect(await reward().score(images)).toEqual([1, 2]);
    expect(server.received.length).toBe(3);
  });

  test('an idle connection that the server closes just as it is used again', async () => {
    const kept = reward();
    server.answers = [says([1, 2])];
    await kept.score(images);
    server.received.length = 0;
    server.answers = [hangsUp, says([3, 4])];
    expect(await kept.score(images)).toEqual([3, 4]);
    expect(server.received.length).toBe(2);
  });

  test('as late as Retry-After asks for, in seconds and as a date', async () => {
    server.answers = [refuses(503, { 'retry-after': '1' }), says([1, 2])];
    await reward().score(images);
    expect(server.received[1]!.at - server.received[0]!.at).toBeGreaterThan(980);
    server.received.length = 0;
    server.answers = [refuses(429, { 'retry-after': new Date(Date.now() + 2000).toUTCString() }), says([1, 2])];
    await reward().score(images);
    expect(server.received[1]!.at - server.received[0]!.at).toBeGreaterThan(900); // dates have whole seconds
  });

  test('but no longer than its time: a wait beyond it is not begun', async () => {
    server.answers = [refuses(503, { 'retry-after': '60' }, 'starting')];
    const start = performance.now();
    expect(await errorOf(reward({ timeout: 20 }).score(images))).toBe(
      `reward "server" answered 503 Service Unavailable for 2 images (${url}): starting`,
    );
    expect(performance.now() - start).toBeLessThan(10_000);
    server.received.length = 0;
    server.answers = [hangsUp, isSilent];
    expect(await errorOf(reward({ timeout: 2 }).score(images))).toBe(
      `reward "server" gave no answer in 2 s after 2 tries for 2 images (${url})`,
    );
  });
});

describe('several POSTs', () => {
  const five = [1, 2, 3, 4, 5].map((level) => plainPicture([level, 0, 0], `red ${level}`));

  test('are sent one after another, and their scores are in the order of the pictures', async () => {
    let busy = 0;
    server.answers = [
      (response, { body }) => {
        expect(++busy).toBe(1);
        const { prompts } = JSON.parse(body) as { prompts: string[] };
        setTimeout(
          () => {
            busy--;
            response.end(JSON.stringify(prompts.map((prompt) => Number(prompt.at(-1)))));
          },
          20 - 4 * server.received.length,
        );
      },
    ];
    expect(await reward({ batch: 2 }).score(five)).toEqual([1, 2, 3, 4, 5]);
    expect(server.received.map(({ body }) => JSON.parse(body).images.length)).toEqual([2, 2, 1]);
    server.received.length = 0;
    expect(await reward({ batch: 5 }).score(five)).toEqual([1, 2, 3, 4, 5]);
    expect(server.received.length).toBe(1);
  });

  test('name the one that failed', async () => {
    server.answers = [says([1, 2]), says('[3, NaN]')];
    expect(await errorOf(reward({ batch: 2 }).score(five))).toBe(
      `reward "server" returned NaN as score 2 for 2 images (${url}, POST 2 of 3)`,
    );
  });
});

describe('credentials', () => {
  const secrets = ['Bearer s3cr3t-value'];
  const headers = { authorization: 'Bearer s3cr3t-value', 'x-model': 'v2' };

  test('are sent', async () => {
    server.answers = [says([1, 2])];
    await reward({ headers, secrets }).score(images);
    expect(server.received[0]!.headers).toMatchObject({ ...headers, 'content-type': 'application/json' });
  });

  test('are in no message, also where the answer repeats them, in whatever form', async () => {
    const forms = ['s3cr3t-value', Buffer.from('s3cr3t-value').toString('base64'), 'Bearer%20s3cr3t-value'];
    for (const form of forms) {
      for (const answer of [
        refuses(401, {}, `${'x'.repeat(190)} ${form} is not known`),
        refuses(403, {}, `no ${form}`),
        says(`["${form}", 1]`),
        says(`{"echo": "${form}"}`),
      ]) {
        server.answers = [answer];
        const error = await reward({ headers, secrets })
          .score(images)
          .catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(RewardError);
        const { message, cause } = error as RewardError;
        expect(message + String(cause)).not.toMatch(/s3cr3t|czNjcjN0/);
      }
    }
  });

  test('go to no other address', async () => {
    server.answers = [refuses(307, { location: `${url}/elsewhere` })];
    expect(await errorOf(reward({ headers, secrets }).score(images))).toContain('answered 307 Temporary Redirect');
    expect(server.received.length).toBe(1);
    server.answers = [refuses(307, { location: `${url}/elsewhere` }), says([1, 2])];
    server.received.length = 0;
    expect(await reward().score(images)).toEqual([1, 2]);
    expect(server.received.map(({ path }) => path)).toEqual(['/score', '/score/elsewhere']);
  });
});

test('an interruption ends the waiting by its reason: for an answer, for the next try, and before the first', async () => {
  for (const answer of [isSilent, refuses(503, { 'retry-after': '4' })]) {
    server.answers = [answer];
    const end = new AbortController();
    const scoring = reward().score(images, { signal: end.signal });
    setTimeout(() => end.abort(new Error('enough')), 50);
    const start = performance.now();
    await expect(scoring).rejects.toThrow(/^enough$/);
    expect(performance.now() - start).toBeLessThan(3500);
    server.received.length = 0;
    await expect(reward().score(images, { signal: end.signal })).rejects.toThrow(/^enough$/);
    expect(server.received.length).toBe(0);
  }
});
