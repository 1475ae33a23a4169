/** A reader of TensorBoard's event files, for the tests: checked records, messages by their field numbers, steps done again left out. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The bits of CRC-32C one by one, as its definition has them. */
function checksum(data: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of data) {
    remainder ^= byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0x82f63b78 : 0);
  }
  const sum = (remainder ^ 0xffffffff) >>> 0;
  return Number((((BigInt(sum) >> 15n) | (BigInt(sum) << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

/** The data of each whole record. A file may end in the middle of one; a checksum that is wrong is an error. */
export function readRecords(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at + 12 <= file.length; ) {
    if (view.getUint32(at + 8, true) !== checksum(file.subarray(at, at + 8))) throw new Error(`length at ${at}`);
    const end = at + 12 + Number(view.getBigUint64(at, true));
    if (end + 4 > file.length) break;
    const data = file.subarray(at + 12, end);
    if (view.getUint32(end, true) !== checksum(data)) throw new Error(`data at ${at}`);
    records.push(data);
    at = end + 4;
  }
  return records;
}

type Field = bigint | Uint8Array;

/** The fields of a message, by number, in order; fixed ones as their bytes. */
function fieldsOf(message: Uint8Array): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (count: number): Uint8Array => {
    if (at + count > message.length) throw new Error(`a field of ${count} bytes at ${at} of ${message.length}`);
    at += count;
    return message.slice(at - count, at);
  };
  while (at < message.length) {
    const key = varint();
    const [number, wire] = [Number(key >> 3n), Number(key & 7n)];
    const value = { 0: varint, 1: () => take(8), 2: () => take(Number(varint())), 5: () => take(4) }[wire];
    if (!value) throw new Error(`wire type ${wire}`);
    fields.set(number, [...(fields.get(number) ?? []), value()]);
  }
  return fields;
}

const bytesAt = (fields: Map<number, Field[]>, number: number): Uint8Array | undefined =>
  fields.get(number)?.[0] as Uint8Array | undefined;
const wholeAt = (fields: Map<number, Field[]>, number: number): number =>
  Number((fields.get(number)?.[0] as bigint) ?? 0n);
const doubles = (bytes: Uint8Array = new Uint8Array()): number[] => [...new Float64Array(bytes.slice().buffer)];
const words = (bytes: Uint8Array = new Uint8Array()): string => new TextDecoder().decode(bytes);

export type ReadValue =
  | { readonly scalar: number }
  | { readonly moments: readonly number[]; readonly limits: readonly number[]; readonly counts: readonly number[] }
  | { readonly png: Uint8Array; readonly width: number; readonly height: number }
  | { readonly text: string; readonly plugin: string };

/** Values of a tag by their steps. */
export type ReadTags = Record<string, { step: number; value: ReadValue }[]>;

function readValue(summary: Map<number, Field[]>): ReadValue {
  const [scalar, image, histogram, tensor] = [2, 4, 5, 8].map((number) => bytesAt(summary, number));
  if (scalar) return { scalar: new Float32Array(scalar.slice().buffer)[0]! };
  if (image) {
    const fields = fieldsOf(image);
    return { png: bytesAt(fields, 4)!, width: wholeAt(fields, 2), height: wholeAt(fields, 1) };
  }
  if (histogram) {
    const fields = fieldsOf(histogram);
    const moments = [1, 2, 3, 4, 5].map((number) => doubles(bytesAt(fields, number))[0]!);
    return { moments, limits: doubles(bytesAt(fields, 6)), counts: doubles(bytesAt(fields, 7)) };
  }
  const plugin = fieldsOf(bytesAt(fieldsOf(bytesAt(summary, 9)!), 1)!);
  return { text: words(bytesAt(fieldsOf(tensor!), 8)), plugin: words(bytesAt(plugin, 1)) };
}

/** What files hold, in their order: each start but the first takes back all values of its step and later ones, as TensorBoard has it. */
export function readTags(files: readonly Uint8Array[]): ReadTags {
  const tags: ReadTags = {};
  let hasStarted = false;
  for (const file of files) {
    const [head, ...events] = readRecords(file).map(fieldsOf);
    if (!head) continue;
    if (words(bytesAt(head, 3)) !== 'brain.Event:2') throw new Error('no version');
    for (const event of events) {
      const step = wholeAt(event, 2);
      const session = bytesAt(event, 7);
      if (session && wholeAt(fieldsOf(session), 1) === 1) {
        if (hasStarted) for (const tag of Object.keys(tags)) tags[tag] = tags[tag]!.filter((each) => each.step < step);
        hasStarted = true;
      }
      const summary = bytesAt(event, 5);
      for (const bytes of (summary ? (fieldsOf(summary).get(1) ?? []) : []) as Uint8Array[]) {
        const fields = fieldsOf(bytes);
        const tag = words(bytesAt(fields, 1));
        tags[tag] = [...(tags[tag] ?? []), { step, value: readValue(fields) }];
      }
    }
  }
  return tags;
}

/** The event files of a folder, in the order in which TensorBoard reads them. */
export async function eventFiles(folder: string): Promise<Uint8Array[]> {
  const names = (await readdir(folder)).filter((name) => name.includes('tfevents')).sort();
  return Promise.all(names.map(async (name) => new Uint8Array(await readFile(join(folder, name)))));
}
