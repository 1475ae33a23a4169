/** Voters whose taste is known: what they see of a picture, what they like of it, and votes that are wrong now and then. */

import { writeWhole } from '../../engine/files.js';
import {
  appendVote,
  type Choice,
  pictureFile,
  pictureHash,
  type VotedPicture,
} from '../../grpo/finetune/taste/votes.js';
import { momentsOf } from '../../grpo/learning/advantage.js';
import { encodePng, type Picture } from '../../models/pictures/png.js';
import { random } from '../host.js';

const sights = ['size', 'left', 'vivid', 'bright', 'clean'] as const;

type Sight = (typeof sights)[number];

/** How much of each sight is liked, in its deviations over the base model's pictures. */
export type Liking = Readonly<Partial<Record<Sight, number>>>;

/** Those of the table, and two more. */
export const voters: Readonly<Record<string, Liking>> = {
  'large and vivid': { size: 1, vivid: 1 },
  'small and dark': { size: -1, bright: -1 },
  'pale and clean': { vivid: -1, clean: 1 },
  'things at the left': { left: 1.4 },
  'bright and vivid': { bright: 1, vivid: 1 },
  'vivid at the right': { vivid: 1, left: -1 },
};

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;

/** What a voter sees: how large things are, how far left, how vivid and bright the picture is, and how clean. */
export function look({ width, height, rgb }: Picture): Readonly<Record<Sight, number>> {
  const at = (x: number, y: number, c: number): number => rgb[3 * (y * width + x) + c]! / 255;
  const edge = (rows: readonly number[], c: number): number =>
    median(rows.flatMap((y) => Array.from({ length: width }, (_, x) => at(x, y, c))));
  const ground = [0, 1, 2].map((c) => (edge([0, 1, 2], c) + edge([height - 1, height - 2, height - 3], c)) / 2);
  let [size, across, vivid, bright, change] = [0, 0, 0, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const colour = [0, 1, 2].map((c) => at(x, y, c));
      const distance = Math.hypot(...colour.map((value, c) => value - ground[c]!));
      const thing = 1 / (1 + Math.exp(-20 * (distance - 0.25)));
      size += thing;
      across += thing * ((2 * x) / (width - 1) - 1);
      vivid += Math.max(...colour) - Math.min(...colour);
      bright += (colour[0]! + colour[1]! + colour[2]!) / 3;
      if (x > 0) for (let c = 0; c < 3; c++) change += Math.abs(colour[c]! - at(x - 1, y, c));
    }
  }
  const pixels = width * height;
  return {
    size: size / pixels,
    left: -across / (size + 1e-3),
    vivid: vivid / pixels,
    bright: bright / pixels,
    clean: -change / pixels,
  };
}

/** Utilities by a liking, in units of each sight's deviation over the base pictures. */
export function utilityBy(liking: Liking, base: readonly Picture[]): (picture: Picture) => number {
  const seen = base.map(look);
  const scales = sights.map((sight) => momentsOf(seen.map((each) => each[sight])));
  return (picture) => {
    const own = look(picture);
    return sights.reduce((sum, sight, i) => {
      const { mean, std } = scales[i]!;
      return sum + ((liking[sight] ?? 0) * (own[sight] - mean)) / std;
    }, 0);
  };
}

/** Two pictures of one prompt. */
export interface DrawnPair {
  readonly prompt: string;
  readonly pictures: readonly [Picture, Picture];
}

/** Share of votes that are for the other picture. */
const wrong = 0.1;

/** Votes on these pairs into a folder with their pictures: by a utility, wrong now and then; without one, at random. */
export async function castVotes(
  folder: string,
  pairs: readonly DrawnPair[],
  utility: ((picture: Picture) => number) | undefined,
  seed: number,
  { model = 'scenes-flow' }: { readonly model?: string } = {},
): Promise<void> {
  const chance = random([pairs.length], seed, { low: 0, high: 1 }).data;
  for (const [i, { prompt, pictures }] of pairs.entries()) {
    const shown = (side: 0 | 1): VotedPicture => {
      const sha256 = pictureHash(pictures[side]);
      return { sha256, seed: 2 * i + side, file: pictureFile(sha256) };
    };
    const both = [shown(0), shown(1)] as const;
    for (const [side, { file }] of both.entries()) await writeWhole(`${folder}/${file}`, encodePng(pictures[side]!));
    const isLeft = utility ? utility(pictures[0]) > utility(pictures[1]) !== chance[i]! < wrong : chance[i]! < 0.5;
    const choice: Choice = isLeft ? 'left' : 'right';
    await appendVote(folder, { id: `${seed}-${i}`, prompt, pictures: both, choice, seconds: 1, model });
  }
}
