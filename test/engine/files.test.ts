/** Files: the system's own reasons, folders that are made, and the kind of a file by its first bytes. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FileError } from '../../engine/errors.js';
import { kindOf, kindOfFile } from '../../engine/file_kinds.js';
import { hashFile, makeFolder, reading, reasonOf, writeWhole, writing } from '../../engine/files.js';
import { packageRoot } from '../../engine/version.js';
import { encodePng } from '../../models/pictures/png.js';
import { temporaryFolder } from '../temporary.js';

const folder = temporaryFolder();
const at = (...names: string[]): string => join(folder, ...names);

test('a refusal has the reason and the code of the system, in reading as in writing', async () => {
  await writeFile(at('file'), 'x');
  await mkdir(at('directory', 'full'), { recursive: true });
  await symlink(at('loop'), at('loop'));
  const cases: [string, string][] = [
    [at('none'), 'no such file or folder'],
    [at('directory'), 'a folder, expected a file'],
    [at('file', 'below'), 'a part of its path is a file (ENOTDIR)'],
    [at('n'.repeat(300)), 'a name or the path is too long (ENAMETOOLONG)'],
    [at('loop'), 'too many links: they lead in a circle (ELOOP)'],
    [at('zero\0byte'), 'no name of a file: it holds a zero byte (ERR_INVALID_ARG_VALUE)'],
  ];
  for (const [path, reason] of cases) {
    const error = await reading(path, 'a text', () => readFile(path)).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(FileError);
    expect((error as Error).message).toBe(`${path}: ${reason}; expected a text`);
  }
  const refusal = (path: string) =>
    writeWhole(path, 'x').then(
      () => 'written',
      ({ message }: Error) => message,
    );
  expect(await refusal(at('directory'))).toMatch(/can't write .*directory: (a folder, expected a file|.*\(E[A-Z]+\))$/);
  expect(await refusal(at('file', 'below'))).toContain('a file, expected a folder (EEXIST)');
  expect(await refusal(at('n'.repeat(300)))).toContain('(ENAMETOOLONG)');
});

test('what is not the system goes on as it is', async () => {
  const own = new TypeError('a fault of ours');
  expect(reasonOf(own)).toBeUndefined();
  expect(reasonOf('text')).toBeUndefined();
  for (const run of [
    reading(at('x'), 'a text', () => Promise.reject(own)),
    writing(at('x'), () => Promise.reject(own)),
  ])
    await expect(run).rejects.toBe(own);
  expect(reasonOf(Object.assign(new Error('EXDEV: cross-device link'), { code: 'EXDEV' }))).toBe(
    'EXDEV: cross-device link (EXDEV)',
  );
});

test('folders are made with those above them; one that is there stays, and a file in the way is named', async () => {
  await makeFolder(at('a', 'b', 'c'));
  await Promise.all([1, 2, 3].map(() => makeFolder(at('p', 'q', 'r'))));
  await makeFolder(at('a', 'b'));
  await writeFile(at('a', 'file'), '');
  await expect(makeFolder(at('a', 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeFolder(at('a', 'file', 'x', 'y'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

test('a read-only file system is named as one, not as a missing folder', async ({ skip }) => {
  const script = `
    mount -t tmpfs none ${at('mount')} && mount -o remount,ro ${at('mount')} && node --input-type=module -e "
      const { makeFolder, reasonOf } = await (await import('vite')).runnerImport('./engine/files.ts', { configFile: false }).then(({ module }) => module);
      await makeFolder('${at('mount', 'runs', 'first')}').catch((error) => console.log(reasonOf(error)));"`;
  await mkdir(at('mount'));
  const run = promisify(execFile);
  const isolated = (command: string) => run('unshare', ['-rm', 'sh', '-c', command], { cwd: packageRoot() });
  const canMount = await isolated(`mount -t tmpfs none ${at('mount')}`).then(
    () => true,
    () => false,
  );
  if (!canMount) skip('mounting a file system');
  expect((await isolated(script)).stdout.trim()).toBe('the file system is read-only (EROFS)');
});

test('a folder that may not be entered is named so', async ({ skip }) => {
  if (process.getuid?.() === 0) skip('a user without all rights');
  await mkdir(at('closed'));
  await chmod(at('closed'), 0);
  await expect(reading(at('closed', 'x'), 'a text', () => open(at('closed', 'x')))).rejects.toThrow(
    'no permission (EACCES)',
  );
  await chmod(at('closed'), 0o700);
});

test('a file is known by its first bytes', async () => {
  const latin = (text: string): Uint8Array => Buffer.from(text, 'latin1');
  const safetensors = await readFile(join(packageRoot(), 'test/fixtures/loss.safetensors'));
  const cases: [string | undefined, Uint8Array][] = [
    ['an empty file', new Uint8Array()],
    ['a text file', latin('a red circle\n')],
    ['a text file', Buffer.from('\ufeffein Kreis, größer als \u{1f980}\n')],
    ['a text file', Buffer.from(`${'x'.repeat(511)}é`)],
    ['a JSON file', latin(' {"a": 1}')],
    ['an HTML page', latin('\n<!DOCTYPE html><html>')],
    ['an XML file', latin('<?xml version="1.0"?>')],
    ['a pointer of git-lfs', latin('version https://git-lfs.github.com/spec/v1\n')],
    ['a PNG picture', encodePng({ width: 1, height: 1, rgb: new Uint8Array(3) })],
    ['a zip file', latin('PK\x03\x04\x14\0')],
    ['a gzip file', gzipSync('x')],
    ['a pickle of Python', latin('\x80\x04\x95')],
    ['a safetensors file', safetensors],
    ['a file of zeros', new Uint8Array(1000)],
    [undefined, latin('\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0')],
    [undefined, latin('\xf0\xf1\xf2\xf3')],
  ];
  for (const [kind, bytes] of cases) {
    await writeFile(at('kind'), bytes);
    expect(kindOf(bytes), `${kind}`).toBe(kind);
    expect(await kindOfFile(at('kind'))).toBe(kind);
  }
  expect(await kindOfFile(at('nowhere'))).toBeUndefined();
});

test('a hash is that of the bytes', async () => {
  await writeFile(at('abc'), 'abc');
  expect(await hashFile(at('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
