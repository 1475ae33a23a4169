/** Changes of resolution in double precision, by their definitions. */
import { type Host, host } from '../host.js';

/** An image [N, C, height, width] whose pixel (n, c, y, x) is `value(at, y, x)`; `at(y, x)` reads the source's plane (n, c). */
function image(
  source: Host,
  height: number,
  width: number,
  value: (at: (y: number, x: number) => number, y: number, x: number) => number,
): Host {
  const [n, c, h, w] = source.shape as [number, number, number, number];
  const y = host([n, c, height, width], new Float64Array(n * c * height * width));
  for (let i = 0; i < y.data.length; i++) {
    const plane = Math.floor(i / (height * width));
    const at = (row: number, column: number): number => source.data[(plane * h + row) * w + column]!;
    y.data[i] = value(at, Math.floor(i / width) % height, i % width);
  }
  return y;
}

export function upsampleNearest(x: Host, height: number, width: number): Host {
  const [, , h, w] = x.shape as [number, number, number, number];
  return image(x, height, width, (at, row, column) =>
    at(Math.floor((row * h) / height), Math.floor((column * w) / width)),
  );
}

export function avgPool2d(x: Host, k: number): Host {
  const [, , h, w] = x.shape as [number, number, number, number];
  return image(x, Math.floor(h / k), Math.floor(w / k), (at, row, column) => {
    let sum = 0;
    for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) sum += at(row * k + i, column * k + j);
    return sum / (k * k);
  });
}

export function stridedDownsample(x: Host, k: number): Host {
  const [, , h, w] = x.shape as [number, number, number, number];
  return image(x, Math.ceil(h / k), Math.ceil(w / k), (at, row, column) => at(row * k, column * k));
}

/** Calls `copy(image index, patches index)` for every element of an image cut into patches. */
function eachPatchElement(shape: readonly number[], p: number, copy: (pixel: number, element: number) => void): void {
  const [n, c, h, w] = shape as [number, number, number, number];
  let element = 0;
  for (let sample = 0; sample < n; sample++)
    for (let y = 0; y < h / p; y++)
      for (let x = 0; x < w / p; x++)
        for (let row = 0; row < p; row++)
          for (let column = 0; column < p; column++)
            for (let channel = 0; channel < c; channel++)
              copy(((sample * c + channel) * h + y * p + row) * w + x * p + column, element++);
}

export function patchify(x: Host, p: number): Host {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  const y = host([n, (h / p) * (w / p), p * p * c], new Float64Array(x.data.length));
  eachPatchElement(x.shape, p, (pixel, element) => {
    y.data[element] = x.data[pixel]!;
  });
  return y;
}

export function unpatchify(x: Host, p: number, channels: number, height: number, width: number): Host {
  const y = host([x.shape[0]!, channels, height, width], new Float64Array(x.data.length));
  eachPatchElement(y.shape, p, (pixel, element) => {
    y.data[pixel] = x.data[element]!;
  });
  return y;
}
