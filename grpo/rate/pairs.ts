/** Pairs of pictures that wait to be chosen from, drawn ahead of the clicks. */
import { encodePng, type Picture } from '../../models/pictures/png.js';
import { newVoteId, pictureHash } from '../finetune/taste/votes.js';
import { promptsOfUpdate } from '../prompt_order.js';
import { hashNumbers } from '../random.js';

/** A picture as a page shows it. */
export interface ShownPicture {
  readonly sha256: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  readonly png: Uint8Array;
}

/** Two pictures of one prompt, left and right. Its id is that of the vote on it. */
export interface Pair {
  readonly id: string;
  readonly prompt: string;
  readonly pictures: readonly [ShownPicture, ShownPicture];
}

/** A picture that was drawn, and the seed of its noise. */
export type Drawn = Picture & { readonly prompt: string; readonly seed: number };

export interface PairsOptions {
  readonly prompts: readonly string[];
  readonly seed: number;
  /** The number of the first pair: those before have been voted on. */
  readonly first: number;
  /** How many wait at most. */
  readonly ahead: number;
  /** Pairs that are drawn together. */
  readonly together: number;
  /** Pictures of a prompt to choose two from; 2 where any two will do. */
  readonly candidates: () => number;
  /** Which two of the pictures of a prompt are shown as the pair of this number. */
  readonly choose: (pictures: readonly Drawn[], number: number) => Promise<readonly [number, number]>;
  /** Draws `n` pictures of each prompt. */
  readonly draw: (prompts: readonly string[], n: number, seed: number) => Promise<readonly Drawn[]>;
  /** Told when there are more, and when drawing failed. */
  readonly changed: (error?: unknown) => void;
}

const pairNoise = 0x72617465; // tells the seeds of pairs from those of rollouts and evaluations

/**
 * A bounded queue. Prompts, seeds and sides of the n-th pair are functions of the seed and n, so that a rating that was ended
 * goes on with the pair it was at, unless a taste had chosen its two pictures.
 */
export class PairQueue {
  private readonly waiting: Pair[] = [];
  private drawn: number;
  private isDrawing = false;
  private isHeld = false;
  private filling: Promise<void> = Promise.resolve();
  private drawing: Promise<readonly Pair[]> = Promise.resolve([]);

  constructor(private readonly options: PairsOptions) {
    this.drawn = options.first;
  }

  /** Those that wait, the next one first. */
  get pairs(): readonly Pair[] {
    return this.waiting;
  }

  /** The pair with this id, or else with these pictures: a page that outlived its server knows it by an id that is gone. */
  find(id: string, pictures: readonly string[] = []): Pair | undefined {
    const isSame = (pair: Pair): boolean => pair.pictures.every(({ sha256 }, i) => sha256 === pictures[i]);
    return this.waiting.find((pair) => pair.id === id) ?? this.waiting.find(isSame);
  }

  /** The same; where none is drawn yet, as of a server that was started again, the first ones are waited for. */
  async findSoon(id: string, pictures: readonly string[]): Promise<Pair | undefined> {
    for (;;) {
      const pair = this.find(id, pictures);
      if (pair || this.waiting.length > 0 || !this.isDrawing) return pair;
      await this.drawing.catch(() => {}); // told of by changed()
    }
  }

  /** Takes a pair out, and has the place filled. */
  take(pair: Pair): void {
    this.waiting.splice(this.waiting.indexOf(pair), 1);
    this.fill();
  }

  /** Puts a pair in front, to be chosen from again. */
  putBack(pair: Pair): void {
    this.waiting.unshift(pair);
  }

  /** Draws until as many wait as should, unless it is held. */
  fill(): void {
    if (this.isDrawing || this.isHeld) return;
    this.isDrawing = true;
    this.filling = this.refill().then(
      () => this.options.changed(),
      (error: unknown) => this.options.changed(error),
    );
  }

  /** Draws nothing more until release(); resolves when what is being drawn is done. */
  async hold(): Promise<void> {
    this.isHeld = true;
    await this.filling;
  }

  release(): void {
    this.isHeld = false;
    this.fill();
  }

  private async refill(): Promise<void> {
    const { ahead, together, changed } = this.options;
    try {
      while (!this.isHeld && this.waiting.length <= ahead - together) {
        this.drawing = this.next(together);
        this.waiting.push(...(await this.drawing));
        changed();
      }
    } finally {
      this.isDrawing = false;
    }
  }

  private async next(count: number): Promise<Pair[]> {
    const { prompts, seed, candidates, draw, choose } = this.options;
    const n = candidates();
    const numbers = Array.from({ length: count }, (_, i) => this.drawn + i);
    const chosen = numbers.map((number) => promptsOfUpdate(prompts, 1, seed, number)[0]!);
    const base = hashNumbers(seed, pairNoise, n) % 2 ** 30; // with another n the same seeds would come again
    const pictures = await draw(chosen, n, base + this.drawn * n);
    const pairs: Pair[] = [];
    for (const [i, number] of numbers.entries()) {
      const own = pictures.slice(i * n, (i + 1) * n);
      const [one, other] = n === 2 ? [0, 1] : await choose(own, number);
      const isSwapped = hashNumbers(seed, pairNoise, number) % 2 === 1; // the side says nothing of the choice
      const [left, right] = isSwapped ? [other, one] : [one, other];
      const shown = (place: number): ShownPicture => shownPicture(own[place]!);
      pairs.push({ id: newVoteId(), prompt: chosen[i]!, pictures: [shown(left), shown(right)] });
    }
    this.drawn += count;
    return pairs;
  }
}

const mostLast = 32; // pictures

/** Pictures of the last pairs that left: pages may be about to ask for them. */
export class LastPictures {
  private readonly files = new Map<string, Uint8Array>();

  add({ pictures }: Pair): void {
    for (const { sha256, png } of pictures) {
      this.files.delete(sha256); // the newest last
      this.files.set(sha256, png);
    }
    for (const oldest of [...this.files.keys()].slice(0, -mostLast)) this.files.delete(oldest);
  }

  get(sha256: string): Uint8Array | undefined {
    return this.files.get(sha256);
  }
}

/** A picture with its hash and its file, whose texts say what it is of. */
function shownPicture(picture: Drawn): ShownPicture {
  const { width, height, prompt, seed } = picture;
  const png = encodePng(picture, { prompt, seed: String(seed) });
  return { sha256: pictureHash(picture), seed, width, height, png };
}
