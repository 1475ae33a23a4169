import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { readTar } from '../../../engine/driver/tar.js';
import {
  isMissing,
  lacksVulkanLoader,
  lastLines,
  provideVulkan,
  swiftShaderFolder,
  tuneSoftwareDrivers,
} from '../../../engine/driver/vulkan.js';
import {
  aptRecipe,
  installHint,
  type OsRelease,
  parseOsRelease,
  suiteSource,
} from '../../../engine/driver/vulkan_packages.js';

afterEach(() => vi.unstubAllEnvs());

const bookworm = parseOsRelease(
  'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n# text\nVERSION_ID="12"\nID=debian\nVERSION_CODENAME=bookworm\n',
);

test('os-release values are read with and without quotes', () => {
  expect(bookworm).toEqual({
    PRETTY_NAME: 'Debian GNU/Linux 12 (bookworm)',
    VERSION_ID: '12',
    ID: 'debian',
    VERSION_CODENAME: 'bookworm',
  });
  expect(parseOsRelease("ID='arch'\nEMPTY=\n")).toEqual({ ID: 'arch', EMPTY: '' });
});

test('Debian 12 needs its backports, later releases do not, older and other systems have no recipe', () => {
  const packages = ['mesa-vulkan-drivers', 'libvulkan1'];
  expect(aptRecipe(bookworm)).toEqual({ packages, suite: 'bookworm-backports' });
  const recent: OsRelease[] = [
    { ID: 'debian', VERSION_ID: '13' },
    { ID: 'debian', VERSION_CODENAME: 'sid' },
    { ID: 'ubuntu', VERSION_ID: '24.04' },
  ];
  for (const os of recent) expect(aptRecipe(os)).toEqual({ packages });
  const others: OsRelease[] = [
    { ID: 'debian', VERSION_ID: '11' },
    { ID: 'ubuntu', VERSION_ID: '22.04' },
    { ID: 'fedora', VERSION_ID: '43' },
    {},
  ];
  for (const os of others) expect(aptRecipe(os)).toBeUndefined();
});

test('the backports source copies the mirror and the key of the source in use', () => {
  const deb822 = `Types: deb
# a snapshot
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`;
  const source = (files: Record<string, string>) => suiteSource('bookworm-backports', new Map(Object.entries(files)));
  expect(source({ 'x.list': 'deb http://other.example stable main\n', 'debian.sources': deb822 })).toEqual({
    text: `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
    extension: 'sources',
  });
  const list =
    '# deb http://no.example/debian bookworm main\ndeb [arch=amd64] http://mirror.example/debian bookworm main contrib\n';
  expect(source({ 'sources.list': list })).toEqual({
    text: 'deb [arch=amd64] http://mirror.example/debian bookworm-backports main\n',
    extension: 'list',
  });
  expect(
    source({ 'sources.list': `${list}deb http://mirror.example/debian bookworm-backports main\n` }),
  ).toBeUndefined();
  expect(
    source({ 'sources.list': `${list}# deb http://mirror.example/debian bookworm-backports main\n` }),
  ).toBeDefined();
  expect(() => source({})).toThrow('apt has no source of bookworm that bookworm-backports could be read from');
});

test('the hint names the packages of the system, or of all when it is unknown', () => {
  expect(installHint('linux', bookworm)).toContain('apt install -t bookworm-backports mesa-vulkan-drivers libvulkan1');
  expect(installHint('linux', { ID: 'linuxmint', ID_LIKE: 'ubuntu debian' })).toMatch(
    /apt install mesa-vulkan-drivers libvulkan1$/,
  );
  expect(installHint('linux', { ID: 'fedora' })).toMatch(/dnf install mesa-vulkan-drivers vulkan-loader$/);
  const unknown = installHint('linux', {});
  for (const word of ['apt install', 'dnf install', 'pacman -S vulkan-swrast vulkan-icd-loader'])
    expect(unknown).toContain(word);
  expect(installHint('darwin', {})).toContain('Metal');
  expect(installHint('win32', {})).toContain('Direct3D 12');
});

/** An archive of ustar entries, as tar writes them. */
function makeTar(entries: readonly { name: string; folder?: string; kind?: string; data: string }[]): Uint8Array {
  const blocks = entries.flatMap(({ name, folder = '', kind = '0', data }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(`${data.length.toString(8).padStart(11, '0')} `, 124);
    header.write(kind, 156);
    header.write('ustar', 257);
    header.write(folder, 345);
    const body = Buffer.alloc(Math.ceil(data.length / 512) * 512);
    body.write(data);
    return [header, body];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

test('a tar archive gives its files, not its folders, links and extended headers', () => {
  const long = 'x'.repeat(700);
  const archive = makeTar([
    { name: 'bin/', kind: '5', data: '' },
    { name: 'PaxHeader', kind: 'x', data: '11 path=a\n' },
    { name: 'a.so', folder: 'package/bin', data: long },
    { name: 'empty', data: '' },
    { name: 'link', kind: '2', data: '' },
    { name: 'b.json', data: '{}' },
  ]);
  const files = [...readTar(archive)].map(({ name, data }) => [name, Buffer.from(data).toString()]);
  expect(files).toEqual([
    ['package/bin/a.so', long],
    ['empty', ''],
    ['b.json', '{}'],
  ]);
  expect(() => [...readTar(makeTar([{ name: 'cut', data: long }]).subarray(0, 1024))]).toThrow('ends inside cut');
});

test("the message keeps the last telling lines of a program's output", () => {
  expect(
    lastLines(
      'one\n\n two \nnpm error\nnpm error code E404\nnpm error A complete log of this run can be found in: x\n',
      2,
    ),
  ).toBe('two | code E404');
  expect(lastLines('\n')).toBe('no output');
});

test.runIf(process.platform === 'linux')('a library is missing by its name, unless it is there or broken', () => {
  expect(isMissing('libc.so.6')).toBe(false);
  expect(isMissing('libwinnow-has-none.so.1')).toBe(true);
  const broken = join(mkdtempSync(join(tmpdir(), 'winnow-test-')), 'broken.so');
  writeFileSync(broken, '');
  expect(isMissing(broken)).toBe(false);
  rmSync(join(broken, '..'), { recursive: true });
  expect(lacksVulkanLoader()).toBe(isMissing('libvulkan.so.1'));
});

test('the cache folder follows XDG_CACHE_HOME', () => {
  expect(swiftShaderFolder({ XDG_CACHE_HOME: '/cache' })).toMatch(/^.cache.winnow.swiftshader-[\d.]+$/);
  expect(swiftShaderFolder({})).toMatch(/\.cache.winnow.swiftshader-[\d.]+$/);
});

test.runIf(process.platform === 'linux')('WINNOW_NO_INSTALL=1 provides nothing and says what to install', async () => {
  const cache = mkdtempSync(join(tmpdir(), 'winnow-test-'));
  vi.stubEnv('WINNOW_NO_INSTALL', '1');
  vi.stubEnv('XDG_CACHE_HOME', cache);
  const lines: string[] = [];
  try {
    const nothing = await provideVulkan((line) => lines.push(line));
    expect(nothing).toEqual({
      ok: false,
      message: expect.stringMatching(/^WINNOW_NO_INSTALL=1 .*Linux needs a Vulkan driver/),
    });

    mkdirSync(swiftShaderFolder(), { recursive: true });
    writeFileSync(join(swiftShaderFolder(), 'libvk_swiftshader.so'), '');
    const damaged = await provideVulkan((line) => lines.push(line));
    expect(damaged).toEqual({
      ok: false,
      message: expect.stringContaining('libvulkan.so.1 is missing; delete the folder'),
    });
    expect(lines).toEqual([]);
  } finally {
    rmSync(cache, { recursive: true });
  }
});

test('the number of threads of lavapipe is set unless the user has set it', () => {
  vi.stubEnv('LP_NUM_THREADS', '3');
  tuneSoftwareDrivers();
  expect(process.env.LP_NUM_THREADS).toBe('3');
  vi.stubEnv('LP_NUM_THREADS', undefined);
  tuneSoftwareDrivers();
  expect(Number(process.env.LP_NUM_THREADS)).toBeGreaterThanOrEqual(2);
});
