/** Runs whose reward is a server: credentials that nothing keeps or prints, and interruptions while it is waited for. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, expect, test, vi } from 'vitest';
import { temporaryFolder } from '../../../temporary.js';
import { isSilent, type Received, refuses, testServer } from '../../rewards/server.js';
import { writeTinyFile } from '../../tiny_file.js';
import { winnow } from '../output.js';
import { start } from '../process.js';

const folder = temporaryFolder();
const out = join(folder, 'runs');
const config = join(folder, 'tiny.yaml');
const server = await testServer();
const secret = 'hunter22-hunter22';

beforeAll(async () => {
  await writeTinyFile(
    folder,
    `lora: { rank: 2 }
reward:
  mine: { http: "${server.url}?token=env:MY_TOKEN", headers: { Authorization: "Bearer env:MY_TOKEN" }, batch: 1 }
sampler: { steps: 2, kind: ddim }
grpo: { keep: [2], prune_at: [], prune: none, groups_per_update: 1 }
train: { updates: 2 }
save: { every: 100, keep: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
});

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Scores of a request, which say that something was learned: each is another. */
const scores = ({ body }: Received): string =>
  JSON.stringify({ scores: JSON.parse(body).images.map((_: string, i: number) => server.received.length + i) });

/** All files below a folder, as text. */
async function filesOf(path: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) {
      const file = join(entry.parentPath, entry.name);
      found.set(file, await readFile(file, 'latin1'));
    }
  return found;
}

test('a credential is sent with each POST, and stands in no file and no line', async () => {
  vi.stubEnv('MY_TOKEN', secret);
  server.answers = [(response, request) => response.end(scores(request))];
  const args = ['--out', out, '--set', 'save.every=1'];
  const [text, json] = [
    await winnow('train', config, ...args, '--name', 'text'),
    await winnow('train', config, ...args, '--name', 'json', '--json'),
  ];
  expect([text.status, json.status], text.stderr).toEqual([0, 0]);
  expect(server.received.length).toBeGreaterThan(10);
  for (const { headers, path } of server.received)
    expect([headers.authorization, path]).toEqual([`Bearer ${secret}`, `/score?token=${secret}`]);

  // The server repeats what it was sent, in an answer that is an error, in the middle of a run.
  let calls = 0;
  server.answers = [
    (response, request) =>
      ++calls > 7
        ? response.writeHead(401).end(`not known: ${request.headers.authorization} ${request.path}`)
        : response.end(scores(request)),
  ];
  const failed = await winnow('train', config, ...args, '--name', 'failed', '--json');
  expect(failed.status).toBe(8);
  expect(failed.stderr).toContain(
    `error[8]: reward "mine" answered 401 Unauthorized for 1 image (${server.url}?token=env:MY_TOKEN`,
  );
  expect(failed.stderr).toContain('not known: Bearer ***');
  const judged = await winnow('eval', join(out, 'text'), '--json');
  const files = await filesOf(out);
  for (const name of ['config.yaml', 'run.json', 'log.txt'])
    expect([...files.keys()]).toContain(join(out, 'failed', name));
  for (const [name, content] of files) expect(content.includes(secret), name).toBe(false);
  for (const { stdout, stderr } of [text, json, failed, judged]) expect(stdout + stderr).not.toContain(secret);
  expect(files.get(join(out, 'text', 'config.yaml'))).toContain('Authorization: Bearer env:MY_TOKEN');
}, 300_000);

test('a variable that is missing ends with status 2 and its key, and nothing is left', async () => {
  vi.stubEnv('MY_TOKEN', '');
  const found = await winnow('train', config, '--out', out, '--name', 'missing');
  expect(found).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('error[2]: reward.mine.http: the environment has no variable MY_TOKEN'),
  });
  expect(await readdir(out)).not.toContain('missing');
});

test.runIf(process.platform !== 'win32')(
  'Ctrl-C while a server is waited for ends at once: in a run with its checkpoint, before it without a trace',
  async () => {
    vi.stubEnv('MY_TOKEN', secret);
    const waits = async (count: number): Promise<void> => {
      while (server.received.length < count) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    const args = ['train', config, '--out', out, '--set', 'reward.mine.timeout_s=600', '--set', 'reward.mine.batch=9'];
    let silent = false;
    server.answers = [(response, request, socket) => (silent ? isSilent : answer)(response, request, socket)];
    const answer: (typeof server.answers)[0] = (response, request) => response.end(scores(request));
    const run = start(...args, '--name', 'waiting', '--steps', '500');
    await run.until(/^ +2\/500 /m);
    silent = true;
    const before = server.received.length;
    await waits(before + 1);
    run.child.kill('SIGINT');
    const asked = performance.now();
    expect(await run.ended).toBe(130);
    expect(performance.now() - asked).toBeLessThan(10_000);
    const info = JSON.parse(await readFile(join(out, 'waiting', 'run.json'), 'utf8'));
    expect(info).toMatchObject({ status: 'interrupted', exit: { code: 130 } });
    expect(info.updates).toBeGreaterThanOrEqual(2);
    const checkpoints = await readdir(join(out, 'waiting', 'checkpoints'));
    expect(checkpoints).toEqual([String(info.updates).padStart(6, '0')]);
    expect(run.printed()).not.toContain('RewardError');
    expect(run.printed()).not.toContain('reward "mine"');

    server.received.length = 0;
    server.answers = [refuses(503)];
    const early = start(...args, '--name', 'early');
    await waits(1);
    early.child.kill('SIGTERM');
    expect(await early.ended).toBe(143);
    expect(await readdir(out)).not.toContain('early');
  },
  300_000,
);
