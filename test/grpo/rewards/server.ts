/** A server for tests of rewards, which answers as a test says and keeps what it was sent. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, beforeEach } from 'vitest';

export interface Received {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Milliseconds, of performance.now(). */
  readonly at: number;
}

type Answer = (response: ServerResponse, request: Received, socket: Socket) => void;

export interface TestServer {
  readonly url: string;
  /** What it was sent in the test at hand. */
  readonly received: Received[];
  /** What it does with each request; the last does for those that follow. */
  answers: readonly Answer[];
}

/** Starts a server for the tests of a file, which ends with them. */
export async function testServer(): Promise<TestServer> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method, url: path, headers, socket } = request;
    const found = { method, path, headers, body: Buffer.concat(chunks).toString(), at: performance.now() };
    const answer = made.answers[Math.min(received.length, made.answers.length - 1)]!;
    received.push(found);
    answer(response, found, socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const made: TestServer = { url: `http://127.0.0.1:${port}/score`, received, answers: [] };
  beforeEach(() => {
    received.length = 0;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  return made;
}

/** Answers with a success. */
export const says =
  (answer: unknown): Answer =>
  (response) =>
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));

/** Answers with another status. */
export const refuses =
  (status: number, headers: Readonly<Record<string, string>> = {}, text = ''): Answer =>
  (response) =>
    response.writeHead(status, headers).end(text);

/** Closes the connection without an answer. */
export const hangsUp: Answer = (_, __, socket) => socket.destroy();

/** Never answers. */
export const isSilent: Answer = () => {};
