/** Answers: JSON, texts and files, all with the headers that keep a page to itself. */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { packageRoot } from '../../engine/version.js';
import { openInside } from './inside.js';

/** Nothing inline, nothing from elsewhere, in no other site's frame. */
const security = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cache-Control': 'no-cache',
};

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
};

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** Sends the head of an answer with everything that each has. */
export function sendHead(
  { response }: Exchange,
  status: number,
  headers: Readonly<Record<string, string | number>>,
): void {
  response.writeHead(status, { ...security, ...headers });
}

export function sendText(exchange: Exchange, status: number, text: string, headers: Record<string, string> = {}): void {
  sendHead(exchange, status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : `${text}\n`);
}

/** Sends a value; large ones gzipped, which curves shrink to a third by. */
export async function sendJson(exchange: Exchange, value: unknown): Promise<void> {
  const body = Buffer.from(JSON.stringify(value));
  const small = body.length < 50_000 || !/\bgzip\b/.test(String(exchange.request.headers['accept-encoding']));
  const sent = small ? body : await promisify(gzip)(body, { level: 1 });
  sendHead(exchange, 200, {
    'Content-Type': 'application/json',
    'Content-Length': sent.length,
    ...(!small && { 'Content-Encoding': 'gzip' }),
  });
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : sent);
}

/** Sends bytes that their address stands for: a browser need not ask for them again. */
export function sendBytes(exchange: Exchange, type: string, bytes: Uint8Array): void {
  const headers = { 'Content-Type': type, 'Content-Length': bytes.length };
  sendHead(exchange, 200, { ...headers, 'Cache-Control': 'private, max-age=3600, immutable' });
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : bytes);
}

/** Sends a picture of a run's folder; 404 where there is none. One that the browser has is not sent again. */
export async function sendPicture(exchange: Exchange, folder: string, names: readonly string[]): Promise<void> {
  const file = await openInside(folder, ...names);
  if (!file) return sendText(exchange, 404, 'not found');
  try {
    const { size, mtimeMs } = await file.stat();
    const tag = `"${size.toString(36)}-${Math.round(mtimeMs).toString(36)}"`;
    if (exchange.request.headers['if-none-match'] === tag) {
      sendHead(exchange, 304, { ETag: tag });
      exchange.response.end();
      return;
    }
    sendHead(exchange, 200, { 'Content-Type': 'image/png', ETag: tag });
    if (exchange.request.method === 'HEAD') exchange.response.end();
    else await pipeline(file.createReadStream({ autoClose: false }), exchange.response);
  } finally {
    await file.close();
  }
}

/**
 * The files of a room's page, grpo/ROOM/page, by their addresses; those that pages share as /serve/page/NAME, where a relative
 * import finds them in the folders too; and files of packages. What is not in this table is not there.
 */
export function pageFiles(room: string, packages: Readonly<Record<string, string>> = {}): ReadonlyMap<string, string> {
  const require = createRequire(import.meta.url);
  const filesOf = (of: string, prefix: string): [string, string][] => {
    const folder = join(packageRoot(), 'grpo', of, 'page');
    const names = readdirSync(folder).filter((name) => /\.(html|css|js|svg)$/.test(name));
    return names.map((name) => [`${prefix}${name}`, join(folder, name)]);
  };
  const own = new Map([...filesOf(room, '/'), ...filesOf('serve', '/serve/page/')]);
  for (const [address, name] of Object.entries(packages)) own.set(address, require.resolve(name));
  return own.set('/', own.get('/index.html')!);
}

/** Sends a file of the page. */
export async function sendPageFile(exchange: Exchange, path: string, headers: Record<string, string>): Promise<void> {
  const body = await readFile(path);
  sendHead(exchange, 200, { 'Content-Type': types[extname(path)] ?? 'text/plain', ...headers });
  exchange.response.end(exchange.request.method === 'HEAD' ? undefined : body);
}
