/** TensorBoard's files: the format by our own reader and by TensorBoard itself, kills at any byte, and runs that go on. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../../engine/version.js';
import { crc32c, type EventContent, eventRecord } from '../../../../grpo/finetune/track/event_file.js';
import { decodePng, encodePng } from '../../../../models/pictures/png.js';
import { eventFiles, readRecords, readTags } from './event_reader.js';

const fixtures = join(packageRoot(), 'test/fixtures/tensorboard');

const scalar = (tag: string, value: number) => ({ tag, value: { kind: 'scalar' as const, scalar: value } });
const rewards = (...values: readonly number[]) => ({
  tag: 'rewards/all',
  value: { kind: 'histogram' as const, values },
});
const [width, height] = [3, 2];
const png = encodePng({ width, height, rgb: Uint8Array.from({ length: 18 }, (_, i) => 14 * i) });
const image = { tag: 'samples', value: { kind: 'image' as const, png, width, height } };
const text = { tag: 'config', value: { kind: 'text' as const, text: '    model: «a»\n    seed: 42' } };

/** A run of three updates, and what one writes that goes on after its second. */
const files: readonly (readonly (readonly [step: number, EventContent])[])[] = [
  [
    [0, { kind: 'version' }],
    [0, { kind: 'start' }],
    [0, { kind: 'summary', values: [text, image] }],
    [1, { kind: 'summary', values: [scalar('reward', 0.25), scalar('rewards/a/mean', -1e-7), rewards(0.5, 1, 2, 2)] }],
    [2, { kind: 'summary', values: [scalar('reward', 0.5), rewards(3, 3, Number.NaN)] }],
    [3, { kind: 'summary', values: [scalar('reward', 99), image] }],
  ],
  [
    [3, { kind: 'version' }],
    [3, { kind: 'start' }],
    [3, { kind: 'summary', values: [scalar('reward', 0.75)] }],
    [200, { kind: 'summary', values: [scalar('reward', 1), image] }],
  ],
];
const bytesOf = (file: (typeof files)[number]): Uint8Array =>
  new Uint8Array(Buffer.concat(file.map(([step, content]) => eventRecord(content, { step, time: 1.7e9 + step }))));
const [first, second] = files.map(bytesOf);

test('the checksum is CRC-32C', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283); // the check value of its catalogues
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa); // RFC 3720, B.4
});

test('values are read back; steps that are done again stand once', () => {
  const tags = readTags([first!, second!]);
  expect(tags.reward).toEqual([1, 2, 3, 200].map((step, i) => ({ step, value: { scalar: (i + 1) / 4 } })));
  expect(tags['rewards/a/mean']).toEqual([{ step: 1, value: { scalar: Math.fround(-1e-7) } }]);
  expect(tags.config).toEqual([{ step: 0, value: { text: '    model: «a»\n    seed: 42', plugin: 'text' } }]);
  expect(tags.samples!.map(({ step }) => step)).toEqual([0, 200]);
  expect(tags.samples![0]!.value).toEqual({ png, width, height });
  expect(decodePng(png).picture.width).toBe(3);
  const [many, equal] = tags['rewards/all']!.map(({ value }) => value);
  const counts = Array(30).fill(0);
  [counts[0], counts[10], counts[29]] = [1, 1, 2]; // buckets of 0.05 from 0.5 on
  expect(many).toMatchObject({ moments: [0.5, 2, 4, 5.5, 9.25], counts });
  expect(many && 'limits' in many && many.limits.at(-1)).toBe(2);
  expect(equal).toEqual({ moments: [3, 3, 2, 6, 18], limits: [3], counts: [2] });
});

test('a file that ends at any byte is read to its last whole record', () => {
  const lengths = files[0]!.map(([step, content]) => eventRecord(content, { step, time: 0 }).length);
  const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((sum, length) => sum + length, 0));
  for (let length = 0; length <= first!.length; length++) {
    const records = readRecords(first!.subarray(0, length));
    expect(records.length, `${length} bytes`).toBe(ends.filter((each) => each <= length).length);
  }
  const damaged = first!.slice();
  damaged[40]! ^= 1;
  expect(() => readRecords(damaged)).toThrow('data at');
});

test('TensorBoard reads the same', async () => {
  const names = ['events.out.tfevents.1700000000.winnow', 'events.out.tfevents.1700000003.winnow'];
  if (process.env.UPDATE_FIXTURES) {
    await mkdir(fixtures, { recursive: true });
    for (const [i, name] of names.entries()) await writeFile(join(fixtures, name), bytesOf(files[i]!));
  }
  for (const [i, name] of names.entries())
    expect(new Uint8Array(await readFile(join(fixtures, name))), name).toEqual(bytesOf(files[i]!));
  expect((await eventFiles(fixtures)).length).toBe(2);
  const { version: _, ...read } = JSON.parse(await readFile(join(fixtures, 'read_by_tensorboard.json'), 'utf8'));
  const ours = Object.entries(readTags([first!, second!])).map(([tag, values]) => {
    const plain = values.map(({ step, value }) => {
      if ('scalar' in value) return { step, scalar: value.scalar };
      if ('text' in value) return { step, text: value.text };
      if ('png' in value)
        return { step, image: [value.width, value.height, Buffer.from(value.png).toString('base64')] };
      const { moments, limits, counts } = value;
      return {
        step,
        histogram: limits.map((right, b) =>
          [b === 0 ? moments[0]! : limits[b - 1]!, right, counts[b]!].map(Math.fround),
        ),
      };
    });
    return [tag, plain];
  });
  expect(read).toEqual(Object.fromEntries(ours));
});
