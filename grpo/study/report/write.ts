/** The files of a report: README.md with its figures, index.html, and a JSON file an experiment. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { makeFolder, writeWhole } from '../../../engine/files.js';
import { version } from '../../../engine/version.js';
import { formatSeconds } from '../../finetune/report/numbers.js';
import { readInfo } from '../../finetune/run/info.js';
import { type Clock, secondsOfSeed } from '../clock.js';
import type { TrainingExperiment } from '../experiment.js';
import { type Findings, findingsOf } from '../findings.js';
import { type RunOutcome, readOutcome } from '../outcome.js';
import type { PlannedRun } from '../planned_run.js';
import { captionsOfSet, picturesOfCaption } from '../recipe.js';
import { meanOf } from '../statistics.js';
import { type ClusteringFindings, clusteringCells, figureFiles, markdownOf, type StudyFindings } from './markdown.js';
import { pageOf } from './page.js';
import { formatDifference } from './text.js';

export interface WrittenStudy {
  /** Paths. */
  readonly files: readonly string[];
  /** The verdicts, a line a claim. */
  readonly lines: readonly string[];
}

/** Reads what all runs have measured and writes the report of it. Every run is done. */
export async function writeStudy({
  trained,
  clustering,
  planned,
  clock,
  out,
  results,
}: {
  readonly trained: readonly TrainingExperiment[];
  readonly clustering: readonly ClusteringFindings[];
  readonly planned: readonly PlannedRun[];
  readonly clock: Clock;
  readonly out: string;
  readonly results: string;
}): Promise<WrittenStudy> {
  const outcomes: RunOutcome[] = [];
  for (const { folder, method, seed } of planned)
    outcomes.push(
      await readOutcome(join(out, folder), {
        name: method.name,
        seed,
        secondsOfUpdate: secondsOfSeed(clock[method.name]!, seed),
      }),
    );
  const findings: StudyFindings = {
    trained: trained.map((experiment) => findingsOf(experiment, outcomes)),
    clustering,
    facts: await factsOf(planned, out),
  };
  await makeFolder(results);
  const files = new Map([
    ['README.md', markdownOf(findings)],
    ['index.html', pageOf(findings)],
    ...figureFiles(findings),
    ...findings.trained.map((found): [string, string] => [
      `${found.experiment.name}.json`,
      recordOf(found, outcomes, clock),
    ]),
    ...clustering.map((found): [string, string] => [
      `${found.experiment.name}.json`,
      `${JSON.stringify({ experiment: found.experiment, measured: found.measured, normal: found.normal }, rounded, 1)}\n`,
    ]),
  ]);
  for (const [name, text] of files) await writeWhole(join(results, name), text);
  return {
    files: ['README.md', 'index.html'].map((name) => join(results, name)),
    lines: [
      ...clustering.flatMap(clusteringCells).map((cells) => cells.join('  ')),
      ...findings.trained.flatMap(verdictLines),
    ],
  };
}

const verdictLines = ({ experiment, claims }: Findings): string[] =>
  claims.map(({ claim, difference, verdict }) => {
    const found = difference ? formatDifference(difference, claim.quantity.digits) : '';
    return `${verdict.padEnd(12)} ${experiment.name.padEnd(8)} ${claim.says} ${found}`;
  });

/** Five digits are more than what is measured is known to. */
const rounded = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;

/** An experiment's findings, and what each of its runs has measured, as JSON. */
function recordOf(
  { experiment, rows, claims, figures }: Findings,
  outcomes: readonly RunOutcome[],
  clock: Clock,
): string {
  const { name, paper, title, methods, columns, baseline } = experiment;
  const record = {
    experiment: { name, paper, title, baseline, methods, columns: columns.map((column) => column.name) },
    rows,
    claims: claims.map(({ claim: { quantity, ...claim }, ...found }) => ({
      ...claim,
      quantity: quantity.name,
      ...found,
    })),
    figures: figures.map(({ figure, curves }) => ({ ...figure, curves })),
    seconds: Object.fromEntries(methods.map((method) => [method.name, clock[method.name]])),
    runs: outcomes.filter((run) => methods.some((method) => method.name === run.name)).map(runRecord),
  };
  return `${JSON.stringify(record, rounded, 1)}\n`;
}

const runRecord = ({ name, seed, evaluations }: RunOutcome) => ({
  name,
  seed,
  evaluations: evaluations.map(({ scores, ...point }) => ({
    ...point,
    scores: Object.fromEntries(
      Object.entries(scores).map(([reward, sets]) => [
        reward,
        { heldOut: meanOf(sets.heldOut), training: meanOf(sets.training) },
      ]),
    ),
  })),
});

async function factsOf(planned: readonly PlannedRun[], out: string): Promise<[string, string][]> {
  const infos = await Promise.all(planned.map(({ folder }) => readInfo(join(out, folder))));
  const distinct = (values: readonly string[]): string => [...new Set(values)].join('; ');
  const [processor] = cpus();
  return [
    ['winnow', version],
    ['adapter', distinct(infos.map(({ adapter }) => adapter))],
    ['processor', `${processor?.model ?? 'unknown'}, ${cpus().length} cores`],
    ['runs', `${planned.length}, ${formatSeconds(infos.reduce((sum, { seconds }) => sum + seconds, 0))} of work`],
    ['seeds', distinct(planned.map(({ seed }) => String(seed)))],
    ['updates of a run', distinct(planned.map(({ config }) => String(config.train.updates)))],
    [
      'an evaluation',
      `${captionsOfSet} held-out captions and ${captionsOfSet} of the training, ${picturesOfCaption} pictures of each`,
    ],
    ['made', new Date().toISOString().slice(0, 10)],
  ];
}
