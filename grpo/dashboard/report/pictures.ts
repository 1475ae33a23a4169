/** Pictures inside a file, of few enough bytes. */
import { decodePng, encodePng, type Picture } from '../../../models/pictures/png.js';
import { openInside } from '../../serve/inside.js';

/** Bytes that a picture may have. */
export interface Budget {
  readonly bytes: number;
}

/** A PNG of a run's folder as a data: address, halved until it has at most so many bytes; undefined where there is none. */
export async function pictureData(
  folder: string,
  names: readonly string[],
  { bytes }: Budget,
): Promise<string | undefined> {
  const file = await openInside(folder, ...names);
  if (!file) return undefined;
  try {
    let data: Uint8Array = await file.readFile();
    let picture: Picture | undefined;
    while (data.length > bytes) {
      picture = halve(picture ?? decodePng(data).picture);
      data = encodePng(picture);
    }
    return `data:image/png;base64,${Buffer.from(data).toString('base64')}`;
  } catch {
    return undefined; // no picture of ours
  } finally {
    await file.close();
  }
}

/** A picture of half the size: each pixel the mean of four. A last odd row or column is left out. */
export function halve({ width, height, rgb }: Picture): Picture {
  const [across, down] = [Math.max(1, width >> 1), Math.max(1, height >> 1)];
  const small = new Uint8Array(3 * across * down);
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      for (let c = 0; c < 3; c++) {
        const at = (row: number, column: number): number =>
          rgb[3 * (Math.min(height - 1, row) * width + Math.min(width - 1, column)) + c]!;
        const sum = at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1);
        small[3 * (y * across + x) + c] = Math.round(sum / 4);
      }
    }
  }
  return { width: across, height: down, rgb: small };
}
