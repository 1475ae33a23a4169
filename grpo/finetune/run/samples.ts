/** The samples of a training: a grid whenever one is due, and in the end the first beside the last. */
import type { GridRow } from '../../../models/pictures/grid.js';
import type { Session } from '../session.js';
import type { RunFolder } from './folder.js';
import { readGrid, writeBeforeAfter, writeGrid } from './grids.js';

export class TrainingSamples {
  private before: readonly GridRow[] | undefined;
  private last: readonly GridRow[] | undefined;

  constructor(
    private readonly session: Session,
    private readonly run: RunFolder,
  ) {}

  /** Writes the grid of what was drawn after some updates, and keeps it for compare(). Returns its file. */
  async write(rows: readonly GridRow[], update: number): Promise<string> {
    const path = this.run.sample(update);
    await writeGrid(this.session, path, rows, update);
    if (update === 0) this.before = rows;
    this.last = rows;
    return path;
  }

  /**
   * Puts the samples before the first update and after the last on one picture. Returns its file; none where nothing
   * was learned, or, with a warning, where those before are gone.
   */
  async compare(updates: number): Promise<{ readonly path?: string; readonly warning?: string }> {
    const { session, run, last } = this;
    if (updates === 0 || !last) return {};
    const before = this.before ?? (await readGrid(session, run.sample(0), 0)); // drawn before a resumption
    if (!before)
      return {
        warning: `${run.sample(0)} is gone, or of other prompts, seeds or size: there is no before and after`,
      };
    await writeBeforeAfter(session, run.beforeAfter, before, last, updates);
    return { path: run.beforeAfter };
  }
}
