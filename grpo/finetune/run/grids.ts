/** The pictures of a run to look at: a grid of a moment, and before and after side by side. */
import { readFile } from 'node:fs/promises';
import { writeWhole } from '../../../engine/files.js';
import { captionedGrid, type GridOptions, type GridRow, picturesOfGrid } from '../../../models/pictures/grid.js';
import { decodePng, encodePng } from '../../../models/pictures/png.js';
import type { Session } from '../session.js';

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
