/**
 * The linear half of reading a scene: with m the mask of a shape in some place, a channel of its picture is modelled as
 *
 *   (1 - m) * sum_k ground_k * field_k + m * front     (k: the knots of the clouds)
 *
 * which is linear in the ground's values at the knots and in the front colour, so that least squares gives these for every m.
 */
import type { ShapeName } from '../caption.js';
import { cloudKnots, cloudWeights, sceneSize, signedDistance } from '../scenes.js';
import { factorize } from './cholesky.js';

// A constant of this module: in the tests an import is a getter, which the innermost loops would call.
const knots = cloudKnots;

export const plane = sceneSize * sceneSize;

/** Knots of the clouds. */
export const fields = knots * knots;

/** The linear unknowns of a channel: the ground at each knot, then the shape's colour. */
export const unknowns = fields + 1;

/** What a knot's squared distance from the knots' mean costs, where a pixel's error costs 1. */
export const stiffness = 0.05;

/** Weight of each knot for a pixel of a side, [32, knots], as in scenes.ts. */
const weights = Float64Array.from(cloudWeights.flat());

/** Where a shape is. */
export interface Place {
  /** Centre, in pixels. */
  readonly x: number;
  readonly y: number;
  readonly radius: number;
  /** Width of the edge. */
  readonly edge: number;
}

/** The share of each pixel that a shape covers, [32, 32]: `coverage`, with less time spent far from the edge. */
export function maskOf(shape: ShapeName, { x, y, radius, edge }: Place): Float64Array {
  const distanceAt = signedDistance[shape];
  const mask = new Float64Array(plane);
  for (let i = 0; i < plane; i++) {
    const u = ((i % sceneSize) + 0.5 - x) / radius;
    const v = (Math.floor(i / sceneSize) + 0.5 - y) / radius;
    const distance = (radius * distanceAt(u, v)) / edge;
    mask[i] = distance > 8 ? 0 : distance < -8 ? 1 : 1 / (1 + Math.exp(distance));
  }
  return mask;
}

/** Products of a picture [32, 32] with those of the unknowns. */
export function project(mask: Float64Array, values: Float64Array): Float64Array {
  const products = new Float64Array(unknowns);
  const row = new Float64Array(knots);
  for (let y = 0; y < sceneSize; y++) {
    row.fill(0);
    for (let x = 0; x < sceneSize; x++) {
      const value = values[y * sceneSize + x]!;
      if (value === 0) continue;
      const covered = mask[y * sceneSize + x]! * value;
      products[fields]! += covered;
      for (let i = 0; i < knots; i++) row[i]! += weights[x * knots + i]! * (value - covered);
    }
    for (let a = 0; a < knots; a++) {
      for (let i = 0; i < knots; i++) products[a * knots + i]! += weights[y * knots + a]! * row[i]!;
    }
  }
  return products;
}

/** The factor of the normal equations: products of the unknowns' pictures with each other, and the ground's stiffness. */
export function factorOf(mask: Float64Array): Float64Array {
  const gram = new Float64Array(unknowns * unknowns);
  const row = new Float64Array(fields);
  for (let y = 0; y < sceneSize; y++) {
    row.fill(0);
    for (let x = 0; x < sceneSize; x++) {
      const open = (1 - mask[y * sceneSize + x]!) ** 2;
      for (let i = 0; i < knots; i++) {
        const weight = weights[x * knots + i]! * open;
        for (let j = 0; j <= i; j++) row[i * knots + j]! += weight * weights[x * knots + j]!;
      }
    }
    for (let a = 0; a < knots; a++) {
      for (let b = 0; b <= a; b++) {
        const weight = weights[y * knots + a]! * weights[y * knots + b]!;
        if (weight === 0) continue;
        for (let i = 0; i < knots; i++) {
          for (let j = 0; j < knots; j++) {
            gram[(a * knots + i) * unknowns + b * knots + j]! += weight * row[i > j ? i * knots + j : j * knots + i]!;
          }
        }
      }
    }
  }
  for (let i = 0; i < fields; i++) {
    for (let j = 0; j <= i; j++) gram[i * unknowns + j]! -= stiffness / fields;
    gram[i * unknowns + i]! += stiffness;
  }
  gram.set(project(mask, mask), fields * unknowns);
  gram[unknowns * unknowns - 1]! += 1e-6; // an empty mask's colour is then 0
  factorize(gram, unknowns);
  return gram;
}

/** A solution's ground at the knots of each row of pixels, [32, knots]. */
export function groundRows(solution: Float64Array): Float64Array {
  const rows = new Float64Array(sceneSize * knots);
  for (let y = 0; y < sceneSize; y++) {
    for (let a = 0; a < knots; a++) {
      const weight = weights[y * knots + a]!;
      for (let i = 0; i < knots; i++) rows[y * knots + i]! += weight * solution[a * knots + i]!;
    }
  }
  return rows;
}

/** The ground at a pixel. */
export function groundAt(rows: Float64Array, x: number, y: number): number {
  let sum = 0;
  for (let i = 0; i < knots; i++) sum += weights[x * knots + i]! * rows[y * knots + i]!;
  return sum;
}
