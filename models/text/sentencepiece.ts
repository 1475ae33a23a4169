/** Reads SentencePiece models (spiece.model): protocol buffers that hold pieces with their scores. */

export interface Piece {
  readonly text: string;
  /** Logarithm of its probability. */
  readonly score: number;
  readonly kind: 'normal' | 'unknown' | 'control' | 'user defined' | 'unused' | 'byte';
}

/** What encoding needs of a model; a piece's id is its place. */
export interface SentencePieceModel {
  readonly pieces: readonly Piece[];
  readonly algorithm: 'unigram' | 'bpe' | 'word' | 'char';
  /** How text is normalised first: nmt_nfkc, nfkc, identity, or one of these with case folding (_cf). */
  readonly normalizer: string;
}

interface Field {
  readonly number: number;
  /** An integer, a float of 32 bits, or bytes. */
  readonly value: number | Uint8Array;
}

/** The fields of a message, in their order. Throws where it ends too early or is no message. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number): number => {
    if (count > bytes.length - at)
      throw new Error(`cut off: ${count} bytes expected at ${at}, ${bytes.length - at} left`);
    at += count;
    return at - count;
  };
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 10; shift++) {
      const byte = bytes[take(1)]!;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (byte < 0x80) return value;
    }
    throw new Error(`no integer ends within 10 bytes at ${at - 10}`);
  };
  while (at < bytes.length) {
    const key = varint();
    const [number, wire] = [Math.floor(key / 8), key % 8];
    if (wire === 0) yield { number, value: varint() };
    else if (wire === 1) yield { number, value: view.getFloat64(take(8), true) };
    else if (wire === 2) {
      const length = varint();
      const start = take(length);
      yield { number, value: bytes.subarray(start, start + length) };
    } else if (wire === 5) yield { number, value: view.getFloat32(take(4), true) };
    else throw new Error(`no SentencePiece model: a field of wire type ${wire} at ${at - 1}`);
  }
}

const kinds = ['normal', 'unknown', 'control', 'user defined', 'unused', 'byte'] as const;
const algorithms = ['unigram', 'bpe', 'word', 'char'] as const;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The value of a field that must be bytes. */
function bytesOf({ number, value }: Field): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new Error(`no SentencePiece model: field ${number} is a number, expected bytes`);
}

function readPiece(bytes: Uint8Array): Piece {
  let [text, score, kind] = ['', 0, 1];
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) text = utf8.decode(bytesOf(field));
    else if (field.number === 2) score = Number(field.value);
    else if (field.number === 3) kind = Number(field.value);
  }
  return { text, score, kind: kinds[kind - 1] ?? 'unused' };
}

/** Reads a model from its file's bytes. Throws an Error that says where the file is wrong. */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  let algorithm = 1;
  let normalizer = '';
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) pieces.push(readPiece(bytesOf(field)));
    else if (field.number === 2) {
      for (const inner of fieldsOf(bytesOf(field))) if (inner.number === 3) algorithm = Number(inner.value);
    } else if (field.number === 3) {
      for (const inner of fieldsOf(bytesOf(field))) if (inner.number === 1) normalizer = utf8.decode(bytesOf(inner));
    }
  }
  if (pieces.length === 0) throw new Error('no pieces');
  return { pieces, algorithm: algorithms[algorithm - 1] ?? 'char', normalizer };
}
