/**
 * What a text encoder should know at each noun of a caption: the object's shape, colour and size, how many there are, the
 * relation, and which object it is. Contrastive training alone asks only for the end of the text and leaves these states to
 * chance, but they are what a generator attends to: it learns to follow words several times faster where they are told.
 */
import {
  add,
  crossEntropy,
  type Device,
  indexSelect,
  type Linear,
  reshape,
  slice,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { linear } from '../layers.js';
import type { Parameters } from '../parameters.js';
import { allAlike, colors, plurals, relations, type SceneWords, shapes, sizes } from './caption.js';
import { captionLength, captionVocabulary } from './vocabulary.js';

/** Nouns of a caption at most. */
const nounsAtMost = 3;

/** Classes of each attribute. */
const classes = {
  shape: shapes.length,
  color: colors.length,
  size: sizes.length,
  count: nounsAtMost,
  relation: 1 + relations.length, // none is one
  order: nounsAtMost,
} as const;

type Attribute = keyof typeof classes;
const attributes = Object.keys(classes) as readonly Attribute[]; // its own keys

/** A noun of a caption: its place among the tokens, and the class of each attribute. */
export interface Noun {
  readonly position: number;
  readonly labels: Readonly<Record<Attribute, number>>;
}

const { vocabulary } = captionVocabulary();
const nounIds = new Set([...shapes, ...plurals].map((word) => vocabulary[`${word}</w>`]));

/** The nouns of a caption, by its words and its tokens. Objects that are counted share one. */
export function nounsOf({ objects, relation }: SceneWords, ids: readonly number[]): Noun[] {
  const positions = ids.flatMap((id, position) => (nounIds.has(id) ? [position] : []));
  const counted = objects.length > 1 && allAlike(objects);
  return positions.map((position, order) => {
    const { shape, color, size } = objects[order]!;
    return {
      position,
      labels: {
        shape: shapes.indexOf(shape),
        color: colors.indexOf(color),
        size: sizes.indexOf(size),
        count: counted ? objects.length - 1 : 0,
        relation: relation ? 1 + relations.indexOf(relation) : 0,
        order,
      },
    };
  });
}

/** The loss of naming the attributes at the nouns of a batch of captions, from states of `width` features. */
export class NounLoss {
  private readonly heads: readonly Linear[];
  private readonly rows: Tensor;
  private readonly labels: Readonly<Record<Attribute, Tensor>>;

  /** Declares a head for each of `states` states of a token; the heads are trained and thrown away. */
  constructor(parameters: Parameters, batch: number, width: number, states: number) {
    const total = Object.values(classes).reduce((sum, count) => sum + count, 0);
    this.heads = Array.from({ length: states }, (_, i) => linear(parameters, `nouns.${i}`, width, total));
    const { device } = parameters;
    const places = (): Tensor => indices(device, batch * nounsAtMost);
    this.rows = places();
    this.labels = Object.fromEntries(attributes.map((name) => [name, places()])) as Record<Attribute, Tensor>; // each of them
  }

  /** Says where the nouns of the next batch are; a caption with fewer than three counts its first for the others. */
  feed(captions: readonly (readonly Noun[])[]): void {
    const nouns = captions.flatMap((own, row) =>
      Array.from({ length: nounsAtMost }, (_, i) => ({ row, noun: own[i] ?? own[0]! })),
    );
    this.rows.write(Uint32Array.from(nouns, ({ row, noun }) => row * captionLength + noun.position));
    for (const name of attributes) this.labels[name].write(Uint32Array.from(nouns, ({ noun }) => noun.labels[name]));
  }

  /** The sum over states and attributes of the mean cross entropy; each state is [batch, tokens, width]. */
  of(states: readonly Tensor[]): Tensor {
    const losses = states.flatMap((state, i) => {
      const width = state.shape[2]!;
      const logits = this.heads[i]!.forward(indexSelect(reshape(state, [state.size / width, width]), this.rows));
      let start = 0;
      return attributes.map((name) => {
        const part = slice(logits, 1, start, start + classes[name]);
        start += classes[name];
        return crossEntropy(part, this.labels[name]);
      });
    });
    return losses.reduce((sum, loss) => add(sum, loss));
  }

  dispose(): void {
    for (const thing of [this.rows, ...Object.values(this.labels)]) thing.dispose();
  }
}

const indices = (device: Device, count: number): Tensor => tensor(device, new Uint32Array(count), [count], 'u32');
