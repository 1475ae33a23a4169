/** A Trackio server that takes what it is sent, one that refuses, one that is silent, and none. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { loadConfig } from '../../../../grpo/finetune/config/file.js';
import type { RunEvent } from '../../../../grpo/finetune/run/events.js';
import type { RunFolder } from '../../../../grpo/finetune/run/folder.js';
import { trackioSink } from '../../../../grpo/finetune/track/trackio.js';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
  delete process.env.TRACKIO_WRITE_TOKEN;
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Sent {
  readonly url: string | undefined;
  readonly token: unknown;
  readonly body: { readonly hf_token: null; readonly logs: readonly Record<string, unknown>[] };
}

/** A server that keeps what it is sent, and refuses the first `refused` calls. */
async function keeper(refused = 0): Promise<{ address: string; sent: Sent[] }> {
  const sent: Sent[] = [];
  let calls = 0;
  const address = await serve((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      response.statusCode = calls++ < refused ? 503 : 200;
      const body = JSON.parse(Buffer.concat(parts).toString());
      if (response.statusCode === 200)
        sent.push({ url: request.url, token: request.headers['x-trackio-write-token'], body });
      response.end('{}');
    });
  });
  return { address, sent };
}

const run = { path: join('runs', 'one'), info: { started: '2026-01-01', updates: 0 } } as unknown as RunFolder;
const config = await loadConfig('scenes-flow');
const events = [
  { kind: 'started', info: run.info, config },
  { kind: 'update', record: { update: 1, reward: 0.5, kl: Number.NaN } },
  { kind: 'evaluation', update: 1, rewards: { reward: { mean: 0.25 } } },
  { kind: 'workers', file: { id: 'a', server: 'redis://a', workers: [] }, messages: [] },
  { kind: 'update', record: { update: 2, reward: 0.75 } },
  { kind: 'done' },
] as unknown as readonly RunEvent[];

/** Hears the events; what it warned of. */
async function hear(address: string, timeout?: number): Promise<string[]> {
  const warnings: string[] = [];
  const sink = trackioSink(address, run, {
    warn: (message) => void warnings.push(message),
    ...(timeout && { timeout }),
  });
  for (const event of events) await sink(event);
  return warnings;
}

test('every update and evaluation is sent once, with the configuration first', async () => {
  process.env.TRACKIO_WRITE_TOKEN = 'secret';
  const { address, sent } = await keeper();
  expect(await hear(`${address}/`)).toEqual([]);
  expect(new Set(sent.map(({ url, token, body }) => `${url} ${token} ${body.hf_token}`))).toEqual(
    new Set(['/api/bulk_log secret null']),
  );
  const logs = sent.flatMap(({ body }) => body.logs);
  expect(logs.map(({ step, metrics }) => [step, metrics])).toEqual([
    [0, {}],
    [1, { reward: 0.5, kl: null }],
    [1, { 'eval/reward': 0.25 }],
    [2, { reward: 0.75 }],
  ]);
  expect(logs[0]!.config).toEqual(JSON.parse(JSON.stringify(config)));
  expect(new Set(logs.map(({ project, run: name, run_id }) => `${project} ${name} ${run_id}`)).size).toBe(1);
  expect(new Set(logs.map(({ log_id }) => log_id)).size).toBe(4);
  const again = await keeper();
  await hear(again.address);
  expect(again.sent.flatMap(({ body }) => body.logs.map(({ log_id }) => log_id))).toEqual(
    logs.map(({ log_id }) => log_id),
  );
});

test('what a server refuses is told of once, and sent again', async () => {
  const { address, sent } = await keeper(2);
  expect(await hear(address)).toEqual([
    `trackio: ${address} does not take the metrics: it answered 503 Service Unavailable; the run goes on`,
  ]);
  expect(sent.flatMap(({ body }) => body.logs.map(({ step }) => step))).toEqual([0, 1, 1, 2]);
});

test('a server that is not there, or never answers, stops nothing and is told of once', async () => {
  const [nowhere] = await hear('http://127.0.0.1:9');
  expect(nowhere).toMatch(/^trackio: http:\/\/127\.0\.0\.1:9 does not take the metrics: .*; the run goes on$/);
  const silent = await serve(() => {});
  const start = performance.now();
  expect(await hear(silent, 100)).toHaveLength(1);
  expect(performance.now() - start).toBeLessThan(5000);
});
