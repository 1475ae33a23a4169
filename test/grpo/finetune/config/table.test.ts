/** The table of all keys in grpo/README.md is the configuration's own. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../../engine/version.js';
import { configEntries } from '../../../../grpo/config_entries.js';
import { configTable } from '../../../../grpo/finetune/config/format.js';

const page = join(packageRoot(), 'grpo', 'README.md');
const [start, end] = ['<!-- configuration -->', '<!-- /configuration -->'];

/** The text before the markers, between them, and after them. Throws where they do not stand once each, in order. */
function partsOf(text: string): [string, string, string] {
  const pieces = text.split(`${start}\n`);
  const [before, rest = ''] = pieces;
  const ends = rest.split(`\n${end}\n`);
  if (pieces.length !== 2 || ends.length !== 2)
    throw new Error(`grpo/README.md: expected one line ${start}, then one line ${end}`);
  return [before!, ends[0]!, ends[1]!];
}

test('grpo/README.md lists every key as the configuration has it', async () => {
  const text = await readFile(page, 'utf8');
  const [before, table, after] = partsOf(text);
  const expected = configTable();
  if (process.env.UPDATE_FIXTURES) await writeFile(page, `${before}${start}\n${expected}\n${end}\n${after}`);
  else
    expect(
      table,
      'the table is generated: UPDATE_FIXTURES=1 npx vitest run test/grpo/finetune/config/table.test.ts',
    ).toBe(expected);
});

test('the table has a row for each key that is no section', () => {
  const rows = configTable().split('\n').slice(2);
  expect(rows).toHaveLength(configEntries.filter(({ isSection }) => !isSection).length);
  expect(rows.every((row) => /^\| `[\w.]+` \|.*\| \S.* \|$/.test(row))).toBe(true);
});

test('a page whose markers are missing or doubled is refused', () => {
  expect(partsOf(`a\n${start}\nb\n${end}\nc`)).toEqual(['a\n', 'b', 'c']);
  for (const text of ['a', `${start}\nb`, `${end}\n${start}\n`, `${start}\nb\n${end}\n${start}\nb\n${end}\n`])
    expect(() => partsOf(text)).toThrow('expected one line');
});
