/** The members of a zip archive that stores them uncompressed, as torch.save does, also of one above 4 GiB. */

/** Bytes of the archive, from `start`. */
export type ReadRange = (start: number, bytes: number) => Promise<Uint8Array>;

export interface ZipMember {
  readonly name: string;
  readonly bytes: number;
  /** Where its local header begins; the data follow it. */
  readonly header: number;
  /** How it is compressed; 0 means that it is stored as it is. */
  readonly method: number;
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** Whether a file begins as a zip archive does. */
export const isZip = (start: Uint8Array): boolean =>
  Buffer.from(start.subarray(0, 4)).toString('latin1') === 'PK\x03\x04';

const full = 0xffffffff; // a field whose value stands in a 64-bit one instead

/** The archive's list of members. Throws where there is none: a file cut short has lost it, as it stands at the end. */
export async function zipMembers(read: ReadRange, size: number): Promise<ZipMember[]> {
  const tailStart = Math.max(0, size - 22 - 0xffff - 20); // the end's record, its comment, and the locator of the 64-bit one
  const tail = await read(tailStart, size - tailStart);
  const view = viewOf(tail);
  let end = tail.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error('no list of members at its end: the file is cut short');
  let [bytes, start] = [view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  if (end >= 20 && view.getUint32(end - 20, true) === 0x07064b50) {
    const record = viewOf(await read(Number(view.getBigUint64(end - 12, true)), 56));
    [bytes, start] = [Number(record.getBigUint64(40, true)), Number(record.getBigUint64(48, true))];
  }
  if (start + bytes > size) throw new Error(`its list of members is at byte ${start}, beyond its ${size}`);
  const list = await read(start, bytes);
  const members: ZipMember[] = [];
  for (let at = 0; at + 46 <= list.length; ) {
    const entry = viewOf(list.subarray(at));
    if (entry.getUint32(0, true) !== 0x02014b50)
      throw new Error(`its list of members is damaged at byte ${start + at}`);
    const [name, extra, comment] = [28, 30, 32].map((offset) => entry.getUint16(offset, true)) as [
      number,
      number,
      number,
    ];
    const wide = wideValues(list.subarray(at + 46 + name, at + 46 + name + extra));
    const packed = entry.getUint32(20, true);
    const plain = entry.getUint32(24, true);
    const header = entry.getUint32(42, true);
    // The format lists the values in this order, and only those that a field needs.
    const size64 = plain === full ? wide.shift() : plain;
    if (packed === full) wide.shift();
    const header64 = header === full ? wide.shift() : header;
    if (size64 === undefined || header64 === undefined)
      throw new Error(`a 64-bit field is missing at byte ${start + at}`);
    const text = new TextDecoder().decode(list.subarray(at + 46, at + 46 + name));
    members.push({ name: text, bytes: size64, header: header64, method: entry.getUint16(10, true) });
    at += 46 + name + extra + comment;
  }
  return members;
}

/** The 64-bit values of an entry's extra fields. */
function wideValues(extra: Uint8Array): number[] {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const [id, bytes] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (id === 1) return Array.from({ length: bytes >> 3 }, (_, i) => Number(view.getBigUint64(at + 4 + 8 * i, true)));
    at += 4 + bytes;
  }
  return [];
}

/** Where a member's data begin: its local header has names and extras of its own length. */
export async function dataStart(read: ReadRange, { header }: ZipMember): Promise<number> {
  const view = viewOf(await read(header, 30));
  if (view.getUint32(0, true) !== 0x04034b50) throw new Error(`no member begins at byte ${header}`);
  return header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
}
