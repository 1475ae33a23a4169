/**
 * Pictures to learn reading from: scenes as they were drawn, as the autoencoder gives them back, and damaged as unfinished
 * generators damage them, so that rewards score what a generator draws, and score broken pictures low.
 */
import { capture, type Device, noGrad, scope, type Tensor, tensor } from '../../engine/index.js';
import type { AutoencoderKL } from '../networks/vae.js';
import { type SceneWords, type Split, writeCaption } from './caption.js';
import type { Seen } from './judge.js';
import { type Random, randomStream } from './random.js';
import { makeScene, sceneSize } from './scenes.js';
import { captureEncoder, networkPixels } from './vae.js';

/** A picture, [3, 32, 32] of 8 bits, with what it shows and how damaged it is. */
export interface SeenPicture extends Seen {
  readonly pixels: Uint8Array;
}

const atOnce = 64;
const side = 8; // of the latents
const noiseOfDamage = 0.7; // deviation of the noise on the latents, whose own is 1
const shareOfDamage = 0.8; // of another picture's latents in the quarters that are mixed

/**
 * Latents with a damage from 0 (none) to 1: noise on all of them, and another picture's mixed into quarters chosen at random.
 * Both are [channels, 8, 8].
 */
export function damagedLatents(
  latents: Float32Array,
  other: Float32Array,
  damage: number,
  random: Random,
): Float32Array {
  const quarters = Array.from({ length: 4 }, () => random.next() < 0.5);
  return latents.map((value, i) => {
    const [x, y] = [i % side, Math.floor(i / side) % side];
    const mixed = quarters[2 * Math.floor((2 * y) / side) + Math.floor((2 * x) / side)] ? shareOfDamage : 0;
    return value + damage * (noiseOfDamage * random.normal() + mixed * (other[i]! - value));
  });
}

export interface PicturesOptions {
  readonly seed: number;
  readonly count: number;
  readonly split: Split;
  readonly onProgress?: (done: number, of: number) => void;
}

/** Draws pictures of a split: a quarter as drawn, a quarter by way of the autoencoder, half with a damage uniform from 0 to 1. */
export async function drawPictures(
  device: Device,
  vae: AutoencoderKL,
  { seed, count, split, onProgress }: PicturesOptions,
): Promise<SeenPicture[]> {
  const random = randomStream(seed ^ 0x51ed270b);
  const { image, step: encode } = await captureEncoder(device, vae, atOnce);
  const shape = encode.outputs.latents.shape;
  const latents: Tensor = scope(device, () => tensor(device, new Float32Array(encode.outputs.latents.size), shape));
  const decode = await capture(device, () => noGrad(() => ({ pixels: vae.decode(vae.unscaled(latents)) })));
  const pictures: SeenPicture[] = [];
  try {
    for (let start = 0; start < count; start += atOnce) {
      const scenes = Array.from({ length: atOnce }, (_, i) => makeScene(seed, start + i, split));
      image.write(networkPixels(scenes));
      encode.run();
      const clean = (await encode.outputs.latents.data()) as Float32Array;
      const size = clean.length / atOnce;
      const row = (i: number): Float32Array => clean.subarray((i % atOnce) * size, ((i % atOnce) + 1) * size);
      const damages = scenes.map(() => Math.max(0, 2 * random.next() - 1));
      const mixed = new Float32Array(clean.length);
      for (const [i, damage] of damages.entries())
        mixed.set(damagedLatents(row(i), row(i + 1), damage, random), i * size);
      latents.write(mixed);
      decode.run();
      const decoded = (await decode.outputs.pixels.data()) as Float32Array;
      for (const [i, { words, style, pixels }] of scenes.slice(0, count - start).entries()) {
        const damage = damages[i]!;
        const asDrawn = damage === 0 && random.next() < 0.5;
        const own = decoded.subarray(i * pixels.length, (i + 1) * pixels.length);
        const bytes = asDrawn ? pixels.map((v) => 255 * v) : own.map((v) => 127.5 * (v + 1));
        pictures.push({ words, style, damage, pixels: Uint8Array.from(bytes, toByte) });
      }
      onProgress?.(Math.min(count, start + atOnce), count);
    }
  } finally {
    for (const thing of [image, latents, encode, decode]) thing.dispose();
  }
  return pictures;
}

const toByte = (value: number): number => Math.round(Math.min(255, Math.max(0, value)));

/** How bytes become values, by channel: (byte / 255 - mean) / deviation. */
export interface Normalisation {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Values from -1 to 1. */
export const halves: Normalisation = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/** Pictures as a batch for the network, [pictures, 3, 32, 32]. */
export function batchOf(pictures: readonly SeenPicture[], { mean, std }: Normalisation = halves): Float32Array {
  const plane = sceneSize ** 2;
  const values = new Float32Array(3 * pictures.length * plane);
  for (const [row, { pixels }] of pictures.entries()) {
    for (let c = 0; c < 3; c++) {
      const [factor, shift] = [1 / (255 * std[c]!), mean[c]! / std[c]!];
      const from = c * plane;
      const to = (3 * row + c) * plane;
      for (let i = 0; i < plane; i++) values[to + i] = pixels[from + i]! * factor - shift;
    }
  }
  return values;
}

/** Pictures that can be drawn by what they show. */
export class Album {
  private readonly byCaption = new Map<string, SeenPicture[]>();

  constructor(readonly pictures: readonly SeenPicture[]) {
    for (const picture of pictures) {
      const caption = writeCaption(picture.words);
      const own = this.byCaption.get(caption);
      if (own) own.push(picture);
      else this.byCaption.set(caption, [picture]);
    }
  }

  any(random: Random): SeenPicture {
    return random.pick(this.pictures);
  }

  /** A picture of the words; undefined where there is none, as for words of the other split. */
  of(words: SceneWords, random: Random): SeenPicture | undefined {
    const own = this.byCaption.get(writeCaption(words));
    return own && random.pick(own);
  }
}
