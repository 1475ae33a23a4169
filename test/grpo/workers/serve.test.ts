/** Runs with workers in one process: the bits of every method, who is refused, and what a reward that fails does. */

import { spawnSync } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { loadConfig } from '../../../grpo/finetune/config/file.js';
import { InterruptedError } from '../../../grpo/finetune/errors.js';
import { exitCodeOf, exitCodes } from '../../../grpo/finetune/exit_codes.js';
import type { RunEvent } from '../../../grpo/finetune/run/events.js';
import { type RunConfigOptions, runConfig } from '../../../grpo/finetune/run/run_config.js';
import { connect, keysUnder } from '../../../grpo/workers/redis/connection.js';
import { openRemoteRun } from '../../../grpo/workers/trainer/remote_run.js';
import { type ServeOptions, serve } from '../../../grpo/workers/worker/serve.js';
import type { ServeEvent } from '../../../grpo/workers/worker/serve_events.js';
import { temporaryFolder } from '../../temporary.js';
import { testServer } from '../rewards/server.js';
import { writeTinyFile } from '../tiny_file.js';
import { freePort, missing, startRedis } from './redis.js';

const folder = temporaryFolder();
/** A reward server that scores a picture by its size. */
const server = await testServer();
server.answers = [
  (response, { body }) => {
    const { images } = JSON.parse(body) as { images: string[] };
    response.end(JSON.stringify({ scores: images.map((image) => image.length / 100) }));
  },
];

/** A configuration of three groups of a tiny model folder as a file. */
const writeConfig = (sections: string, name = 'tiny', model = 'sd3', reward = 'brightness: { weight: 1 }') =>
  writeTinyFile(
    folder,
    `reward: { ${reward} }\nlora: { rank: 2, alpha: 4, targets: attention }\neval: { n: 2 }\nsample: { seeds: [1] }\n${sections}`,
    'a red circle\nthe blue cat\na cat\n',
    { name, model },
  );

const sections = (grpo = '', sampler = '', train = '', workers = 'shards: 2'): string =>
  `grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 3, ${grpo} }\n` +
  `sampler: { steps: 4, ${sampler || 'kind: flow-sde'} }\n` +
  `train: { updates: 2, lr: 1.0e-2, micro_batch: 4, ${train} }\n` +
  `workers: { ${workers} }\n`;

/** A worker in this process, until the test ends; what it tells. */
function startWorker(options: ServeOptions): { readonly events: ServeEvent[]; readonly stop: () => Promise<void> } {
  const end = new AbortController();
  const events: ServeEvent[] = [];
  const done = (async () => {
    for await (const event of serve({ ...options, signal: end.signal })) events.push(event);
  })().catch((error: unknown) => {
    if (!end.signal.aborted) throw error;
  });
  const stop = (): Promise<void> => {
    end.abort(new InterruptedError('SIGINT'));
    return done;
  };
  onTestFinished(stop);
  return { events, stop };
}

let runs = 0;

/** Trains and returns the run's folder and events. */
async function train(config: string, url?: string, options: RunConfigOptions = {}) {
  const name = `run${runs++}`;
  const events: RunEvent[] = [];
  const path = join(folder, name);
  const all: RunConfigOptions = {
    config,
    out: folder,
    name,
    ...(url !== undefined && { source: ({ session, ...given }) => openRemoteRun(session, { ...given, url }) }),
    ...options,
  };
  let error: unknown;
  try {
    for await (const event of runConfig(all)) events.push(event);
  } catch (thrown) {
    error = thrown;
  }
  const messages = events.flatMap((event) => (event.kind === 'workers' ? event.messages.map(({ text }) => text) : []));
  return { path, events, messages, error };
}

const file = (run: string, name: string): Promise<string> => readFile(join(run, name), 'base64');

/** The weights, the optimizer's moments, averages and copies after the last update. */
async function bitsOf(run: string, parts: readonly string[] = ['adapter', 'optimizer']): Promise<string[]> {
  return Promise.all(parts.map((part) => file(run, `checkpoints/000002/${part}.safetensors`)));
}

const methods: Readonly<
  Record<string, { readonly sections: string; readonly parts?: readonly string[]; readonly model?: string }>
> = {
  'Pro-GRPO': { sections: sections() },
  'averages, a divergence from the initial adapter, a random window': {
    sections: sections(
      'kl: 0.1, kl_reference: initial',
      'kind: flow-sde, window: { size: 2, place: random, range: [0, 3] }',
      'ema: 0.9',
    ),
    parts: ['adapter', 'optimizer', 'ema', 'reference'],
  },
  'the deviation of all groups': { sections: sections('global_std: true') },
  'two optimizer steps a rollout': { sections: sections('updates_per_rollout: 2, row_weights: guard') },
  'DiffusionNFT with two steps a rollout': {
    sections: sections('loss: nft, updates_per_rollout: 2', 'kind: flow-sde, noise: 0'),
  },
  'a diffusion model with guidance': { sections: sections('', 'kind: ddim, guidance: 2'), model: 'sd1' },
};

describe.skipIf(missing !== undefined)(`workers (${missing ?? 'with a real server'})`, { timeout: 240_000 }, () => {
  for (const [name, method] of Object.entries(methods))
    test(`${name}: two workers give the bits of none`, async () => {
      const redis = await startRedis(folder);
      const config = await writeConfig(method.sections, 'method', method.model);
      const own = await loadConfig(config);
      const alone = await train(config);
      expect(alone.error).toBeUndefined();
      const workers = [1, 2].map(() => startWorker({ url: redis.url, config: own }));
      const shared = await train(config, redis.url);
      expect(shared.error).toBeUndefined();
      expect(await bitsOf(shared.path, method.parts)).toEqual(await bitsOf(alone.path, method.parts));
      expect(await file(shared.path, 'groups.jsonl')).toBe(await file(alone.path, 'groups.jsonl'));
      expect(await file(shared.path, 'evaluations.jsonl')).toBe(await file(alone.path, 'evaluations.jsonl'));
      const shards = workers.map(
        ({ events }) => events.filter((event) => event.kind === 'task' && event.task === 'draw').length,
      );
      expect(shards[0]! + shards[1]!).toBeGreaterThanOrEqual(4);
      for (const { stop } of workers) await stop();
      expect(await redis.lasting()).toEqual([]);
    });

  test('a run that goes on with another configuration has its workers load that', async () => {
    const redis = await startRedis(folder);
    const config = await writeConfig(sections(), 'again');
    const worker = startWorker({ url: redis.url, config: await loadConfig(config) });
    const source: RunConfigOptions['source'] = ({ session, ...given }) =>
      openRemoteRun(session, { ...given, url: redis.url });
    const evaluations: string[] = [];
    for (const more of [{}, { source }]) {
      const { path, error } = await train(config, undefined, { ...more, updates: 1 });
      expect(error).toBeUndefined();
      const resumed = { name: undefined, resume: path, set: ['sampler.eval_steps=2'], updates: 2, ...more };
      expect((await train(config, undefined, { ...resumed, config: undefined })).error).toBeUndefined();
      evaluations.push(await file(path, 'evaluations.jsonl'));
      expect(await bitsOf(path)).toHaveLength(2);
    }
    expect(evaluations[1]).toBe(evaluations[0]);
    expect(worker.events.filter(({ kind }) => kind === 'joined')).toHaveLength(2);
  });

  test('machines that are not what the run expects are refused by name, and the run goes on with those that are', async () => {
    const redis = await startRedis(folder);
    const module = join(folder, 'mine.mjs');
    await writeFile(module, 'export default (images) => images.map(({ rgb }) => rgb[0]);');
    const rewards = `mine: { weight: 1, module: ${module} }`;
    const config = await writeConfig(sections(), 'expected', 'sd3', rewards);
    const other = join(folder, 'other');
    await cp(join(packageRoot(), 'test/fixtures/pipelines/sd3'), other, { recursive: true });
    const scheduler = join(other, 'scheduler/scheduler_config.json');
    await writeFile(
      scheduler,
      (await readFile(scheduler, 'utf8')).replace('}', ',"shift": 2 }').replace('"shift": 3.0,', ''),
    );
    const changed = join(folder, 'changed.mjs');
    await writeFile(changed, 'export default (images) => images.map(({ rgb }) => rgb[1]);');
    const own = await loadConfig(config);
    const workers = [
      startWorker({ url: redis.url }),
      startWorker({ url: redis.url, config: { ...own, model: { ...own.model, path: other } } }),
      startWorker({ url: redis.url, config: { ...own, reward: { mine: { ...own.reward.mine!, module: changed } } } }),
      startWorker({ url: redis.url, config: { ...own, reward: { mine: { weight: 1, timeout_s: 60 } } } }),
      startWorker({ url: redis.url, config: own }),
    ];
    const { error, messages, path } = await train(config, redis.url);
    expect(error).toBeUndefined();
    const refusals = workers.map(({ events }) =>
      events.flatMap((event) => (event.kind === 'refused' ? event.reason : [])),
    );
    expect(refusals[0]!.join()).toContain("the run's model is a folder: a configuration has to say where it is");
    expect(refusals[1]!.join()).toMatch(/^model folder \(hash of its files\) is \w{64}, expected \w{64}$/);
    expect(refusals[2]!.join()).toMatch(/^reward mine is \w{64}, expected \w{64}$/);
    expect(refusals[3]!.join()).toContain(
      "the run's reward mine is a module, in the worker's configuration it is built in",
    );
    expect(refusals[4]).toEqual([]);
    expect(messages.filter((text) => /is refused: /.test(text))).toHaveLength(4);
    const { workers: listed } = JSON.parse(await readFile(join(path, 'workers.json'), 'utf8'));
    const states = listed.map(({ state }: { state: string }) => state);
    expect(states.filter((state: string) => state === 'refused')).toHaveLength(4);
    for (const worker of workers) await worker.stop();
  });

  test('a worker whose reward fails alone is set aside; where it fails at every worker the run ends as it does alone', async () => {
    const redis = await startRedis(folder);
    const served = (url: string): string => `mine: { weight: 1, http: "${url}", timeout_s: 1 }`;
    const fine = await loadConfig(await writeConfig(sections(), 'fine', 'sd3', served(server.url)));
    const dead = await loadConfig(await writeConfig(sections(), 'dead', 'sd3', served('http://127.0.0.1:9/')));
    const broken = startWorker({ url: redis.url, config: dead });
    const whole = startWorker({ url: redis.url, config: fine });
    const given = await writeConfig(sections(), 'fine', 'sd3', served(server.url));
    const { error, messages } = await train(given, redis.url);
    expect(error).toBeUndefined();
    expect(messages.join('\n')).toMatch(/is set aside for a while: reward "mine" could not be reached/);
    await whole.stop();
    await broken.stop();

    const alone = startWorker({ url: redis.url, config: dead });
    const failed = await train(given, redis.url);
    expect(exitCodeOf(failed.error)).toBe(exitCodes.rewardFailed);
    expect((failed.error as Error).message).toMatch(/^reward "mine" could not be reached/);
    const info = JSON.parse(await readFile(join(failed.path, 'run.json'), 'utf8'));
    expect(info).toMatchObject({ status: 'failed', updates: 0, exit: { code: 8 } });
    await alone.stop();
  });

  test('a run waits for workers with a line that says so, and an interruption ends the waiting', async () => {
    const redis = await startRedis(folder);
    const end = new AbortController();
    const seen: string[] = [];
    const sink = (event: RunEvent): void => {
      if (event.kind !== 'workers') return;
      seen.push(...event.messages.map(({ text }) => text));
      if (seen.some((text) => /^no worker at/.test(text))) end.abort(new InterruptedError('SIGINT'));
    };
    const start = performance.now();
    const { error } = await train(await writeConfig(sections()), redis.url, { signal: end.signal, sinks: [sink] });
    expect(error).toBeInstanceOf(InterruptedError);
    expect(seen).toContain(`no worker at ${redis.url}: waiting for one (winnow worker --redis ${redis.url})`);
    expect(performance.now() - start).toBeLessThan(60_000);
    expect(await redis.lasting()).toEqual([]);
    expect(await redis.connection.redis.hgetall('winnow:runs')).toEqual({});
  });

  test('over TLS with a password, neither of which nor a path or a reward server is told to anybody', async () => {
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
    const made = spawnSync('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=127.0.0.1'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
    ]);
    expect(made.status).toBe(0);
    const port = await freePort();
    const password = 'a-password-8d1f';
    const tls = [
      '--tls-port',
      `${port}`,
      '--tls-cert-file',
      certificate,
      '--tls-key-file',
      key,
      '--tls-auth-clients',
      'no',
    ];
    const redis = await startRedis(folder, ...tls);
    spawnSync('redis-cli', ['-p', `${redis.port}`, 'CONFIG', 'SET', 'requirepass', password]);
    const url = `rediss://:${password}@127.0.0.1:${port}`;
    const reward = `mine: { weight: 1, http: "${server.url}?token=env:TOKEN_OF_TEST", timeout_s: 5 }`;
    vi.stubEnv('TOKEN_OF_TEST', 'a-token-77ab');
    const config = await writeConfig(sections(), 'secret', 'sd3', reward);
    const worker = startWorker({ url, ca: certificate, config: await loadConfig(config) });
    const texts: string[] = [];
    const told: string[] = [];
    const sink = async (event: RunEvent): Promise<void> => {
      told.push(JSON.stringify(event));
      if (event.kind !== 'update') return;
      const { redis: client } = redis.connection;
      for await (const each of keysUnder(client)) texts.push(each, String(await client.get(each).catch(() => '')));
      texts.push(
        ...Object.values(await client.hgetall((await all(keysUnder(client))).find((each) => /:workers$/.test(each))!)),
      );
    };
    const { error, path } = await train(config, url, {
      sinks: [sink],
      source: ({ session, ...given }) => openRemoteRun(session, { ...given, url, ca: certificate }),
    });
    expect(error).toBeUndefined();
    expect(texts.some((text) => text.includes('groups_per_update'))).toBe(true);
    expect(server.received.length).toBeGreaterThan(0);
    for (const name of ['log.txt', 'run.json', 'workers.json', 'config.yaml'])
      told.push(await readFile(join(path, name), 'utf8'));
    for (const secret of [password, 'a-token-77ab'])
      expect([...texts, ...told].filter((text) => text.includes(secret))).toEqual([]);
    for (const place of [folder, packageRoot(), server.url])
      expect(texts.filter((text) => text.includes(place))).toEqual([]);
    await expect(connect({ url: `rediss://:wrong-one@127.0.0.1:${port}`, ca: certificate })).rejects.toThrow(
      /WRONGPASS/,
    );
    await expect(connect({ url })).rejects.toThrow(/rediss:\/\/\*\*\*@127.0.0.1:\d+ can't be reached: .*certificate/);
    await worker.stop();
  });
});

test('an address that is none, or where nobody is, is told by name', async () => {
  for (const [url, message] of [
    [
      'http://127.0.0.1:6379',
      'workers: "http://127.0.0.1:6379" is no address: expected redis://host:6379 or rediss://host:6379',
    ],
    ['', 'workers: expected an address such as redis://host:6379, or WINNOW_REDIS with one'],
  ])
    await expect(connect({ url })).rejects.toThrow(message);
  await expect(connect({ url: 'redis://127.0.0.1:6379', ca: 'x.pem' })).rejects.toThrow('a CA is for rediss://');
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
