/** The pictures of a run to look at: a grid of a moment, and before and after side by side. */
import { readFile } from 'node:fs/promises';
import { writeWhole } from '../../../engine/files.js';
import { captionedGrid, type GridOptions, type GridRow, picturesOfGrid } from '../../../models/pictures/grid.js';
import { decodePng, encodePng } from '../../../models/pictures/png.js';
import type { Session } from '../session.js';
import type { RunFolder } from './folder.js';

const headingOf = (updates: number): string =>
  updates === 0 ? 'before' : `after ${updates} ${updates === 1 ? 'update' : 'updates'}`;

const optionsOf = ({ config }: Session, updates: number): GridOptions => ({
  columns: config.sample.seeds.length,
  headings: [headingOf(updates)],
});

/** What a file says in text: what was drawn, and by which model. */
const textsOf = ({ config, prompts }: Session, updates: number): Record<string, string> => ({
  prompts: prompts.samples.map(({ prompt }) => prompt).join('\n'),
  seeds: config.sample.seeds.join(' '),
  model: config.model.path,
  updates: String(updates),
});

/** Writes what drawSamples() drew after some updates as one PNG, each row under its prompt. */
export async function writeGrid(
  session: Session,
  path: string,
  rows: readonly GridRow[],
  updates: number,
): Promise<void> {
  const texts = textsOf(session, updates);
  if (rows.some(({ labels }) => labels)) texts.labels = JSON.stringify(rows.map(({ labels }) => labels));
  await writeWhole(path, encodePng(captionedGrid(rows, optionsOf(session, updates)), texts));
}

/** The rows of a file that writeGrid() wrote; undefined where there is none of the session's prompts, seeds and size. */
export async function readGrid(session: Session, path: string, updates: number): Promise<GridRow[] | undefined> {
  const { config, model, prompts } = session;
  const [height, width] = model.pictureSize;
  try {
    const { picture, text } = decodePng(await readFile(path));
    const asked = textsOf(session, updates);
    const labels: (readonly string[])[] = text.labels === undefined ? [] : JSON.parse(text.labels);
    const rows = prompts.samples.map(({ prompt }, row) => {
      return { caption: prompt, count: config.sample.seeds.length, labels: labels[row] };
    });
    if (text.prompts !== asked.prompts || text.seeds !== asked.seeds) return undefined;
    const pictures = picturesOfGrid(picture, rows, { width, height }, optionsOf(session, updates));
    return pictures && rows.map(({ caption, labels }, row) => ({ caption, pictures: pictures[row]!, labels }));
  } catch {
    return undefined; // gone, or not a file of ours
  }
}

/** Writes the same samples before and after some updates side by side, each row under its prompt. */
export async function writeBeforeAfter(
  session: Session,
  path: string,
  before: readonly GridRow[],
  after: readonly GridRow[],
  updates: number,
): Promise<void> {
  const rows = before.map(({ caption, pictures, labels }, row) => ({
    caption,
    pictures: [...pictures, ...after[row]!.pictures],
    labels: (labels ?? after[row]!.labels) && [
      ...(labels ?? pictures.map(() => '')),
      ...(after[row]!.labels ?? pictures.map(() => '')),
    ],
  }));
  const columns = 2 * session.config.sample.seeds.length;
  const grid = captionedGrid(rows, { columns, headings: [headingOf(0), headingOf(updates)] });
  await writeWhole(path, encodePng(grid, textsOf(session, updates)));
}

/** The samples of a training: a grid whenever one is due, and in the end the first beside the last. */
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
