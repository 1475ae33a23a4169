/**
 * Reads the words of a picture of a scene, and compares them with a caption's. It knows how scenes.ts draws and no
 * network: it looks for the shape, place, colours and clouds with which a picture comes out most nearly the same
 * (analysis by synthesis; Yuille and Kersten 2006). The pictures' model is in scene_model.ts, the search in scene_fit.ts.
 */
import { claims, colors, type SceneWords } from '../caption.js';
import { groundColor, type Rgb, shapeColor } from '../scenes.js';
import { dot, forward } from './cholesky.js';
import { clamp, type Fit, firstPlaces, search, withoutClouds } from './scene_fit.js';
import { fields, plane, stiffness, unknowns } from './scene_model.js';

/** The colours of all names for one vividness; the grounds' without darkness. */
const swatches = Array.from({ length: 29 }, (_, i) => 0.05 * (i - 2)).map((vivid) => ({
  fronts: colors.map((color) => shapeColor(color, vivid)),
  grounds: colors.map((color) => groundColor(color, vivid, 0)),
}));
const tolerance = 0.01; // deviation of colours in pictures that are drawn by other hands

/** The names, two different ones, of the colours of shape and ground that are likeliest together. */
function colorsOf({ solutions, factor }: Fit): Pick<SceneWords, 'color' | 'ground'> {
  const mean = Float64Array.from({ length: unknowns }, (_, i) => (i < fields ? 1 / fields : 0));
  const [front, back] = [
    solutions.map((solution) => solution[fields]!),
    solutions.map((solution) => dot(solution, mean)),
  ];
  // The knots vary around the ground's colour, so that their mean does; those behind the shape add a doubt of their own.
  let variance = 0;
  for (const [c, solution] of solutions.entries()) {
    for (let i = 0; i < fields; i++) variance += (solution[i]! - back[c]!) ** 2 / (3 * fields);
  }
  const hidden = forward(factor, mean);
  variance *= 1 / fields + stiffness * dot(hidden, hidden);
  // Clouds are 0.9 of a light that the channels share and 0.5 of a tint of each, of variance 1.06 together.
  const grey = tolerance ** 2 + (variance * (3 * 0.9 ** 2 + 0.5 ** 2)) / 1.06;
  const tint = tolerance ** 2 + (variance * 0.5 ** 2) / 1.06;
  const product = (a: readonly number[], b: readonly number[]): number => {
    const light = ((a[0]! + a[1]! + a[2]!) * (b[0]! + b[1]! + b[2]!)) / 3;
    return light / grey + (a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]! - light) / tint;
  };
  const frontCost = (color: Rgb): number =>
    color.reduce((sum, value, c) => sum + ((value - front[c]!) / tolerance) ** 2, 0);
  const groundCost = (color: Rgb): number => {
    const level = clamp(product(color, back) / product(color, color), 0.2, 1.2); // 1 for dark = 0, 0.35 for dark = 1
    const rest = color.map((value, c) => level * value - back[c]!);
    return product(rest, rest);
  };
  let likeliest: Pick<SceneWords, 'color' | 'ground'> = { color: colors[0], ground: colors[1] };
  let least = Number.POSITIVE_INFINITY;
  for (const { fronts, grounds } of swatches) {
    const [frontCosts, groundCosts] = [fronts.map(frontCost), grounds.map(groundCost)];
    for (const [i, color] of colors.entries()) {
      for (const [j, ground] of colors.entries()) {
        const cost = frontCosts[i]! + groundCosts[j]!;
        if (i !== j && cost < least) [likeliest, least] = [{ color, ground }, cost];
      }
    }
  }
  return likeliest;
}

export interface SceneReading {
  readonly words: SceneWords;
  /** The share that the shape explains of what clouds do not: 1 in a picture of this world, near 0 where no shape is. */
  readonly fit: number;
}

/** The likeliest words of a picture [3, 32, 32] in [0, 1]. It always finds some; `fit` says whether they mean anything. */
export function readScene(pixels: Float32Array): SceneReading {
  const channels = [0, 1, 2].map((c) => Float64Array.from(pixels.subarray(c * plane, (c + 1) * plane)));
  const target = { channels, energy: channels.reduce((sum, channel) => sum + dot(channel, channel), 0) };
  const unexplained = channels.map(withoutClouds);
  const seen = search(target, firstPlaces(unexplained.map(({ rest }) => rest)));
  const energy = unexplained.reduce((sum, channel) => sum + channel.energy, 0);
  return { words: { shape: seen.shape, ...colorsOf(seen) }, fit: 1 - seen.cost / (energy + 1e-6) };
}

export interface SceneScore {
  readonly found: SceneWords;
  /** Everything that the caption says is found. */
  readonly correct: boolean;
  /** Share of the caption's three claims that are: of colour, shape and ground. */
  readonly score: number;
}

/** Holds a picture [3, 32, 32] in [0, 1] against a caption's words. */
export function checkScene(pixels: Float32Array, words: SceneWords): SceneScore {
  const found = readScene(pixels).words;
  const right = claims.filter((claim) => found[claim] === words[claim]).length;
  return { found, correct: right === claims.length, score: right / claims.length };
}
