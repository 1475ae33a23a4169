/**
 * TensorBoard's event files: TFRecords of `Event` messages of protocol buffers, both written by hand for the few fields that
 * scalars, histograms, pictures and texts have (tensorflow/core/util/event.proto, framework/summary.proto, lib/io/record_writer).
 */

/** A summary of one step. */
export interface SummaryValue {
  readonly tag: string;
  readonly value:
    | { readonly kind: 'scalar'; readonly scalar: number }
    | { readonly kind: 'histogram'; readonly values: readonly number[] }
    | { readonly kind: 'image'; readonly png: Uint8Array; readonly width: number; readonly height: number }
    | { readonly kind: 'text'; readonly text: string };
}

export type EventContent =
  | { readonly kind: 'version' }
  /** A writer begins. For every one but the first: values of this step and of later ones in the files before are done again. */
  | { readonly kind: 'start' }
  | { readonly kind: 'summary'; readonly values: readonly SummaryValue[] };

/** One event as a record of a file. `time` in seconds since 1970. */
export const eventRecord = (content: EventContent, { step, time }: { step: number; time: number }): Uint8Array =>
  record(join(double(1, time), int(2, step), contentOf(content)));

function contentOf(content: EventContent): Uint8Array {
  switch (content.kind) {
    case 'version':
      return text(3, 'brain.Event:2');
    case 'start':
      return bytes(7, int(1, 1)); // SessionLog.START
    case 'summary':
      return bytes(5, join(...content.values.map((value) => bytes(1, summaryValue(value)))));
  }
}

function summaryValue({ tag, value }: SummaryValue): Uint8Array {
  const name = text(1, tag);
  switch (value.kind) {
    case 'scalar':
      return join(name, float(2, value.scalar));
    case 'histogram':
      return join(name, bytes(5, histogram(value.values)));
    case 'image':
      return join(name, bytes(4, join(int(1, value.height), int(2, value.width), int(3, 3), bytes(4, value.png))));
    case 'text': {
      const metadata = bytes(9, bytes(1, text(1, 'text'))); // the plugin that shows it
      const shape = bytes(2, bytes(2, int(1, 1)));
      return join(name, bytes(8, join(int(1, 7), shape, text(8, value.text))), metadata); // 7: DT_STRING
    }
  }
}

const buckets = 30; // as TensorFlow's own summaries have

/** A HistogramProto of the finite ones of some values, in buckets of one width; of equal values there is one bucket. */
function histogram(all: readonly number[]): Uint8Array {
  const values = all.filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const count = high > low ? buckets : Math.min(1, values.length);
  const limits = Array.from({ length: count }, (_, i) =>
    i === count - 1 ? high : low + ((high - low) * (i + 1)) / count,
  );
  const counts = limits.map(() => 0);
  for (const value of values) {
    const bucket = high > low ? Math.floor((count * (value - low)) / (high - low)) : 0;
    counts[Math.min(bucket, count - 1)]!++;
  }
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  const [min, max] = values.length > 0 ? [low, high] : [0, 0];
  const packed = (field: number, list: readonly number[]): Uint8Array =>
    bytes(field, new Uint8Array(Float64Array.from(list).buffer)); // every platform of Node's is little-endian
  const moments = [min, max, values.length, sum, squares].map((value, i) => double(i + 1, value));
  return join(...moments, packed(6, limits), packed(7, counts));
}

/** A TFRecord: length, its checksum, data, their checksum. */
function record(data: Uint8Array): Uint8Array {
  const whole = new Uint8Array(16 + data.length);
  const view = new DataView(whole.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedChecksum(whole.subarray(0, 8)), true);
  whole.set(data, 12);
  view.setUint32(12 + data.length, maskedChecksum(data), true);
  return whole;
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1;
  return remainder;
});

/** CRC-32C (Castagnoli's polynomial), which Node's zlib does not have. */
export function crc32c(data: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of data) remainder = table[(remainder ^ byte) & 0xff]! ^ (remainder >>> 8);
  return ~remainder >>> 0;
}

/** As TFRecords have it: turned and shifted, so that a checksum of data with checksums in it is no worse. */
function maskedChecksum(data: Uint8Array): number {
  const sum = crc32c(data);
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

// Fields of protocol buffers: the number with the wire type, then the value.

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A whole number from 0 on, seven bits a byte, the lowest first. */
function varint(value: number): Uint8Array {
  const digits: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.of(...digits, rest);
    digits.push((rest % 128) | 128);
  }
}

const int = (field: number, value: number): Uint8Array => join(varint(8 * field), varint(value));

const bytes = (field: number, data: Uint8Array): Uint8Array => join(varint(8 * field + 2), varint(data.length), data);

const text = (field: number, value: string): Uint8Array => bytes(field, new TextEncoder().encode(value));

const double = (field: number, value: number): Uint8Array =>
  join(varint(8 * field + 1), new Uint8Array(Float64Array.of(value).buffer));

const float = (field: number, value: number): Uint8Array =>
  join(varint(8 * field + 5), new Uint8Array(Float32Array.of(value).buffer));
