/**
 * What a text encoder should know at each word of a caption: the three things that it says, as far as they have been said.
 * Contrastive training alone asks only for the end of the text and leaves the states of the words to chance, but they are
 * what a generator attends to: it learns to follow words several times faster where they are told.
 */
import {
  add,
  crossEntropy,
  type Device,
  indexSelect,
  type Linear,
  mul,
  reshape,
  slice,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { claims, colors, type SceneWords, shapes } from './caption.js';

/** A caption's tokens: the beginning, an article, colour, shape, "on", the ground's colour, the end. */
const firstSaid = { color: 2, shape: 3, ground: 5 } as const;

/** The state that says all three: the ground's. */
const lastWord = firstSaid.ground;

const classes = { color: colors.length, shape: shapes.length, ground: colors.length } as const;

/** Where the classes of each claim begin, in their order. */
const firstClass = { color: 0, shape: classes.color, ground: classes.color + classes.shape } as const;

/** What of the words is known at which token: each claim at its own word, and all of them at the last word. */
const places = claims.flatMap((claim) =>
  [...new Set([firstSaid[claim], lastWord])].map((position) => ({ claim, position })),
);

/** The class of each claim. */
export const labelsOf = ({ color, shape, ground }: SceneWords) => ({
  color: colors.indexOf(color),
  shape: shapes.indexOf(shape),
  ground: colors.indexOf(ground),
});

/** The loss of naming the claims at the words of a batch of captions, from states of `width` features. */
export class WordLoss {
  private readonly heads: readonly Linear[];
  private readonly rows: readonly Tensor[];
  private readonly labels: Readonly<Record<keyof typeof classes, Tensor>>;

  /** Declares a head for each of `states` states of a token; the heads are trained and thrown away. */
  constructor(device: Device, parameters: Parameters, batch: number, width: number, states: number, tokens: number) {
    const total = claims.reduce((sum, claim) => sum + classes[claim], 0);
    this.heads = Array.from({ length: states }, (_, i) => linear(parameters, `words.${i}`, width, total));
    this.rows = places.map(({ position }) =>
      indices(
        device,
        Array.from({ length: batch }, (_, row) => row * tokens + position),
      ),
    );
    const empty = (): Tensor => indices(device, Array<number>(batch).fill(0));
    this.labels = { color: empty(), shape: empty(), ground: empty() };
  }

  /** Says what the next batch of captions says. */
  feed(words: readonly SceneWords[]): void {
    const labels = words.map(labelsOf);
    for (const claim of claims) this.labels[claim].write(Uint32Array.from(labels, (own) => own[claim]));
  }

  /** The mean cross entropy over states and places; each state is [batch, tokens, width]. */
  of(states: readonly Tensor[]): Tensor {
    const losses = states.flatMap((state, i) => {
      const width = state.shape[2]!;
      const flat = reshape(state, [state.size / width, width]);
      return places.map(({ claim }, place) => {
        const logits = this.heads[i]!.forward(indexSelect(flat, this.rows[place]!));
        const start = firstClass[claim];
        return crossEntropy(slice(logits, 1, start, start + classes[claim]), this.labels[claim]);
      });
    });
    return mul(
      losses.reduce((sum, loss) => add(sum, loss)),
      1 / losses.length,
    );
  }

  dispose(): void {
    for (const thing of [...this.rows, ...Object.values(this.labels)]) thing.dispose();
  }
}

const indices = (device: Device, values: readonly number[]): Tensor =>
  tensor(device, Uint32Array.from(values), [values.length], 'u32');
