import { expect, test } from 'vitest';
import {
  credentialIn,
  isCredentialHeader,
  isCredentialName,
  withoutCredentials,
} from '../../../grpo/rewards/credentials.js';

test('names of credentials', () => {
  for (const name of [
    ...['Authorization', 'Proxy-Authorization', 'Cookie', 'X-Api-Key', 'api_key', 'apiKey', 'key', 'access_token'],
    ...[
      'ACCESS-TOKEN',
      'sig',
      'X-Amz-Signature',
      'client_secret',
      'password',
      'pwd',
      'Ocp-Apim-Subscription-Key',
      'code',
    ],
  ])
    expect(isCredentialName(name), name).toBe(true);
  for (const name of ['max_tokens', 'tokenizer', 'model', 'Accept', 'keyword', 'X-Model', 'n', 'passage', 'encode'])
    expect(isCredentialName(name), name).toBe(false);
});

test('addresses that hold credentials, and such that name a variable instead', () => {
  const found: [string, string | undefined][] = [
    ['http://user:pw@host/', 'a user or password'],
    ['http:user:pw@host/', 'a user or password'],
    ['https://ghp_abc@host/', 'a user or password'],
    ['https://host/score?a=1&api_key=abc', 'api_key'],
    ['https://host/score?%74oken=abc', 'token'],
    ['https://host/score#access_token=abc', 'access_token'],
    ['https://host/score?token=env:MINE', undefined],
    ['https://user:env:MINE@host/', undefined],
    ['https://host/score?token=', undefined],
    ['https://host:8900/score?max_tokens=77&q=a@b', undefined],
    ['no address', undefined],
  ];
  for (const [url, where] of found) expect(credentialIn(url), url).toBe(where);
});

test('headers that are credentials, by their names, their schemes, or their looks', () => {
  expect(isCredentialHeader('X-Api-Key', 'a')).toBe(true);
  expect(isCredentialHeader('X-Mine', 'Bearer abc')).toBe(true);
  expect(isCredentialHeader('X-Mine', 'sk-1234567890abcdefghij')).toBe(true);
  expect(isCredentialHeader('Authorization', 'Bearer env:MINE')).toBe(false);
  expect(isCredentialHeader('X-Model', 'v2')).toBe(false);
  expect(isCredentialHeader('Accept', 'application/json; charset=utf-8')).toBe(false);
});

test.each([
  ['failed at https://me:hunter22@host/a?b=c', 'failed at https://***@host/a?b=c'],
  ["failed at https://me:hun'ter@22@host/a", 'failed at https://***@host/a'],
  ['POST http://h/?a=1&token=hunter22&b=2: no', 'POST http://h/?a=1&token=***&b=2: no'],
  ['{"Authorization": "Bearer hunter22", "a": 1}', '{"Authorization": ***, "a": 1}'],
  ['Authorization: Bearer hunter22, b', 'Authorization: ***, b'],
  ['the header was Bearer hunter22.', 'the header was Bearer ***'],
  ["password='hunter 22 x' is wrong", 'password=*** is wrong'],
  ['x-api-key: hunter22', 'x-api-key: ***'],
])('what is hidden of %s', (text, shown) => {
  expect(withoutCredentials(text)).toBe(shown);
});

test.each([
  'connect ECONNREFUSED 127.0.0.1:8900',
  'http://127.0.0.1:8900/score?model=v2',
  'http://host/score?token=env:MY_TOKEN, Authorization: env:MY_TOKEN, https://user:env:PW@host',
  'Unexpected token \'<\', "<html>" is not valid JSON',
  'HTTP status code: 500, key: prompt, error: a@b',
])('what stays as it is: %s', (text) => {
  expect(withoutCredentials(text)).toBe(text);
});

test('known credentials are hidden wherever they stand, whole, in parts, and encoded', () => {
  const known = ['Bearer a/b+c d"e', 'longer-than-long', 'long'];
  const forms = ['Bearer a/b+c d"e', encodeURIComponent('a/b+c'), 'a/b+c', Buffer.from('a/b+c').toString('base64')];
  for (const form of forms) expect(withoutCredentials(`<${form}>`, known), form).toMatch(/^<\*\*\*/);
  expect(withoutCredentials(JSON.stringify('a/b+c'), known)).toBe('"***"');
  expect(withoutCredentials('<longer-than-long> <long>', known)).toBe('<***> <***>');
});
