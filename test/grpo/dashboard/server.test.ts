/** What the dashboard's server gives to whom: nothing outside a run, nothing to foreign names, nothing done without the token. */
import { appendFile, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Action, type Dashboard, type DashboardOptions, startDashboard } from '../../../grpo/dashboard/index.js';
import { isSameText } from '../../../grpo/serve/guard.js';
import { temporaryFolder } from '../../temporary.js';
import { ask } from '../http.js';
import { madeWorker, makeRun, metricsLine, writeWorkers } from './run_folder.js';

const folder = temporaryFolder();
const run = join(folder, 'runs', 'first');

beforeAll(async () => {
  await makeRun(run, { previews: true });
  await makeRun(join(folder, 'runs', 'second'));
  await writeFile(join(folder, 'secret.png'), 'secret');
  await writeFile(join(run, 'secret.png'), 'secret');
  await symlink('../../../secret.png', join(run, 'samples', '000007.png'));
});

async function start(options: Partial<DashboardOptions> = {}): Promise<Dashboard> {
  const dashboard = await startDashboard({ runs: [join(folder, 'runs')], port: 0, ...options });
  onTestFinished(() => dashboard.close());
  return dashboard;
}

test('the page and its parts are there, with headers that allow nothing inline and nothing from elsewhere', async () => {
  const dashboard = await start();
  for (const [path, type] of [
    ['/', 'text/html; charset=utf-8'],
    ['/?run=first', 'text/html; charset=utf-8'],
    ['/main.js', 'text/javascript; charset=utf-8'],
    ['/serve/page/style.css', 'text/css; charset=utf-8'],
    ['/vendor/uplot.js', 'text/javascript; charset=utf-8'],
    ['/vendor/uplot.css', 'text/css; charset=utf-8'],
    ['/api/runs/first/samples/000000.png', 'image/png'],
    ['/api/runs/first/previews/000003_0_1.png', 'image/png'],
    ['/api/runs', 'application/json'],
  ] as const) {
    const { status, headers } = await ask(dashboard, path);
    expect([path, status, headers['content-type']]).toEqual([path, 200, type]);
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['access-control-allow-origin']).toBeUndefined();
  }
  const page = await ask(dashboard, '/');
  expect(page.text).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|https?:/);
  const runs = JSON.parse((await ask(dashboard, '/api/runs')).text);
  expect(runs.map(({ id }: { id: string }) => id)).toEqual(['second', 'first']);
});

test('a picture that the browser has is not sent again', async () => {
  const dashboard = await start();
  const path = '/api/runs/first/samples/000000.png';
  const { headers } = await ask(dashboard, path);
  expect(await ask(dashboard, path, { 'if-none-match': headers.etag! })).toMatchObject({ status: 304, text: '' });
  expect(await ask(dashboard, path, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
});

test('no path leads out of a run, however it is written, nor to a file that is not shown', async () => {
  const dashboard = await start();
  for (const path of [
    '/../secret.png',
    '/%2e%2e/secret.png',
    '/..%2fsecret.png',
    '/..%5csecret.png',
    '//etc/passwd',
    '/vendor/../../../package.json',
    '/package.json',
    '/api/runs/..',
    '/api/runs/%2e%2e',
    '/api/runs/%2e%2e%2f',
    '/api/runs/first/samples/../secret.png',
    '/api/runs/first/samples/..%2fsecret.png',
    '/api/runs/first/samples/%2e%2e%2fsecret.png',
    '/api/runs/first/samples/..%5csecret.png',
    '/api/runs/first/samples/%252e%252e%252fsecret.png',
    '/api/runs/first/samples/000000.png%00.txt',
    '/api/runs/first/samples/000000.png/x',
    '/api/runs/first/samples/000007.png', // a link out of the run
    '/api/runs/first/secret.png',
    '/api/runs/first/constructor/000000.png',
    '/api/runs/first/__proto__/000000.png',
    '/api/runs/first/checkpoints/000000.png',
    '/api/runs/first/groups/-1',
    '/api/runs/first/groups/1e9',
    '/api/runs/%2fetc',
    '/api/runs/__proto__',
  ]) {
    const { status, text } = await ask(dashboard, path);
    expect([path, status >= 400 && status < 500], text).toEqual([path, true]);
    expect(text).not.toContain('secret');
  }
  expect((await ask(dashboard, '/api/runs/%ff')).status).toBe(400);
});

test('a folder of samples that is a link out of the run has no samples', async () => {
  const other = join(folder, 'runs', 'linked');
  await makeRun(other);
  await rm(join(other, 'samples'), { recursive: true });
  await symlink('../first/samples', join(other, 'samples'));
  await rm(join(other, 'log.txt'));
  await symlink('../../secret.png', join(other, 'log.txt'));
  onTestFinished(() => rm(other, { recursive: true }));
  const dashboard = await start();
  const { summary } = JSON.parse((await ask(dashboard, '/api/runs/linked')).text);
  expect([summary.samples, summary.log]).toEqual([[], []]);
  expect((await ask(dashboard, '/api/runs/linked/samples/000000.png')).status).toBe(404);
});

test('a request by a foreign name is refused: DNS may have led it here', async () => {
  const dashboard = await start();
  for (const host of [
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1',
  ])
    expect([host, (await ask(dashboard, '/api/runs', { host })).status]).toEqual([host, 421]);
  for (const host of [`127.0.0.1:${dashboard.port}`, 'localhost', 'LOCALHOST:1', '[::1]:8674'])
    expect([host, (await ask(dashboard, '/api/runs', { host })).status]).toEqual([host, 200]);
});

describe('buttons', () => {
  const acted: Action[] = [];
  const live = { folder: run, act: (action: Action) => void acted.push(action) };

  test('act with the token in its header alone', async () => {
    const dashboard = await start({ live });
    const { token, header } = JSON.parse((await ask(dashboard, '/api/session')).text);
    const post = async (path: string, headers: Record<string, string> = {}) =>
      (await ask(dashboard, path, { method: 'POST', ...headers })).status;
    expect(await post('/api/runs/first/stop')).toBe(403);
    expect(await post(`/api/runs/first/stop?token=${token}`)).toBe(403);
    expect(await post('/api/runs/first/stop', { [header]: `${token}x` })).toBe(403);
    expect(await post('/api/runs/first/stop', { [header]: '' })).toBe(403);
    expect(await post('/api/runs/first/stop', { cookie: `winnow_${dashboard.port}=${token}` })).toBe(403);
    expect(await post('/api/runs/second/stop', { [header]: token })).toBe(409);
    expect(await post('/api/runs/first/delete', { [header]: token })).toBe(404);
    expect(await post('/api/runs/first/stop', { [header]: token, host: 'evil.example' })).toBe(421);
    expect((await ask(dashboard, '/api/runs/first/stop', { [header]: token })).status).toBe(404);
    expect((await ask(dashboard, '/', { method: 'PUT' })).status).toBe(405);
    expect(acted).toEqual([]);
    expect(await post('/api/runs/first/save', { [header]: token })).toBe(202);
    expect(await post('/api/runs/first/stop', { [header]: token })).toBe(202);
    expect(acted).toEqual(['save', 'stop']);
  });

  test('are not there with --read-only, and their token is not told', async () => {
    const dashboard = await start({ live, readOnly: true });
    expect(JSON.parse((await ask(dashboard, '/api/session')).text)).toEqual({ actions: [] });
    expect((await ask(dashboard, '/api/runs/first/stop', { method: 'POST', 'x-winnow-token': 'x' })).status).toBe(404);
  });
});

test('a host beyond loopback demands a token, of every request, which a cookie stands for', async () => {
  for (const host of ['0.0.0.0', '::', '192.168.1.2', 'example.org'])
    await expect(startDashboard({ runs: [folder], host, port: 0 })).rejects.toThrow(/--token/);
  const dashboard = await start({ host: '0.0.0.0', token: 'a secret' });
  expect(dashboard.url).toContain('token=a+secret');
  for (const path of ['/', '/main.js', '/api/runs', '/api/session', '/api/runs?token=wrong'])
    expect([path, (await ask(dashboard, path)).status]).toEqual([path, 401]);
  const opened = await ask(dashboard, '/?token=a+secret&run=first');
  expect(opened).toMatchObject({ status: 303, headers: { location: '/?run=first' } });
  const [cookie] = opened.headers['set-cookie']!;
  expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Strict/);
  expect((await ask(dashboard, '/api/runs', { cookie: `x=y; ${cookie!.split(';')[0]}` })).status).toBe(200);
  expect(
    (await ask(dashboard, '/api/runs', { cookie: cookie!.replace('secret', 'guess').split(';')[0]! })).status,
  ).toBe(401);
  expect((await ask(dashboard, '/api/runs', { host: 'evil.example', 'x-winnow-token': 'a secret' })).status).toBe(421);
});

test('texts are compared whole', () => {
  expect(['', 'a', 'ab', 'abcd', 'abc'].map((text) => isSameText(text, 'abc'))).toEqual([
    false,
    false,
    false,
    false,
    true,
  ]);
});

test('a taken port gives a free one, and what is no run is refused', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await new Promise((done) => taken.once('listening', done));
  const { port } = taken.address() as { port: number };
  const dashboard = await start({ port });
  expect(dashboard.port).not.toBe(port);
  expect(dashboard.url).toBe(`http://127.0.0.1:${dashboard.port}`);
  await expect(startDashboard({ runs: [join(folder, 'none')] })).rejects.toThrow(/none: expected the folder of a run/);
});

test('runs that are given are opened side by side, and names that two have are told apart', async () => {
  await makeRun(join(folder, 'other', 'first'));
  const dashboard = await start({ runs: [run, join(folder, 'other', 'first')] });
  expect(new URL(dashboard.url).searchParams.getAll('run')).toEqual(['first', 'first~2']);
  expect((await ask(dashboard, '/api/runs/first~2')).status).toBe(200);
});

/** Reads a stream of events until some have come. */
async function eventsFrom(dashboard: Dashboard, path: string, enough: (events: readonly string[]) => boolean) {
  const response = await fetch(`http://127.0.0.1:${dashboard.port}${path}`);
  const events: string[] = [];
  let text = '';
  const decoder = new TextDecoder();
  for await (const piece of response.body!) {
    text += decoder.decode(piece, { stream: true });
    const whole = text.split('\n\n');
    text = whole.pop()!;
    events.push(...whole.filter((event) => event.startsWith('event:')));
    if (enough(events)) return events;
  }
  return events;
}

test('what is new comes as an event: rows, then that a run is gone, while another page asks as well', async () => {
  const growing = join(folder, 'growing');
  await makeRun(growing);
  const dashboard = await start({ runs: [growing] });
  await ask(dashboard, '/api/runs/growing');
  const heard = eventsFrom(dashboard, '/api/events?run=growing&run=none', (events) =>
    events.some((e) => e.includes('"gone":true')),
  );
  await new Promise((done) => setTimeout(done, 100));
  await appendFile(join(growing, 'metrics.jsonl'), metricsLine(4));
  await ask(dashboard, '/api/runs/growing'); // has the feed read it first
  await new Promise((done) => setTimeout(done, 800));
  await rm(growing, { recursive: true });
  const events = await heard;
  expect(events[0]).toBe('event: hello\ndata: {}');
  const rows = events.find((event) => event.startsWith('event: metrics'))!;
  expect(JSON.parse(rows.split('data: ')[1]!)).toMatchObject({
    run: 'growing',
    from: 3,
    columns: { 'x/update': [4], reward: [1.04] },
  });
  expect((await ask(dashboard, '/api/runs/growing')).status).toBe(200);
});

test('workers come with a run, and as an event when something of them changes', async () => {
  const path = join(folder, 'worked');
  await makeRun(path);
  const dashboard = await start({ runs: [path] });
  expect(JSON.parse((await ask(dashboard, '/api/runs/worked')).text)).not.toHaveProperty('workers');
  const heard = eventsFrom(dashboard, '/api/events?run=worked', (events) =>
    events.some((event) => event.startsWith('event: workers')),
  );
  await new Promise((done) => setTimeout(done, 100));
  const seen = new Date(Date.now() - 60_000).toISOString();
  await writeWorkers(path, [madeWorker({ name: 'a:1', state: 'left', groups: 5, seen })]);
  const event = (await heard).find((each) => each.startsWith('event: workers'))!;
  const { run: id, workers } = JSON.parse(event.split('data: ')[1]!);
  const { ago, ...worker } = workers.workers[0];
  expect([id, workers.server]).toEqual(['worked', 'redis://queue.example:6379']);
  expect(worker).toEqual({ name: 'a:1', adapter: 'an adapter', state: 'left', groups: 5 });
  expect(Math.abs(ago - 62)).toBeLessThan(3);
  const whole = JSON.parse((await ask(dashboard, '/api/runs/worked')).text);
  expect(whole.workers.workers[0]).toMatchObject(worker);
});

test('a run that begins while it is watched is in the list', async () => {
  await mkdir(join(folder, 'empty'));
  const dashboard = await start({ runs: [join(folder, 'empty')] });
  expect(JSON.parse((await ask(dashboard, '/api/runs')).text)).toEqual([]);
  await makeRun(join(folder, 'empty', 'new'));
  expect(JSON.parse((await ask(dashboard, '/api/runs')).text)).toMatchObject([{ id: 'new', status: 'done' }]);
});
