/** Evaluations and grids on other machines: their pictures are shared out among as many tasks as an update has shards. */
import type { RunConfig } from '../../config.js';
import type { Evaluation, PictureJob } from '../../evaluate.js';
import type { Elsewhere } from '../../finetune/drawing.js';
import type { LoadedModel } from '../../finetune/policy.js';
import type { Picture } from '../../rollout/pictures.js';
import { shardsOf } from '../../shards/shards.js';
import { type Report, toldPrompt } from '../messages.js';
import { orAborted } from '../redis/connection.js';
import { type Named, named } from './dispatch.js';
import { cutOut } from './pictures.js';
import { type RemoteOptions, readWeights } from './remote_shards.js';

type Wanted = Parameters<Elsewhere['look']>[1];
type Options = Parameters<Elsewhere['look']>[2];
type Looked = Awaited<ReturnType<Elsewhere['look']>>;

/** Looks by the weights as they are. */
export const remoteLook =
  (model: LoadedModel, config: RunConfig, options: RemoteOptions): Elsewhere['look'] =>
  (jobs, wanted, given) =>
    orAborted(look(model, config, options, jobs, wanted, given), given.signal);

async function look(
  model: LoadedModel,
  { workers }: RunConfig,
  { dispatch, blobs, prepare, onWorkers }: RemoteOptions,
  jobs: readonly PictureJob[],
  wanted: Wanted,
  { signal, onProgress }: Options,
): Promise<Looked> {
  const run = await prepare();
  const bytes = await readWeights(model);
  const weights = await blobs.put(bytes);
  const restore = (): Promise<unknown> => blobs.put(bytes);
  const tasks = shardsOf(jobs.length, workers.shards).map(({ first, end }) => {
    const own = jobs.slice(first, end).map(({ prompt, seed }) => ({ prompt: toldPrompt(prompt), seed }));
    return named({ kind: 'look', run, weights, jobs: own, ...wanted });
  });
  let done = 0;
  onProgress?.(done, jobs.length);
  const onReport = ({ task }: Report): void => {
    done += jobsOf(tasks.find(({ hash }) => hash === task)!).length;
    onProgress?.(done, jobs.length);
  };
  const reports = await dispatch.run(tasks, { onWorkers, onReport, restore, signal });
  const pictures: Picture[] = [];
  for (const [i, task] of wanted.shown ? tasks.entries() : []) {
    let report = reports[i]!;
    let shown = await picturesIn(task, report, blobs);
    while (!shown) {
      await dispatch.forget([task]); // its pictures are gone with the server's data
      [report] = (await dispatch.run([task], { onWorkers, restore, signal })) as [Report];
      shown = await picturesIn(task, report, blobs);
    }
    pictures.push(...shown);
    await blobs.delete([report.shown!.bytes]);
  }
  await dispatch.forget(tasks);
  return { scores: joinScores(reports), pictures };
}

const jobsOf = ({ task }: Named) => (task.kind === 'look' ? task.jobs : []);

async function picturesIn(
  task: Named,
  { shown }: Report,
  blobs: RemoteOptions['blobs'],
): Promise<Picture[] | undefined> {
  const bytes = shown && (await blobs.get(shown.bytes));
  if (!bytes) return undefined;
  const jobs = jobsOf(task);
  return cutOut(shown.pictures, bytes).map((picture, i) => ({ ...picture, ...jobs[i]!.prompt }));
}

/** Scores of all tasks, one after the other, by the reward's name. */
function joinScores(reports: readonly Report[]): Evaluation {
  const names = Object.keys(reports[0]?.scores ?? {});
  return Object.fromEntries(names.map((name) => [name, reports.flatMap(({ scores }) => scores?.[name] ?? [])]));
}
