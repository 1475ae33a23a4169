import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { clipMean, clipStd, imageProcessor, readImageProcessor } from '../../../models/pictures/image_processor.js';
import { expectClose } from '../../check.js';
import { pictureByRule, plainPicture } from '../../grpo/rewards/pictures.js';

interface ResizeCase {
  readonly width: number;
  readonly height: number;
  readonly side: number;
  /** Bytes [3, side, side] in hexadecimal digits. */
  readonly pillow: string;
  readonly floats: readonly number[];
}

const path = join(packageRoot(), 'test', 'fixtures', 'rewards', 'pictures.json');
const { resizes } = JSON.parse(readFileSync(path, 'utf8')) as { resizes: ResizeCase[] };
const plain = { mean: [0, 0, 0], std: [1, 1, 1] };

describe.each(resizes)('$width x $height to $side', ({ width, height, side, pillow, floats }) => {
  const picture = pictureByRule('resize', width, height);
  const options = { size: side, crop: [side, side], ...plain } as const;

  test('bytes are those of Pillow and transformers', () => {
    const values = imageProcessor({ ...options, factor: 1 })(picture);
    expect(Buffer.from(Uint8Array.from(values)).toString('hex')).toBe(pillow);
  });

  test('values are those of PyTorch', () => {
    const values = imageProcessor({ ...options, arithmetic: 'torch' })(picture);
    expectClose(values, floats, 2e-6, 'values');
  });
});

test('channels are normalised', () => {
  const values = imageProcessor({ size: 2, crop: [2, 2] })(plainPicture([0, 255, 51]));
  const expected = [0, 1, 0.2].flatMap((value, c) => Array<number>(4).fill((value - clipMean[c]!) / clipStd[c]!));
  expectClose(values, expected, 1e-6, 'values');
});

describe('preprocessor_config.json', () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-processor-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const read = (config: object): Promise<Float32Array> => {
    writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify(config));
    return readImageProcessor(folder, 8).then((process) => process(pictureByRule('config', 13, 21)));
  };
  const usual = imageProcessor({ size: 8, crop: [8, 8] })(pictureByRule('config', 13, 21));

  test('an absent file, one of old and one of today ask for the same', async () => {
    expect(await readImageProcessor(folder, 8).then((process) => process(pictureByRule('config', 13, 21)))).toEqual(
      usual,
    );
    expect(await read({ size: 8, crop_size: 8, image_mean: clipMean, image_std: clipStd, resample: 3 })).toEqual(usual);
    const today = { size: { shortest_edge: 8 }, crop_size: { height: 8, width: 8 }, rescale_factor: 1 / 255 };
    expect(await read({ ...today, do_resize: true, do_center_crop: true })).toEqual(usual);
  });

  test('a larger size and other means count', async () => {
    const config = { size: { height: 10, width: 12 }, crop_size: 8, image_mean: [0, 0, 0], image_std: [1, 2, 1] };
    const options = { size: [10, 12], crop: [8, 8], mean: [0, 0, 0], std: [1, 2, 1] } as const;
    expect(await read(config)).toEqual(imageProcessor(options)(pictureByRule('config', 13, 21)));
  });

  test('what it can not have is listed', async () => {
    const config = { do_resize: false, resample: 2, size: 6, crop_size: 16, image_mean: [0], rescale_factor: '1' };
    await expect(read(config)).rejects.toThrow(
      [
        join(folder, 'preprocessor_config.json'),
        '  do_resize is false, expected true',
        '  resample is 2, expected 3 (bicubic)',
        '  crop_size is 16, expected 8, which the network reads',
        '  size is 6, expected at least the 8 of the part that is kept',
        '  image_mean is [0], expected three numbers',
        '  rescale_factor is "1", expected a number',
      ].join('\n'),
    );
    await expect(read({ size: { longest_edge: 9 } })).rejects.toThrow('size is {"longest_edge":9}, expected a whole');
  });
});
