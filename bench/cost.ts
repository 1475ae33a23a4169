/** The paper's table 4 beside the totals of grpo/cost.ts: arithmetic alone, nothing is timed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../engine/version.js';
import { type AtomicCosts, type CostRow, paperCosts, paperGroups, table4 } from '../grpo/cost.js';

/** A row as the paper prints it. The printed numbers are test data, so that none can be taken for a computed one. */
interface PrintedRow {
  readonly name: string;
  readonly total: string;
}

export function printedTable4(): readonly PrintedRow[] {
  const path = join(packageRoot(), 'test/fixtures/grpo/table4.json');
  return (JSON.parse(readFileSync(path, 'utf8')) as { rows: PrintedRow[] }).rows;
}

/** The table as lines, and whether every total has the printed digits. */
export function formatTable4(costs: AtomicCosts = paperCosts): { lines: string[]; agrees: boolean } {
  const printed = new Map(printedTable4().map(({ name, total }) => [name, total]));
  const rows = table4(costs);
  const agrees = rows.every(({ name, total }) => total.toFixed(2) === printed.get(name));
  const line = (cells: readonly string[]): string =>
    `cost  ${cells.map((cell, i) => (i === 0 ? cell.padEnd(18) : cell.padStart(12))).join('')}`;
  const lineOf = ({ name, calls, total, ratio, printedRatio }: CostRow): string =>
    line([
      name,
      String(calls.network),
      String(calls.previews + calls.finals),
      String(calls.trained),
      total.toFixed(2),
      printed.get(name) ?? 'not printed',
      `${ratio.toFixed(3)}x`,
      `${printedRatio.toFixed(2)}x`,
    ]);
  const lines = [
    `cost  table 4: ${paperGroups} groups, ${costs.network} TFLOP a network call, ${costs.decode} a decode with its reward`,
    line(['method', 'calls', 'decodes', 'trained', 'TFLOP', 'printed', 'ratio', '1 + saving']),
    ...rows.map(lineOf),
    'cost  calls, decodes and trained steps are a group\'s; the paper prints "1 + saving" as its speed-up',
  ];
  return { lines, agrees };
}
