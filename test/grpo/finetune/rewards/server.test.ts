/** Servers by their keys: credentials are those of the environment, whatever else is refused without being shown. */
import { expect, test } from 'vitest';
import { formatConfig } from '../../../../grpo/finetune/config/format.js';
import { parseConfig } from '../../../../grpo/finetune/config/parse.js';
import { UsageError } from '../../../../grpo/finetune/errors.js';
import { serverOf } from '../../../../grpo/finetune/rewards/server.js';

const http = 'http://127.0.0.1:8900/score';
const base = `model: { path: scenes-flow }
prompts: { train: scenes, test: scenes }
sampler: { kind: flow-sde }
`;
const parse = (reward: string, sets: readonly string[] = []) =>
  parseConfig({ name: 'my.yaml', text: `${base}reward: { mine: ${reward} }\n` }, sets);

test('headers are sent with the values of the variables that they name', () => {
  const headers = { Authorization: 'Bearer env:MY_TOKEN', 'X-Both': 'env:A env:MY_TOKEN', 'X-Model': 'v2' };
  const server = serverOf('mine', { http, headers, batch: 4, timeout_s: 9 }, { MY_TOKEN: ' abcd\n', A: 'b' });
  expect(server).toMatchObject({ url: http, source: http, batch: 4, timeout: 9, secrets: ['abcd', 'b'] });
  expect(server.headers).toEqual({ authorization: 'Bearer abcd', 'x-both': 'b abcd', 'x-model': 'v2' });
});

test('so are addresses; a user and password become a header', () => {
  const query = serverOf('mine', { http: `${http}?token=env:T` }, { T: 'a b&c' });
  expect(query).toMatchObject({ url: `${http}?token=a%20b%26c`, source: `${http}?token=env:T`, secrets: ['a b&c'] });
  const user = serverOf('mine', { http: 'https://me:env:T@host/score' }, { T: 'a:b@c%' });
  const authorization = `Basic ${Buffer.from('me:a:b@c%').toString('base64')}`;
  expect(user).toMatchObject({ url: 'https://host/score', source: 'https://me:env:T@host/score' });
  expect(user.headers).toEqual({ authorization });
  expect(user.secrets).toEqual(['a:b@c%', authorization]);
});

test('a variable that is missing, empty, or can be no header is refused by the name of its key', () => {
  const headers = { Authorization: 'env:MY_TOKEN' };
  const refused =
    (environment: Record<string, string>): (() => unknown) =>
    () =>
      serverOf('mine', { http, headers }, environment);
  const missing = 'reward.mine.headers.Authorization: the environment has no variable MY_TOKEN';
  expect(refused({})).toThrow(new UsageError(missing));
  expect(refused({ MY_TOKEN: ' ' })).toThrow(missing);
  for (const MY_TOKEN of ['one\ntwo', 'wörld€'])
    expect(refused({ MY_TOKEN })).toThrow(
      new UsageError('reward.mine.headers.Authorization: its variable has signs that a header can not have'),
    );
  expect(() => serverOf('mine', { http: `${http}?key=env:K` }, {})).toThrow('reward.mine.http: the environment has no');
});

test('a configuration keeps the names of variables, and needs none of their values', () => {
  const text = `{ http: "${http}?key=env:KEY", headers: { Authorization: "env:MY_TOKEN" }, batch: 8 }`;
  const config = parse(text);
  expect(config.reward.mine).toMatchObject({ headers: { Authorization: 'env:MY_TOKEN' }, batch: 8 });
  const written = formatConfig(config);
  expect(written).toContain('Authorization: env:MY_TOKEN');
  expect(parseConfig({ name: 'config.yaml', text: written })).toEqual(config);
});

test.each([
  [`{ http: "http://me:hunter22@host/" }`, 'reward.mine.http', 'has a user or password, which the run would keep'],
  [`{ http: "http://host/?token=hunter22" }`, 'reward.mine.http', 'has token, which the run would keep'],
  [`{ http: "${http}", headers: { Authorization: Bearer hunter22 } }`, 'headers.Authorization', 'is a credential'],
  [`{ http: "${http}", headers: { X-Api-Key: hunter22 } }`, 'headers.X-Api-Key', 'is a credential'],
  [`{ http: "${http}", headers: { X-Api-Key: 22222222 } }`, 'headers.X-Api-Key', 'found a value of type number'],
  [`{ http: "${http}", headers: hunter22 }`, 'reward.mine.headers', 'found a value of type string'],
  [`{ http: "${http}", headers: { X-Mine: env:MY-TOKEN } }`, 'headers.X-Mine', undefined],
  [`{ http: "${http}", headers: { X-Mine: "env:" } }`, 'headers.X-Mine', 'expected the name of a variable behind env:'],
  [`{ http: "${http}", headers: { "X Mine": a } }`, 'headers.X Mine', 'is no name of a header'],
  [
    `{ http: "${http}", headers: { Content-Type: text/plain } }`,
    'headers.Content-Type',
    'is set by the request itself',
  ],
  [`{ http: "${http}", headers: { X-Mine: "a€" } }`, 'headers.X-Mine', 'has signs that a header can not have'],
  [`{ http: "${http}", batch: 0 }`, 'reward.mine.batch', 'expected a whole number of at least 1'],
  [`{ module: ./mine.mjs, headers: { X-Mine: a } }`, 'reward.mine.headers', 'is for a server; expected http:'],
  [`{ module: ./mine.mjs, batch: 2 }`, 'reward.mine.batch', 'is for a server; expected http:'],
  [`{ http: "ftp://me:hunter22@host/" }`, 'reward.mine.http', 'found "ftp://***@host/"'],
])('%s is refused, and no credential is shown', (text, key, message) => {
  if (message === undefined) return void expect(parse(text).reward.mine).toBeDefined(); // MY, then a text
  for (const given of [() => parse(text), () => parse('{}', [`reward.mine=${text}`])]) {
    expect(given).toThrow(UsageError);
    expect(given).toThrow(message);
    expect(given).toThrow(key);
    expect(given).not.toThrow(/hunter22|22222222/);
  }
});
