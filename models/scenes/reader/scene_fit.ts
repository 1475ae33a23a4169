/**
 * The search of reading a scene: all shapes start from the best of a bank of templates and go on by steps of Gauss and Newton
 * in centre, radius and edge, with the linear unknowns projected out (Kaufman 1975). The shape that leaves least is the one seen.
 */
import { type ShapeName, shapes } from '../caption.js';
import { sceneSize, signedDistance } from '../scenes.js';
import { backward, dot, factorize, forward } from './cholesky.js';
import { factorOf, fields, groundAt, groundRows, maskOf, type Place, plane, project } from './scene_model.js';

/** A picture as the search wants it: channels [32, 32], and the sum of all squares. */
export interface Target {
  readonly channels: readonly Float64Array[];
  readonly energy: number;
}

/** The picture nearest to a target that has a given shape in a given place. */
export interface Fit {
  readonly shape: ShapeName;
  readonly place: Place;
  readonly mask: Float64Array;
  /** The Cholesky factor of the normal equations. */
  readonly factor: Float64Array;
  /** The linear unknowns, for each channel. */
  readonly solutions: readonly Float64Array[];
  /** Sum of the squares that are left, and the stiffness's share. */
  readonly cost: number;
  /** Levenberg's damping of the next step. */
  readonly damping: number;
}

function fitAt({ channels, energy }: Target, shape: ShapeName, place: Place, damping = 0.01): Fit {
  const mask = maskOf(shape, place);
  const factor = factorOf(mask);
  const halves = channels.map((channel) => forward(factor, project(mask, channel)));
  const cost = energy - halves.reduce((sum, half) => sum + dot(half, half), 0);
  return { shape, place, mask, factor, solutions: halves.map((half) => backward(factor, half)), cost, damping };
}

const step = 1e-4; // pixels; of the differences that stand for derivatives of a distance

/** A step of Gauss and Newton in x, y, radius and edge; where it does not help, the fit as it was but more damped. */
function improve(target: Target, fit: Fit): Fit {
  const { shape, mask, factor, solutions, damping } = fit;
  const { x: centerX, y: centerY, radius, edge } = fit.place;
  const distanceAt = signedDistance[shape];
  const distance = (x: number, y: number): number => radius * distanceAt(x / radius, y / radius);
  const rows = solutions.map(groundRows);
  // Changes of the picture with each parameter, the channels taken for one of their joint contrast.
  const slopes = Array.from({ length: 4 }, () => new Float64Array(plane));
  const gradient = new Float64Array(4);
  for (let i = 0; i < plane; i++) {
    const m = mask[i]!;
    if (m * (1 - m) < 0.01) continue; // far from the edge
    const column = i % sceneSize;
    const row = Math.floor(i / sceneSize);
    let contrast = 0;
    let missing = 0;
    for (let c = 0; c < 3; c++) {
      const ground = groundAt(rows[c]!, column, row);
      const difference = solutions[c]![fields]! - ground;
      contrast += difference * difference;
      missing += difference * (target.channels[c]![i]! - ground - m * difference);
    }
    contrast = Math.sqrt(contrast) + 1e-9;
    const x = column + 0.5 - centerX;
    const y = row + 0.5 - centerY;
    const here = distance(x, y);
    const byX = (distance(x + step, y) - here) / step;
    const byY = (distance(x, y + step) - here) / step;
    const byRadius = (here - x * byX - y * byY) / radius; // Euler: the distance is homogeneous in x, y and radius
    const steepness = (m * (1 - m)) / edge;
    slopes[0]![i] = steepness * byX * contrast;
    slopes[1]![i] = steepness * byY * contrast;
    slopes[2]![i] = -steepness * byRadius * contrast;
    slopes[3]![i] = ((steepness * here) / edge) * contrast;
    for (let a = 0; a < 4; a++) gradient[a]! += slopes[a]![i]! * (missing / contrast);
  }
  // What a change of the linear unknowns would do as well is no reason to move.
  const linear = slopes.map((slope) => forward(factor, project(mask, slope)));
  const normal = new Float64Array(16);
  for (let a = 0; a < 4; a++) {
    for (let b = 0; b <= a; b++) normal[4 * a + b] = dot(slopes[a]!, slopes[b]!) - dot(linear[a]!, linear[b]!);
    normal[5 * a]! += damping * normal[5 * a]! + 1e-6;
  }
  factorize(normal, 4);
  const [moveX, moveY, moveRadius, moveEdge] = backward(normal, forward(normal, gradient));
  const place = {
    x: clamp(centerX + clamp(moveX!, -2, 2), 0, sceneSize),
    y: clamp(centerY + clamp(moveY!, -2, 2), 0, sceneSize),
    radius: clamp(radius + clamp(moveRadius!, -2, 2), 3, 16),
    edge: clamp(edge + clamp(moveEdge!, -edge / 2, edge / 2), 0.12, 1.6),
  };
  const next = fitAt(target, shape, place, damping);
  return next.cost < fit.cost ? next : { ...fit, damping: 10 * damping };
}

export const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));

const half = sceneSize / 2;
const empty = new Float64Array(plane);
const emptyFactor = factorOf(empty);

/** What clouds do not explain of a channel [32, 32]: at half the resolution, [16, 16], and its sum of squares. */
export function withoutClouds(channel: Float64Array): { rest: Float64Array; energy: number } {
  const rows = groundRows(backward(emptyFactor, forward(emptyFactor, project(empty, channel))));
  const rest = new Float64Array(half * half);
  let energy = 0;
  for (let i = 0; i < plane; i++) {
    const x = i % sceneSize;
    const y = Math.floor(i / sceneSize);
    const value = channel[i]! - groundAt(rows, x, y);
    energy += value * value;
    rest[Math.floor(y / 2) * half + Math.floor(x / 2)]! += value / 4;
  }
  return { rest, energy };
}

interface Template {
  readonly place: Place;
  /** What clouds can't explain of the shape's mask, of length 1, [16, 16]. */
  readonly values: Float32Array;
}

const radii = [4.5, 6, 7.5, 9, 10.5, 12, 13.5, 15];

/** A shape in places two pixels apart, as far out as its radius lets it. */
function templatesOf(shape: ShapeName): Template[] {
  return radii.flatMap((radius) => {
    const reach = 2 * Math.floor((half - radius) / 2);
    const side = reach + 1;
    return Array.from({ length: side * side }, (_, i) => {
      const place = { x: half - reach + 2 * (i % side), y: half - reach + 2 * Math.floor(i / side), radius, edge: 0.6 };
      const { rest } = withoutClouds(maskOf(shape, place));
      const length = Math.sqrt(dot(rest, rest));
      return { place, values: Float32Array.from(rest, (value) => value / length) };
    });
  });
}

let bank: readonly (readonly Template[])[] | undefined; // of each shape; made with the first picture, in 0.3 s

/** For each shape the place where it explains most of what clouds do not. */
export function firstPlaces(rests: readonly Float64Array[]): Place[] {
  bank ??= shapes.map(templatesOf);
  // The colour along which the picture varies most, by the power method: one channel to search instead of three.
  const products = rests.map((a) => rests.map((b) => dot(a, b)));
  let axis = [1, 0.9, 0.8];
  for (let round = 0; round < 8; round++) {
    const next = products.map((row) => row[0]! * axis[0]! + row[1]! * axis[1]! + row[2]! * axis[2]!);
    const length = Math.hypot(...next) + 1e-12;
    axis = next.map((value) => value / length);
  }
  const signal = Float32Array.from(rests[0]!, (_, i) => rests.reduce((sum, rest, c) => sum + axis[c]! * rest[i]!, 0));
  return bank.map((templates) => {
    let best = templates[0]!;
    let most = 0;
    for (const template of templates) {
      const { values } = template;
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i]! * signal[i]!;
      if (Math.abs(sum) > most) [best, most] = [template, Math.abs(sum)];
    }
    return best.place;
  });
}

const best = (fits: readonly Fit[], count: number): Fit[] => [...fits].sort((a, b) => a.cost - b.cost).slice(0, count);

/** The best fit found: the shapes from their first places, and then once more from where the best of them went. */
export function search(target: Target, places: readonly Place[]): Fit {
  const step = (fit: Fit): Fit => improve(target, fit);
  const first = shapes.map((shape, i) => fitAt(target, shape, places[i]!)).map(step);
  const leader = best(best(first, 3).map(step), 1)[0]!;
  const others = shapes.filter((shape) => shape !== leader.shape);
  const second = [leader, ...others.map((shape) => fitAt(target, shape, leader.place))];
  return best(best(best(second, 3).map(step), 2).map(step), 1)[0]!;
}
