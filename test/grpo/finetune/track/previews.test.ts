/** Previews on disk: what stands in the files of a group, which groups stay, and what a resumed run takes back. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { PreviewsEvent } from '../../../../grpo/finetune/run/events.js';
import { previewsSink } from '../../../../grpo/finetune/track/previews.js';
import type { ScoredPicture } from '../../../../grpo/rollout/rollout.js';
import { crop, decodePng, thumbnail } from '../../../../models/pictures/png.js';
import { temporaryFolder } from '../../../temporary.js';

const folder = temporaryFolder();

const picture = (sample: number, reward = sample / 10, side = 4): ScoredPicture => ({
  rgb: new Uint8Array(3 * side * side).fill(sample),
  width: side,
  height: side,
  prompt: 'a cat',
  meta: {},
  finite: true,
  parts: {},
  sample,
  reward,
});

/** A run that draws the group, and then rests. */
async function keep(path: string, count: number, group: PreviewsEvent): Promise<void> {
  const sink = previewsSink(path, count);
  await sink(group);
  await sink({ kind: 'checkpoint', update: group.update, path: '' });
}

const event = (update: number, side = 4): PreviewsEvent => ({
  kind: 'previews',
  update,
  group: 0,
  prompt: 'a <cat>',
  selections: [
    { step: 2, pictures: [0, 1, 2, 3, 4].map((i) => picture(i, i === 3 ? Number.NaN : i / 10, side)), kept: [0, 4] },
  ],
  finals: [picture(0, 0.5, side), picture(4, 0.25, side)],
});

test('a group has a JSON file and a PNG of each selection and of the end, samples in order', async () => {
  const path = join(folder, 'one');
  await keep(path, 4, event(12));
  expect((await readdir(path)).sort()).toEqual([
    '000012_0.json',
    '000012_0_2.png',
    '000012_0_final.png',
    '000012_0_funnel.png',
  ]);
  expect(JSON.parse(await readFile(join(path, '000012_0.json'), 'utf8'))).toEqual({
    update: 12,
    group: 0,
    prompt: 'a <cat>',
    size: [4, 4],
    selections: [
      {
        step: 2,
        file: '000012_0_2.png',
        columns: 3,
        samples: [0, 1, 2, 3, 4],
        rewards: [0, 0.1, 0.2, null, 0.4],
        kept: [0, 4],
      },
    ],
    final: { file: '000012_0_final.png', columns: 2, samples: [0, 4], rewards: [0.5, 0.25] },
  });
  const { picture: strip } = decodePng(await readFile(join(path, '000012_0_2.png')));
  expect([strip.width, strip.height]).toEqual([12, 8]);
  for (const i of [0, 1, 2, 3, 4]) {
    const place = { left: 4 * (i % 3), top: 4 * Math.floor(i / 3), width: 4, height: 4 };
    expect(crop(strip, place).rgb).toEqual(picture(i).rgb);
  }
});

test('the newest groups stay, by their numbers, with all their files', async () => {
  const path = join(folder, 'kept');
  for (const update of [8, 9, 10]) await keep(path, 2, event(update));
  await previewsSink(path, 2)(event(11)); // the run has not rested yet
  const files = (update: string) => [`${update}_0.json`, `${update}_0_2.png`, `${update}_0_final.png`];
  expect((await readdir(path)).sort()).toEqual([...files('000010'), '000010_0_funnel.png', ...files('000011')]);
  await keep(path, 1, event(1_000_000));
  expect((await readdir(path)).sort()).toEqual([...files('1000000'), '1000000_0_funnel.png']);
});

test('final rewards that select share the file of the end', async () => {
  const path = join(folder, 'after');
  const { finals, ...rest } = event(1);
  await previewsSink(path, 1)({ ...rest, finals, selections: [{ step: 5, pictures: finals, kept: [4] }] });
  const { selections, final } = JSON.parse(await readFile(join(path, '000001_0.json'), 'utf8'));
  expect(selections).toEqual([{ step: 5, ...final, kept: [4] }]);
});

test('large pictures are kept small, as means of whole squares', async () => {
  const path = join(folder, 'large');
  await previewsSink(path, 1)(event(1, 300));
  expect(JSON.parse(await readFile(join(path, '000001_0.json'), 'utf8')).size).toEqual([100, 100]);
  const rgb = Uint8Array.from({ length: 3 * 4 * 3 }, (_, i) => i);
  // The mean of the pixels (0, 0), (1, 0), (0, 1), (1, 1), whose channels are 3 and 12 apart; the odd row is left out.
  expect([...thumbnail({ width: 4, height: 3, rgb }, 2).rgb]).toEqual([8, 9, 10, 14, 15, 16]);
  expect(thumbnail({ width: 4, height: 3, rgb }, 4).rgb).toBe(rgb);
});
