/** The pictures of a group while it is thinned: collected as they are drawn anyway, and kept as files of the newest groups. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole, writing } from '../../../engine/files.js';
import { type FunnelRow, funnelGrid } from '../../../models/pictures/funnel.js';
import { encodePng, gridOf, thumbnail } from '../../../models/pictures/png.js';
import type { RolloutEvents, ScoredPicture } from '../../rollout/rollout.js';
import type { UpdateReport } from '../../update_report.js';
import type { PreviewsEvent, Sink } from '../run/events.js';

const shownGroup = 0; // one group an update, so that the newest ones are of several updates

/** Holds the pictures of the first group of an update, step by step. */
export class GroupPictures {
  private readonly bySteps = new Map<number, readonly ScoredPicture[]>();

  /** Takes what the rollout shows; the last step's are the final pictures. */
  readonly take: NonNullable<RolloutEvents['onPictures']> = (group, step, pictures) => {
    if (group === shownGroup) this.bySteps.set(step, pictures);
  };

  /** What is told of them when the update is done. */
  event({ update, groups }: UpdateReport): PreviewsEvent {
    const { prompt, selections } = groups[shownGroup]!;
    return {
      kind: 'previews',
      update: update + 1,
      group: shownGroup,
      prompt: prompt.prompt,
      selections: selections.flatMap(({ step, kept }) => {
        const pictures = this.bySteps.get(step); // a selection at random looks at none
        return pictures ? [{ step, pictures, kept }] : [];
      }),
      finals: [...this.bySteps.values()].at(-1)!,
    };
  }
}

/** What lies beside the pictures of a group: `previews/000012_0.json`. Rewards that are not finite are null. */
export interface PreviewsFile {
  readonly update: number;
  readonly group: number;
  readonly prompt: string;
  /** [height, width] of one picture in its file. */
  readonly size: readonly [number, number];
  readonly selections: readonly (PreviewStrip & { readonly step: number; readonly kept: readonly number[] })[];
  readonly final: PreviewStrip;
}

/** Pictures in one file, `columns` of them in a row without gaps, with what they are, in order. */
export interface PreviewStrip {
  readonly file: string;
  readonly columns: number;
  /** Their numbers in the group. */
  readonly samples: readonly number[];
  readonly rewards: readonly (number | null)[];
}

/** Pixels of the longer side of a picture in these files at most. */
export const thumbnailSize = 128;

/** The name that the files of a group begin with. */
export const previewsName = (update: number, group: number): string => `${String(update).padStart(6, '0')}_${group}`;

/**
 * Keeps the previews of the newest `count` groups in a folder: a JSON file a group, written last, and a PNG a selection. Where
 * the run rests anyway, at checkpoints, grids and its end, the newest group's funnel is drawn as one picture besides.
 */
export function previewsSink(folder: string, count: number): Sink {
  let newest: PreviewsEvent | undefined;
  return async (event) => {
    if (event.kind === 'previews') {
      newest = event;
      await writePreviews(folder, event);
      await deleteOld(folder, count);
    } else if (newest && ['checkpoint', 'pictures', 'done', 'failed'].includes(event.kind)) {
      const path = join(folder, `${previewsName(newest.update, newest.group)}_funnel.png`);
      await writeWhole(path, encodePng(funnelGrid(funnelOf(newest)), {}, { level: 1 }));
      newest = undefined;
      await deleteOld(folder, count);
    }
  };
}

async function writePreviews(folder: string, event: PreviewsEvent): Promise<void> {
  const { update, group, prompt, selections, finals } = event;
  const name = previewsName(update, group);
  const strip = async (step: number | 'final', pictures: readonly ScoredPicture[]): Promise<PreviewStrip> => {
    const [file, columns] = [`${name}_${step}.png`, Math.ceil(Math.sqrt(pictures.length))];
    const thumbnails = pictures.map((picture) => thumbnail(picture, thumbnailSize));
    await writeWhole(join(folder, file), encodePng(gridOf(thumbnails, columns, 0), {}, { level: 1 }));
    const rewards = pictures.map(({ reward }) => (Number.isFinite(reward) ? reward : null));
    return { file, columns, samples: pictures.map(({ sample }) => sample), rewards };
  };
  const final = await strip('final', finals);
  const written: PreviewsFile['selections'][number][] = [];
  for (const { step, pictures, kept } of selections)
    written.push({ step, ...(pictures === finals ? final : await strip(step, pictures)), kept });
  const { height, width } = thumbnail(finals[0]!, thumbnailSize);
  const file: PreviewsFile = { update, group, prompt, size: [height, width], selections: written, final };
  await writeWhole(join(folder, `${name}.json`), `${JSON.stringify(file)}\n`);
}

/** The rows of a group's funnel: its selections, and its end where that selects nobody. */
function funnelOf({ prompt, update, selections, finals }: PreviewsEvent): FunnelRow[] {
  const row = (what: string, pictures: readonly ScoredPicture[], kept?: readonly number[]): FunnelRow => ({
    caption: `${what}: ${pictures.length}${kept ? `, ${kept.length} go on` : ''}`,
    pictures: pictures.map((picture) => thumbnail(picture, thumbnailSize)),
    values: pictures.map(({ reward }) => reward),
    kept: pictures.map(({ sample }) => kept?.includes(sample) ?? true),
  });
  const rows = selections.map(({ step, pictures, kept }) =>
    row(pictures === finals ? 'at the end' : `before step ${step}`, pictures, kept),
  );
  if (selections.at(-1)?.pictures !== finals) rows.push(row('at the end', finals));
  const [first, ...others] = rows;
  return [{ ...first!, caption: `update ${update}, ${prompt}; ${first!.caption}` }, ...others];
}

/** Updates and groups of names, each once, rising. */
function groupsIn(names: readonly string[]): string[] {
  const numbers = (name: string): number[] => name.split('_').map(Number);
  const groups = new Set(names.flatMap((name) => /^\d+_\d+/.exec(name)?.[0] ?? []));
  return [...groups].sort((a, b) => numbers(a)[0]! - numbers(b)[0]! || numbers(a)[1]! - numbers(b)[1]!);
}

/**
 * Deletes all but the files of the newest groups, of each its JSON first: a reader finds no file that names one that is gone. Of
 * funnels the newest stays until there is a newer one.
 */
async function deleteOld(folder: string, count: number): Promise<void> {
  const names = await readdir(folder);
  const isFunnel = (name: string): boolean => name.endsWith('_funnel.png');
  const [funnels, others] = [names.filter(isFunnel), names.filter((name) => !isFunnel(name))];
  const of = (groups: readonly string[]) => (name: string) =>
    groups.some((group) => name.startsWith(`${group}_`) || name.startsWith(`${group}.`));
  const gone = [
    ...others.filter(of(groupsIn(others).slice(0, -count))),
    ...funnels.filter(of(groupsIn(funnels).slice(0, -1))),
  ].sort((a, b) => Number(b.endsWith('.json')) - Number(a.endsWith('.json')));
  for (const name of gone) await writing(join(folder, name), () => rm(join(folder, name), { force: true }));
}
