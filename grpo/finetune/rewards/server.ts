/** Servers as rewards, from a configuration's keys: credentials come from the environment and stay out of every file and message. */
import { validateHeaderName } from 'node:http';
import { encodePng } from '../../../models/pictures/png.js';
import type { RewardConfig } from '../../config.js';
import {
  credentialIn,
  decoded,
  environmentPattern,
  isCredentialHeader,
  withoutCredentials,
} from '../../rewards/credentials.js';
import type { HttpOptions } from '../../rewards/http.js';
import { UsageError } from '../errors.js';

type Keys = Partial<RewardConfig>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Headers that the request itself has. */
const ownHeaders: readonly string[] = [
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** What is wrong with the keys of a reward that is a server: the key, below that of the reward, and what. No credential is shown. */
export function serverProblems({ http, headers = {}, batch }: Keys): { key: readonly string[]; message: string }[] {
  const problems: { key: readonly string[]; message: string }[] = [];
  if (http === undefined)
    for (const [key, value] of Object.entries({ headers: Object.keys(headers)[0], batch }))
      if (value !== undefined)
        problems.push({ key: [key], message: 'is for a server; expected http: http://... beside it' });
  const found = http === undefined ? undefined : credentialIn(http);
  if (found !== undefined)
    problems.push({
      key: ['http'],
      message: `has ${found}, which the run would keep: expected env:NAME in its place, or a header with env:NAME`,
    });
  const places: readonly (readonly [readonly string[], string])[] = [
    ...(http === undefined ? [] : [[['http'], http] as const]),
    ...Object.entries(headers).map(([name, value]) => [['headers', name], value] as const),
  ];
  for (const [key, value] of places)
    if (/env:/.test(value.replaceAll(environmentPattern, '')))
      problems.push({ key, message: 'expected the name of a variable behind env:, such as env:MY_TOKEN' });
  for (const [name, value] of Object.entries(headers)) {
    const key = ['headers', name];
    if (!isHeaderName(name)) problems.push({ key, message: 'is no name of a header' });
    else if (ownHeaders.includes(name.toLowerCase()))
      problems.push({ key, message: 'is set by the request itself; expected other headers' });
    else if (isCredentialHeader(name, value))
      problems.push({ key, message: 'is a credential, which the run would keep: expected env:NAME' });
    else if (!isHeaderValue(value)) problems.push({ key, message: 'has signs that a header can not have' });
  }
  return problems;
}

function isHeaderName(name: string): boolean {
  try {
    validateHeaderName(name);
    return true;
  } catch {
    return false;
  }
}

/** Visible signs of Latin-1, blanks and tabs (RFC 9110, 5.5). */
const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);

/**
 * What a server is asked by, with the values of the variables that its keys name. Throws a UsageError that names the key where
 * one is missing or is no part of a header, or where the keys hold a credential themselves.
 */
export function serverOf(
  name: string,
  { http = '', headers = {}, ...keys }: Keys,
  environment: Environment = process.env,
): HttpOptions {
  const [problem] = serverProblems({ http, headers, ...keys });
  if (problem) throw new UsageError(`reward.${name}.${problem.key.join('.')}: ${problem.message}`);
  const secrets = new Set<string>();
  const resolved = (text: string, key: string, encode: (value: string) => string): string =>
    text.replace(environmentPattern, (_, variable: string) => {
      const value = environment[variable]?.trim();
      if (!value) throw new UsageError(`reward.${name}.${key}: the environment has no variable ${variable}`);
      secrets.add(value);
      return encode(value);
    });
  const url = new URL(resolved(http, 'http', encodeURIComponent));
  const sent: Record<string, string> = {};
  if (url.username !== '' || url.password !== '') {
    const user = [url.username, url.password].map(decoded).join(':');
    sent.authorization = `Basic ${Buffer.from(user).toString('base64')}`; // fetch() takes no user and password in an address
    secrets.add(sent.authorization);
    url.username = url.password = '';
  }
  for (const [header, text] of Object.entries(headers)) {
    const key = `headers.${header}`;
    sent[header.toLowerCase()] = resolved(text, key, (value) => {
      if (isHeaderValue(value)) return value;
      throw new UsageError(`reward.${name}.${key}: its variable has signs that a header can not have`);
    });
  }
  const { timeout_s: timeout, batch } = keys;
  return {
    url: url.href,
    encode: encodePng,
    headers: sent,
    batch,
    source: withoutCredentials(http),
    secrets: [...secrets],
    ...(timeout !== undefined && { timeout }),
  };
}
