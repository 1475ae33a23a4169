/** A picture that was drawn, and how. */
import { writeWhole } from '../../engine/files.js';
import { encodePng, type Picture } from '../../models/pictures/png.js';

export class SampledPicture implements Picture {
  /** height * width * 3 values, row by row, channels interleaved. */
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly prompt: string;
  readonly seed: number;

  constructor(
    { rgb, width, height }: Picture,
    { prompt, seed }: { readonly prompt: string; readonly seed: number },
    /** By which model, in how many steps and with which guidance and noise: texts of the PNG. */
    readonly how: Readonly<Record<string, string>>,
  ) {
    this.rgb = rgb;
    this.width = width;
    this.height = height;
    this.prompt = prompt;
    this.seed = seed;
  }

  /** Writes it as a PNG whose texts say how it was drawn. Throws a FileError where that can't be. */
  async save(path: string): Promise<void> {
    await writeWhole(path, encodePng(this, { ...this.how, prompt: this.prompt, seed: String(this.seed) }));
  }
}
