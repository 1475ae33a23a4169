/** Histograms, and pictures of them with as much lettering as they need. */
import type { Picture } from '../../../models/pictures/png.js';

export interface Histogram {
  readonly title: string;
  /** Borders of the bins, rising, one more than there are bins. */
  readonly edges: readonly number[];
  readonly counts: readonly number[];
  readonly mean: number;
  readonly std: number;
}

const bins = 12;

/** Counts values over bins that span `all` of them, so that histograms of its parts can be laid side by side. */
export function histogramOf(
  values: readonly number[],
  {
    all,
    ...rest
  }: { readonly all: readonly number[]; readonly title: string; readonly mean: number; readonly std: number },
): Histogram {
  const finite = all.filter(Number.isFinite);
  const low = finite.length > 0 ? Math.min(...finite) : 0;
  const high = finite.length > 0 ? Math.max(...finite) : 0;
  const span = high > low ? high - low : 1;
  const counts = Array<number>(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value - low) / span) * bins))]!++;
  return { ...rest, edges: Array.from({ length: bins + 1 }, (_, i) => low + (i / bins) * span), counts };
}

type Rgb = readonly [number, number, number];

const paper: Rgb = [255, 255, 255];
const ink: Rgb = [40, 40, 48];
const grid: Rgb = [205, 205, 210];
const barColors: readonly Rgb[] = [
  [150, 155, 165],
  [70, 130, 200],
  [225, 110, 50],
];

const panel = { width: 260, height: 180, left: 14, top: 40, bottom: 30 };

/** Histograms side by side on one scale; a line marks each mean, and a band below the axis one spread to either side. */
export function drawHistograms(histograms: readonly Histogram[]): Picture {
  const canvas = new Canvas(panel.width * histograms.length, panel.height);
  const most = Math.max(1, ...histograms.flatMap(({ counts }) => counts));
  histograms.forEach((histogram, i) => {
    drawPanel(canvas, i * panel.width + panel.left, histogram, most, barColors[i % barColors.length]!);
  });
  return canvas;
}

function drawPanel(
  canvas: Canvas,
  left: number,
  { title, edges, counts, mean, std }: Histogram,
  most: number,
  color: Rgb,
): void {
  const across = panel.width - 2 * panel.left;
  const down = panel.height - panel.top - panel.bottom;
  const base = panel.top + down;
  const place = (value: number): number => {
    const [low, high] = [edges[0]!, edges.at(-1)!];
    return left + Math.round(Math.min(1, Math.max(0, (value - low) / (high - low))) * across);
  };
  canvas.text(left, 6, title);
  canvas.text(left, 22, `spread ${std.toPrecision(3)}`);
  counts.forEach((count, b) => {
    const height = Math.round((count / most) * down);
    const [from, to] = [place(edges[b]!), place(edges[b + 1]!)];
    canvas.fill(from + 1, base - height, to - from - 1, height, color);
  });
  canvas.fill(left, base, across, 1, ink);
  canvas.fill(place(mean), panel.top, 1, down, grid);
  canvas.fill(place(mean - std), base + 4, place(mean + std) - place(mean - std) + 1, 4, color);
  canvas.text(left, base + 14, edges[0]!.toPrecision(3));
  const last = edges.at(-1)!.toPrecision(3);
  canvas.text(left + across - canvas.widthOf(last), base + 14, last);
}

/** Letters of 3 x 5 points: five rows of three bits, an octal digit each. */
// biome-ignore format: a table
const letters: Readonly<Record<string, string>> = {
  a: '25755', b: '65656', c: '34443', d: '65556', e: '74647', f: '74644', g: '34553', h: '55755', i: '72227',
  j: '11152', k: '55655', l: '44447', m: '57755', n: '65555', o: '25552', p: '65644', q: '25563', r: '65655',
  s: '34216', t: '72222', u: '55557', v: '55552', w: '55775', x: '55255', y: '55222', z: '71247',
  0: '75557', 1: '26227', 2: '71747', 3: '71717', 4: '55711', 5: '74717', 6: '74757', 7: '71111', 8: '75757',
  9: '75717', '.': '00002', '-': '00700', '+': '02720', ':': '02020', ' ': '00000',
};

const scale = 2;

class Canvas implements Picture {
  readonly rgb: Uint8Array;

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.rgb = new Uint8Array(3 * width * height);
    this.fill(0, 0, width, height, paper);
  }

  fill(left: number, top: number, width: number, height: number, color: Rgb): void {
    for (let y = Math.max(0, top); y < Math.min(this.height, top + height); y++) {
      for (let x = Math.max(0, left); x < Math.min(this.width, left + width); x++)
        this.rgb.set(color, 3 * (y * this.width + x));
    }
  }

  widthOf(text: string): number {
    return 4 * scale * text.length - scale;
  }

  /** Letters, digits and a few signs; others are left blank. */
  text(left: number, top: number, text: string): void {
    [...text.toLowerCase()].forEach((letter, i) => {
      [...(letters[letter] ?? letters[' ']!)].forEach((row, y) => {
        for (let x = 0; x < 3; x++) {
          if (Number(row) & (4 >> x)) this.fill(left + scale * (4 * i + x), top + scale * y, scale, scale, ink);
        }
      });
    });
  }
}
