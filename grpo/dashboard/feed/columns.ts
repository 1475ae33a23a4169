/** Records of updates as columns, the form that charts draw and that is sent in a third of the bytes. */

/** Values of an update each, in its order; null where a record has no such value or it is not finite. */
export type Columns = Readonly<Record<string, readonly (number | null)[]>>;

/** What the horizontal axis may be; `x/update` is the update's number. */
export const axes = ['x/update', 'x/seconds', 'x/calls'] as const;

/** Gathers metrics.jsonl: every number of it under its name, and what the horizontal axes need. */
export class ColumnStore {
  private columns = new Map<string, (number | null)[]>();
  private rows = 0;
  private seconds = 0;
  private calls = 0;

  get length(): number {
    return this.rows;
  }

  clear(): void {
    this.columns = new Map();
    this.rows = 0;
    this.seconds = 0;
    this.calls = 0;
  }

  /** Adds a record; one without an `update` is none. */
  add(record: Readonly<Record<string, unknown>>): void {
    if (typeof record.update !== 'number') return;
    for (const [name, value] of Object.entries(record)) if (typeof value === 'number') this.put(name, value);
    this.seconds += numberOf(record.seconds);
    this.calls = numberOf(record['total/calls']) || this.calls + numberOf(record.calls);
    this.put('x/update', record.update);
    this.put('x/seconds', this.seconds);
    this.put('x/calls', this.calls);
    this.rows++;
  }

  private put(name: string, value: number): void {
    let column = this.columns.get(name);
    if (!column) {
      column = [];
      this.columns.set(name, column);
    }
    while (column.length < this.rows) column.push(null); // records before this one had no such value
    column[this.rows] = value;
  }

  /** The rows from one on. */
  from(start: number): Columns {
    return this.pick(Array.from({ length: Math.max(0, this.rows - start) }, (_, i) => start + i));
  }

  /** At most about `most` rows: every 2^k-th, and the newest. All of them are records; none is an average. */
  thinned(most: number): Columns {
    const stride = 2 ** Math.max(0, Math.ceil(Math.log2(this.rows / most)));
    const rows = Array.from({ length: Math.ceil(this.rows / stride) }, (_, i) => i * stride);
    if (this.rows > 0 && rows.at(-1) !== this.rows - 1) rows.push(this.rows - 1);
    return this.pick(rows);
  }

  private pick(rows: readonly number[]): Columns {
    return Object.fromEntries(
      [...this.columns].map(([name, values]) => [name, rows.map((row) => values[row] ?? null)]),
    );
  }
}

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);
