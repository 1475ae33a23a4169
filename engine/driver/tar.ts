/** Reading the files out of a tar archive (POSIX ustar). */

export interface TarEntry {
  readonly name: string;
  readonly data: Uint8Array;
}

/** The regular files of an uncompressed archive, in order. Throws when the archive ends inside a file or a header is damaged. */
export function* readTar(archive: Uint8Array): Generator<TarEntry> {
  const block = 512;
  const text = (start: number, length: number): string =>
    Buffer.from(archive.subarray(start, start + length))
      .toString('latin1')
      .split('\0', 1)[0]!;
  for (let at = 0; at + block <= archive.length; ) {
    if (archive[at] === 0) return; // a block of zeros ends the archive
    const size = Number.parseInt(text(at + 124, 12), 8);
    if (Number.isNaN(size)) throw new Error(`tar: the header at byte ${at} is damaged`);
    const start = at + block;
    if (start + size > archive.length) throw new Error(`tar: the archive ends inside ${text(at, 100)}`);
    const kind = text(at + 156, 1);
    if (kind === '0' || kind === '') {
      const folder = text(at + 257, 5) === 'ustar' ? text(at + 345, 155) : '';
      yield {
        name: folder ? `${folder}/${text(at, 100)}` : text(at, 100),
        data: archive.subarray(start, start + size),
      };
    }
    at = start + Math.ceil(size / block) * block;
  }
}
