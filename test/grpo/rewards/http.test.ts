import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { httpReward } from '../../../grpo/rewards/http.js';
import { RewardError } from '../../../grpo/rewards/reward.js';
import { encodePng } from '../../../models/pictures/png.js';
import { plainPicture } from './pictures.js';

let answer: (body: string, response: ServerResponse) => void;
let received: { method: string | undefined; type: string | undefined; body: string } | undefined;

const server = createServer(async (request: IncomingMessage, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString();
  received = { method: request.method, type: request.headers['content-type'], body };
  answer(body, response);
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/score`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  received = undefined;
});

const images = [plainPicture([9, 8, 7], 'a cat'), { ...plainPicture([1, 2, 3], 'a dog'), meta: { count: 2 } }];
const reward = (timeout = 5) => httpReward('server', { url, encode: encodePng, timeout });

const errorOf = async (scoring: Promise<number[]>): Promise<string> => {
  const error = await scoring.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RewardError);
  return (error as RewardError).message;
};

test.each([{ scores: [0.5, -2] }, [0.5, -2]])('a server is sent PNGs and answers with scores: %j', async (scores) => {
  answer = (_, response) => response.end(JSON.stringify(scores));
  expect(await reward().score(images)).toEqual([0.5, -2]);
  expect(received).toMatchObject({ method: 'POST', type: 'application/json' });
  expect(JSON.parse(received!.body)).toEqual({
    images: images.map((image) => Buffer.from(encodePng(image)).toString('base64')),
    prompts: ['a cat', 'a dog'],
    meta: [{}, { count: 2 }],
  });
});

test.each([
  ['[1]', 'returned 1 scores for 2 images'],
  ['{"scores": [1, null]}', 'returned null as score 2 for 2 images'],
  ['{"scores": [1, NaN]}', 'answered without scores for 2 images'],
  ['{"score": [1, 2]}', 'answered without scores for 2 images'],
  ['', 'answered without scores for 2 images'],
  ['{"scores": "12"}', 'returned 12 instead of an array of scores for 2 images'],
])('an answer %s is an error', async (text, message) => {
  answer = (_, response) => response.end(text);
  expect(await errorOf(reward().score(images))).toContain(`reward "server" ${message} (${url})`);
});

test('a status that is no success is an error with the answer', async () => {
  answer = (_, response) => response.writeHead(500, 'Internal Server Error').end('CUDA out of memory');
  expect(await errorOf(reward().score(images))).toBe(
    `reward "server" answered 500 Internal Server Error for 2 images (${url}): CUDA out of memory`,
  );
});

test('a late server is an error', async () => {
  answer = () => {};
  expect(await errorOf(reward(0.05).score(images))).toBe(
    `reward "server" gave no answer in 0.05 s for 2 images (${url})`,
  );
});

test('an answer that breaks off, and a server that is not there', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{"sc');
    setTimeout(() => response.destroy(), 10);
  };
  expect(await errorOf(reward().score(images))).toContain('reward "server" could not be reached for 2 images');
  const gone = httpReward('gone', { url: 'http://127.0.0.1:1/', encode: encodePng });
  expect(await errorOf(gone.score(images))).toMatch(
    /^reward "gone" could not be reached for 2 images \(http:\/\/127\.0\.0\.1:1\/\): .+/,
  );
});
