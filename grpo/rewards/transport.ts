/** A POST that is tried again while nothing but the way to the server fails, within its time. */
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, fetch, type Response } from 'undici';
import { milliseconds } from './reward.js';

/** How a POST ended, and how often it was tried. */
export type Outcome = { readonly tries: number } & (
  | { readonly kind: 'answer'; readonly status: number; readonly statusText: string; readonly text: string }
  /** No answer came at all, or it broke off. */
  | { readonly kind: 'unreachable'; readonly cause: unknown }
  | { readonly kind: 'late' }
);

export interface PostOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Seconds for all tries and the pauses between them. */
  readonly timeout: number;
  /** Ends it at once, by its reason, which is thrown. */
  readonly signal?: AbortSignal | undefined;
}

export interface Transport {
  post(url: string, body: string, options: PostOptions): Promise<Outcome>;
  /** Closes the connections. */
  close(): void;
}

/** Answers of a server, or of what stands in front of it, that is busy, starting or being replaced. */
const passingStatus: readonly number[] = [429, 502, 503, 504];

/** The way to a server that may be there again in a moment: refused, reset, closed while idle, no name, no route. */
const passingCodes: readonly string[] = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOTFOUND',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
];

/** Milliseconds of the first pause, and of the longest. */
const [firstPause, longestPause] = [200, 5000];

/**
 * The pause after as many tries, in milliseconds: doubled each time, shortened at random by up to a half, so that the many
 * who lost one server do not come back to it together ("full jitter" of half the pause: M. Brooker, Exponential Backoff And
 * Jitter, 2015).
 */
export function pauseAfter(tries: number, random: () => number = Math.random): number {
  const pause = Math.min(firstPause * 2 ** (tries - 1), longestPause);
  return pause * (1 - random() / 2);
}

/** Milliseconds that a Retry-After asks for, in seconds or as a date (RFC 9110, 10.2.3); 0 for none, or one that is neither. */
export function retryAfter(value: string | null, now = Date.now()): number {
  const text = value?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return 1000 * Number(text);
  const date = /^[a-z]{3,9},? /i.test(text) ? Date.parse(text) : Number.NaN; // Date.parse() reads "-5" as a year
  return Number.isNaN(date) ? 0 : Math.max(date - now, 0);
}

/** Connections to servers whose only limit is the time that each POST is given. */
export function openTransport(): Transport {
  // What its own limits are by default: 300 s for an answer's head, as many between parts of its body, 10 s to connect.
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: 0 } });
  return {
    post: (url, body, options) => post(agent, url, body, options),
    close: () => void agent.destroy().catch(() => {}),
  };
}

async function post(
  dispatcher: Agent,
  url: string,
  body: string,
  { headers, timeout, signal }: PostOptions,
): Promise<Outcome> {
  signal?.throwIfAborted();
  const end = new AbortController();
  const deadline = performance.now() + milliseconds(timeout);
  const clock = setTimeout(() => end.abort(), milliseconds(timeout));
  const interrupt = (): void => end.abort();
  signal?.addEventListener('abort', interrupt);
  // Where headers may hold credentials, they go to no other address than the one that was given.
  const redirect = Object.keys(headers).length > 0 ? 'manual' : 'follow';
  const request = {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body,
    redirect,
    dispatcher,
    signal: end.signal,
  } as const;
  let tries = 0;
  try {
    while (true) {
      tries++;
      const { outcome, again, pause = 0 } = await attempt(url, request, tries);
      const next = Math.max(pauseAfter(tries), pause);
      if (!again || performance.now() + next >= deadline) return outcome;
      await wait(next, undefined, { signal: end.signal });
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (end.signal.aborted) return { kind: 'late', tries };
    throw error;
  } finally {
    clearTimeout(clock);
    signal?.removeEventListener('abort', interrupt);
  }
}

interface Attempt {
  readonly outcome: Outcome;
  /** Whether it is worth another try, and the milliseconds that the server asks for before it. */
  readonly again: boolean;
  readonly pause?: number;
}

/** Throws where it was aborted. */
async function attempt(
  url: string,
  request: NonNullable<Parameters<typeof fetch>[1]>,
  tries: number,
): Promise<Attempt> {
  let response: Response | undefined;
  try {
    response = await fetch(url, request);
    const { status, statusText, headers } = response;
    const outcome: Outcome = { kind: 'answer', tries, status, statusText, text: await response.text() };
    return { outcome, again: passingStatus.includes(status), pause: retryAfter(headers.get('retry-after')) };
  } catch (error) {
    if (request.signal?.aborted) throw error;
    const cause = rootOf(error);
    const { code } = cause as NodeJS.ErrnoException;
    const again = !response && typeof code === 'string' && passingCodes.includes(code);
    return { outcome: { kind: 'unreachable', tries, cause }, again };
  }
}

/** fetch() says «fetch failed»; what did fail is its cause, and that of the first of several addresses. */
function rootOf(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return rootOf(error.errors[0]);
  return error instanceof Error && error.cause ? rootOf(error.cause) : error;
}
