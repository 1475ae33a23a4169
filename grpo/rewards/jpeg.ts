/**
 * A baseline JPEG encoder that writes the same bytes as libjpeg with its defaults, which Pillow has too: standard tables
 * scaled by the quality, chroma halved both ways, the accurate integer transform. (ITU T.81; IJG's libjpeg.)
 */

/** 8-bit RGB, row by row. */
export interface JpegInput {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

// T.81, annex K: quantisation at quality 50, by rows.
const luminance = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];
const chrominance = [
  17,
  18,
  24,
  47,
  99,
  99,
  99,
  99,
  18,
  21,
  26,
  66,
  99,
  99,
  99,
  99,
  24,
  26,
  56,
  99,
  99,
  99,
  99,
  99,
  47,
  66,
  99,
  99,
  99,
  99,
  99,
  99,
  ...Array<number>(32).fill(99),
];

/** A Huffman code as the file has it: how many codes of each length from 1 to 16, then their symbols. */
interface HuffmanTable {
  readonly counts: readonly number[];
  readonly symbols: readonly number[];
}

const bytesOf = (hex: string): number[] => Array.from(Buffer.from(hex, 'hex'));
const dcSymbols = Array.from({ length: 12 }, (_, i) => i);
const dcTables: readonly HuffmanTable[] = [
  { counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: dcSymbols },
  { counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: dcSymbols },
];
const acTables: readonly HuffmanTable[] = [
  {
    counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125],
    symbols: bytesOf(
      '01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a43' +
        '4445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2' +
        'b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa',
    ),
  },
  {
    counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119],
    symbols: bytesOf(
      '000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a' +
        '434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9' +
        'aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa',
    ),
  },
];

/** Places in a block, by frequency along its diagonals. */
const zigzag = Array.from({ length: 64 }, (_, i) => i).sort((a, b) => {
  const [diagonalA, diagonalB] = [(a >> 3) + (a & 7), (b >> 3) + (b & 7)];
  return diagonalA - diagonalB || (diagonalA % 2 === 0 ? b - a : a - b);
});

/** A table at a quality from 50 to 100. */
const scaled = (table: readonly number[], quality: number): number[] =>
  table.map((value) => Math.min(255, Math.max(1, Math.floor((value * (200 - 2 * quality) + 50) / 100))));

/** The code of each symbol, and how many bits it has. */
function codesOf({ counts, symbols }: HuffmanTable): { readonly code: Uint16Array; readonly length: Uint8Array } {
  const [code, length] = [new Uint16Array(256), new Uint8Array(256)];
  let next = 0;
  let k = 0;
  counts.forEach((count, i) => {
    for (let j = 0; j < count; j++, k++) {
      code[symbols[k]!] = next++;
      length[symbols[k]!] = i + 1;
    }
    next <<= 1;
  });
  return { code, length };
}

const dcCodes = dcTables.map(codesOf);
const acCodes = acTables.map(codesOf);

/** Bits into bytes, with the zero that follows each 0xff. */
class BitWriter {
  readonly bytes: number[] = [];
  private pending = 0;
  private count = 0;

  write(value: number, bits: number): void {
    for (let bit = bits - 1; bit >= 0; bit--) {
      this.pending = (this.pending << 1) | ((value >> bit) & 1);
      if (++this.count < 8) continue;
      this.bytes.push(this.pending);
      if (this.pending === 0xff) this.bytes.push(0);
      this.pending = this.count = 0;
    }
  }

  /** Fills the last byte with ones. */
  finish(): void {
    if (this.count > 0) this.write(0x7f, 8 - this.count);
  }
}

/** One component: its samples less 128, whole blocks wide and high as the file has them. */
interface Plane {
  readonly width: number;
  readonly samples: Int16Array;
  /** Blocks across and down that hold samples; those beyond in the last units are empty. */
  readonly columns: number;
  readonly rows: number;
  readonly divisors: readonly number[];
  /** Which of the Huffman tables it takes. */
  readonly table: 0 | 1;
  /** Blocks of a unit, across and down. */
  readonly sampling: 1 | 2;
}

/** A component at full resolution: 16-bit fixed point, in libjpeg's rounding. */
const components: readonly ((r: number, g: number, b: number) => number)[] = [
  (r, g, b) => (19595 * r + 38470 * g + 7471 * b + 32768) >> 16,
  (r, g, b) => (-11059 * r - 21709 * g + 32768 * b + 8421375) >> 16,
  (r, g, b) => (32768 * r - 27439 * g - 5329 * b + 8421375) >> 16,
];

/** Luma (component 0) as it is, chroma averaged over 2 x 2. Beyond the edges the last samples repeat. */
function planeOf({ rgb, width, height }: JpegInput, component: 0 | 1 | 2, quality: number): Plane {
  const step = component === 0 ? 1 : 2;
  const convert = components[component]!;
  const at = (x: number, y: number): number => {
    const i = 3 * (Math.min(y, height - 1) * width + Math.min(x, width - 1));
    return convert(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!);
  };
  const last = Math.ceil(height / step) - 1;
  const [columns, rows] = [Math.ceil(width / (8 * step)), Math.ceil((last + 1) / 8)];
  const samples = new Int16Array(64 * columns * rows);
  for (let y = 0; y < 8 * rows; y++) {
    const v = step * Math.min(y, last);
    for (let x = 0; x < 8 * columns; x++) {
      const u = step * x;
      const value =
        step === 1 ? at(u, v) : (at(u, v) + at(u + 1, v) + at(u, v + 1) + at(u + 1, v + 1) + 1 + (x & 1)) >> 2;
      samples[y * 8 * columns + x] = value - 128;
    }
  }
  const divisors = scaled(component === 0 ? luminance : chrominance, quality).map((value) => 8 * value);
  return {
    width: 8 * columns,
    samples,
    columns,
    rows,
    divisors,
    table: step === 1 ? 0 : 1,
    sampling: step === 1 ? 2 : 1,
  };
}

const fixed = (value: number): number => Math.round(value * 8192);
const [c0298, c0390, c0541, c0765, c0899, c1175, c1501, c1847, c1961, c2053, c2562, c3072] = [
  0.298631336, 0.390180644, 0.5411961, 0.765366865, 0.899976223, 1.175875602, 1.50132111, 1.847759065, 1.96157056,
  2.053119869, 2.562915447, 3.072711026,
].map(fixed) as [number, number, number, number, number, number, number, number, number, number, number, number];

/**
 * Transforms one line of 8 values, `stride` apart, in place (Loeffler, Ligtenberg and Moschytz 1989). `even` and `odd` are
 * the bits that the results lose, `even` gains them where it is negative.
 */
function transformLine(block: Int32Array, start: number, stride: number, even: number, odd: number): void {
  const at = (i: number): number => block[start + i * stride]!;
  const [s0, s1, s2, s3] = [at(0) + at(7), at(1) + at(6), at(2) + at(5), at(3) + at(4)];
  const [d0, d1, d2, d3] = [at(0) - at(7), at(1) - at(6), at(2) - at(5), at(3) - at(4)];
  const descale = (value: number): number => (value + (1 << (odd - 1))) >> odd;
  const put = (i: number, value: number): void => {
    block[start + i * stride] = value;
  };
  const plain = (value: number): number => (even < 0 ? value << -even : (value + (1 << (even - 1))) >> even);
  const [a, b, c, d] = [s0 + s3, s1 + s2, s1 - s2, s0 - s3];
  put(0, plain(a + b));
  put(4, plain(a - b));
  const e = (c + d) * c0541;
  put(2, descale(e + d * c0765));
  put(6, descale(e - c * c1847));
  const z5 = (d3 + d1 + d2 + d0) * c1175;
  const [z1, z2] = [-(d3 + d0) * c0899, -(d2 + d1) * c2562];
  const [z3, z4] = [-(d3 + d1) * c1961 + z5, -(d2 + d0) * c0390 + z5];
  put(7, descale(d3 * c0298 + z1 + z3));
  put(5, descale(d2 * c2053 + z2 + z4));
  put(3, descale(d1 * c3072 + z2 + z3));
  put(1, descale(d0 * c1501 + z1 + z4));
}

/** The block's coefficients, quantised, in zigzag order. */
function blockOf({ samples, width, divisors }: Plane, column: number, row: number): Int32Array {
  const block = new Int32Array(64);
  for (let y = 0; y < 8; y++)
    for (let x = 0; x < 8; x++) block[8 * y + x] = samples[(8 * row + y) * width + 8 * column + x]!;
  for (let y = 0; y < 8; y++) transformLine(block, 8 * y, 1, -2, 11); // two bits more for the columns
  for (let x = 0; x < 8; x++) transformLine(block, x, 8, 2, 15);
  return Int32Array.from(zigzag, (place) => {
    const [value, divisor] = [block[place]!, divisors[place]!];
    return Math.sign(value) * Math.floor((Math.abs(value) + (divisor >> 1)) / divisor);
  });
}

/** Bits of a number's size, and the number as the file has it: negative ones less one, in so many bits. */
const categoryOf = (value: number): number => 32 - Math.clz32(Math.abs(value));

function writeValue(bits: BitWriter, value: number, category: number): void {
  bits.write(value < 0 ? value - 1 : value, category);
}

/** A block: its difference from the last mean, then runs of zeros, each with the value that ends it. */
function writeBlock(bits: BitWriter, block: Int32Array, previous: number, table: 0 | 1): void {
  const [dc, ac] = [dcCodes[table]!, acCodes[table]!];
  const difference = block[0]! - previous;
  const category = categoryOf(difference);
  bits.write(dc.code[category]!, dc.length[category]!);
  writeValue(bits, difference, category);
  let run = 0;
  for (let k = 1; k < 64; k++) {
    const value = block[k]!;
    if (value === 0) {
      run++;
      continue;
    }
    for (; run > 15; run -= 16) bits.write(ac.code[0xf0]!, ac.length[0xf0]!);
    const size = categoryOf(value);
    bits.write(ac.code[16 * run + size]!, ac.length[16 * run + size]!);
    writeValue(bits, value, size);
    run = 0;
  }
  if (run > 0) bits.write(ac.code[0]!, ac.length[0]!);
}

/** A marker, and the length of what follows it. */
const segment = (marker: number, bytes: readonly number[]): number[] => [
  0xff,
  marker,
  ...word(bytes.length + 2),
  ...bytes,
];
const word = (value: number): number[] => [value >> 8, value & 255];

/** The bytes of a JPEG file. `quality` is from 50 to 100. */
export function encodeJpeg(image: JpegInput, quality: number): Uint8Array {
  const { width, height } = image;
  const planes = ([0, 1, 2] as const).map((component) => planeOf(image, component, quality));
  const bits = new BitWriter();
  const means = [0, 0, 0];
  for (let row = 0; row < Math.ceil(height / 16); row++) {
    for (let column = 0; column < Math.ceil(width / 16); column++) {
      planes.forEach((plane, p) => {
        const { sampling, columns, rows, table } = plane;
        for (let i = 0; i < sampling ** 2; i++) {
          const [x, y] = [column * sampling + (i % sampling), row * sampling + Math.floor(i / sampling)];
          // A block beyond the picture repeats the last mean and nothing else.
          const block = x < columns && y < rows ? blockOf(plane, x, y) : Int32Array.of(means[p]!, ...Array(63).fill(0));
          writeBlock(bits, block, means[p]!, table);
          means[p] = block[0]!;
        }
      });
    }
  }
  bits.finish();
  const quantisation = [luminance, chrominance].map((table, id) => {
    const values = scaled(table, quality);
    return segment(0xdb, [id, ...zigzag.map((place) => values[place]!)]);
  });
  const huffman = [0, 1].flatMap((id) =>
    [dcTables[id]!, acTables[id]!].map(({ counts, symbols }, kind) =>
      segment(0xc4, [16 * kind + id, ...counts, ...symbols]),
    ),
  );
  const frame = [8, ...word(height), ...word(width), 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
  return Uint8Array.from(
    [
      [0xff, 0xd8],
      segment(0xe0, [...bytesOf('4a46494600'), 1, 1, 0, 0, 1, 0, 1, 0, 0]),
      ...quantisation,
      segment(0xc0, frame),
      ...huffman,
      segment(0xda, [3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]),
      bits.bytes,
      [0xff, 0xd9],
    ].flat(),
  );
}
