/** A file of lines that another process appends to: read from where the last reading ended, whole lines alone. */
import type { FileHandle } from 'node:fs/promises';
import { openInside } from '../../serve/inside.js';

const piece = 4 << 20;
const longest = 64 << 20; // a line beyond this is none of ours: it is passed over

export interface LineReaders {
  /** The file is not the one that was read before, or is shorter: everything is read again. */
  restart(): void;
  /** A whole line, without its end, and the byte that it begins at. */
  line(bytes: Buffer, at: number): void;
}

/** Reads a file of a run's folder as it grows. A file that was replaced or cut is read from its start. */
export class GrowingFile {
  /** Where the first line begins that is not read yet. */
  private offset = 0;
  private inode = 0;

  constructor(
    private readonly folder: string,
    private readonly name: string,
  ) {}

  /** Reads what is new; whether there was anything. Where the file is absent, nothing is. */
  async advance(readers: LineReaders): Promise<boolean> {
    const file = await openInside(this.folder, this.name);
    if (!file) return false;
    try {
      const { size, ino } = await file.stat();
      const isOther = this.inode !== 0 && (ino !== this.inode || size < this.offset);
      if (isOther) {
        this.offset = 0;
        readers.restart();
      }
      this.inode = ino;
      return (await this.readTo(file, size, readers)) || isOther;
    } finally {
      await file.close();
    }
  }

  private async readTo(file: FileHandle, size: number, { line }: LineReaders): Promise<boolean> {
    const before = this.offset;
    let length = piece;
    while (this.offset < size) {
      const wanted = Math.min(length, size - this.offset);
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, this.offset);
      let start = 0;
      for (let end = buffer.indexOf(10); end >= 0 && end < bytesRead; end = buffer.indexOf(10, start)) {
        line(buffer.subarray(start, end), this.offset + start);
        start = end + 1;
      }
      if (start === 0 && bytesRead < wanted) break; // cut while it was read
      if (start === 0 && this.offset + bytesRead >= size && bytesRead < longest) break; // the last line is still being written
      if (start === 0 && length < longest) length *= 2;
      else this.offset += start || bytesRead;
    }
    return this.offset > before;
  }
}

/** The object of a line of JSON; undefined for a line that is none, such as one that an interrupted write left. */
export function parseLine(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
