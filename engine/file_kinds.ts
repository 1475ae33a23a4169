/** What a file is by its first bytes: for messages that name the kind of a wrong one. */
import { open } from 'node:fs/promises';

/** Bytes that decide. */
const looked = 512;

/** What files of binary forms have at a place near their beginning, in Latin-1. */
const marks: readonly (readonly [kind: string, mark: string, offset?: number])[] = [
  ['a pointer of git-lfs', 'version https://git-lfs'],
  ['a PNG picture', '\x89PNG\r\n\x1a\n'],
  ['a JPEG picture', '\xff\xd8\xff'],
  ['a GIF picture', 'GIF8'],
  ['a WebP picture', 'WEBPVP8', 8],
  ['a zip file', 'PK\x03\x04'],
  ['a gzip file', '\x1f\x8b\x08'],
  ['a pickle of Python', '\x80\x02'],
  ['a pickle of Python', '\x80\x04'],
  ['a GGUF file', 'GGUF'],
  ['a PDF', '%PDF-'],
  ['an HDF5 file', '\x89HDF\r\n\x1a\n'],
  ['a safetensors file', '\0\0\0\0{', 4], // the header's length, below 4 GB, then the header
];

/** What texts begin with. */
const openings: readonly (readonly [kind: string, opening: RegExp])[] = [
  ['an HTML page', /^\s*<(!doctype html|html|head|body)\b/i],
  ['an XML file', /^\s*<\?xml\b/],
  ['a JSON file', /^\s*[{[]/],
  ['a text file', /^/],
];

/** The kind of a file by its first bytes, `a PNG picture`; binary data of no known form have none. */
export function kindOf(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return 'an empty file';
  const start = bytes.subarray(0, looked);
  const latin = Buffer.from(start).toString('latin1');
  const marked = marks.find(([, mark, offset = 0]) => latin.startsWith(mark, offset));
  if (marked) return marked[0];
  if (start.every((byte) => byte === 0)) return 'a file of zeros';
  const text = textOf(start);
  return text === undefined ? undefined : openings.find(([, opening]) => opening.test(text))?.[0];
}

/** Whether a kind is of those that a person writes by hand; what a program wrote has no prompts or configurations in it. */
export const isWritten = (kind: string | undefined): boolean =>
  kind === undefined || kind === 'a text file' || kind === 'a JSON file' || kind === 'an empty file';

/** What to do about a file of the wrong kind, where there is something. */
export const remedyOf = (kind: string): string =>
  kind === 'a pointer of git-lfs' ? ': run `git lfs pull` in its repository' : '';

/** The kind of the file at a path; undefined for one that can't be read. */
export async function kindOfFile(path: string): Promise<string | undefined> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(looked), 0, looked, 0);
      return kindOf(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}

/** Bytes of UTF-8 as a text; undefined for others, and where control codes are among them. A sequence cut at the end is no fault. */
function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.some((byte) => byte < 9 || (byte > 13 && byte < 27))) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return undefined;
  }
}
