/** Who may ask: hosts that a request may name, and the token. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { UsageError } from '../finetune/errors.js';

export interface GuardOptions {
  /** What is listened on. Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Asked of every request; demanded where the host is not loopback. Default: none for reading, a random one for buttons. */
  readonly token?: string | undefined;
}

export const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|::1)$/i.test(host);

/** Throws a UsageError where others than this machine could read without a token. */
export function checkReach({ host = '127.0.0.1', token }: GuardOptions): void {
  if (!isLoopback(host) && !token)
    throw new UsageError(`--host ${host} is not loopback: others on the network could read the runs; give a --token`);
}

/** Whether two texts are equal, in a time that does not tell where they differ. */
export function isSameText(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

export interface Guard {
  /** The token of the buttons, which a page that may read is told. */
  readonly token: string;
  /** Whether a request names this server as its host. Any other name may be one that was led here (DNS rebinding). */
  isOwnHost(request: IncomingMessage): boolean;
  /** Whether a request may read; by cookie, header or query where a token was given. */
  mayRead(request: IncomingMessage, url: URL): boolean;
  /** Whether a request carries the token in its header, which no other site's page can set. */
  mayAct(request: IncomingMessage): boolean;
  /** The cookie that stands for the token from now on; undefined where none is asked for. */
  cookie(): string | undefined;
}

/** `port` is the one that is listened on, whether or not it is the one that was asked for. */
export function createGuard({ host = '127.0.0.1', token }: GuardOptions, port: number): Guard {
  const secret = token ?? randomBytes(24).toString('base64url');
  const name = `winnow_${port}`;
  const isSecret = (given: string | undefined): boolean => given !== undefined && isSameText(given, secret);
  return {
    token: secret,
    isOwnHost: ({ headers }) => isOwnHost(headers.host, host),
    mayRead: ({ headers }, url) =>
      token === undefined ||
      isSecret(headerOf(headers[tokenHeader])) ||
      isSecret(cookieOf(headers.cookie, name)) ||
      isSecret(url.searchParams.get('token') ?? undefined),
    mayAct: ({ headers }) => isSecret(headerOf(headers[tokenHeader])),
    cookie: () =>
      token === undefined
        ? undefined
        : `${name}=${encodeURIComponent(secret)}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000`,
  };
}

export const tokenHeader = 'x-winnow-token';

const headerOf = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

function cookieOf(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? '').split(';')) {
    const [key, value] = part.trim().split('=');
    if (key !== name || value === undefined) continue;
    try {
      return decodeURIComponent(value);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/**
 * On loopback the names of loopback, whatever the port: a tunnel may have another. Elsewhere also the name that is listened on,
 * this machine's name, and addresses, which no DNS answer can be.
 */
function isOwnHost(header: string | undefined, host: string): boolean {
  const [, bracketed, plain] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@]+))(?::\d{1,5})?$/i.exec(header ?? '') ?? [];
  const named = (bracketed ?? plain)?.toLowerCase();
  if (named === undefined) return false;
  if (isLoopback(named)) return true;
  if (isLoopback(host)) return false;
  return isIP(named) !== 0 || named === host.toLowerCase() || named === hostname().toLowerCase();
}
