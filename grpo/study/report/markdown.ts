/** The report as Markdown, with its figures as SVG files beside it. */

import { chartFile, type Line } from '../../dashboard/report/charts.js';
import type { Clustering, Shares } from '../clustering.js';
import type { ClusteringExperiment, Figure } from '../experiment.js';
import { axisNames, type Curve, type Findings } from '../findings.js';
import { claimCells, claimHead, formatEstimate, method, summaryOf } from './text.js';

/** A figure-1 measurement with its experiment. */
export interface ClusteringFindings {
  readonly experiment: ClusteringExperiment;
  readonly measured: readonly Clustering[];
  readonly normal: Shares;
}

/** What a report is made of. */
export interface StudyFindings {
  readonly trained: readonly Findings[];
  readonly clustering: readonly ClusteringFindings[];
  /** Facts for the head: machine, versions, seeds, time. */
  readonly facts: readonly (readonly [name: string, value: string])[];
}

const row = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

/** The cells of the table of an experiment, as text. */
export const resultCells = ({ experiment: { columns }, rows }: Findings): string[][] =>
  rows.map(({ label, seeds, cells }) => [
    label,
    label === 'before' ? '' : String(seeds),
    ...cells.map((cell, i) => (cell ? formatEstimate(cell, columns[i]!.digits) : '–')),
  ]);

export const resultHead = ({ experiment }: Findings): string[] => [
  '',
  'seeds',
  ...experiment.columns.map(({ name }) => name),
];

/** The cells of figure 1's table. */
export const clusteringCells = ({ measured, normal }: ClusteringFindings): string[][] => [
  ...measured.flatMap(({ reward, shares }) => shares.map((each) => shareCells(reward, each))),
  shareCells('a normal distribution', { ...normal, set: 'full group' }),
];

const shareCells = (reward: string, { set, half, one, spread }: Shares): string[] => [
  reward,
  set,
  ...[half, one, spread].map((each) => formatEstimate(each, 3)),
];

export const clusteringHead = [
  'reward',
  'of a group',
  'within 0.5 deviations',
  'within 1',
  'spread, of the full group',
] as const;

/** The curves of a figure; evaluations, which are few, are marked. */
export const linesOf = ({ y }: Figure, curves: readonly Curve[]): Line[] =>
  curves.map((curve) => ({ ...curve, points: y.kind === 'reward' }));

/** The SVG files, by name. */
export function figureFiles({ trained }: Pick<StudyFindings, 'trained'>): Map<string, string> {
  const files = new Map<string, string>();
  for (const { figures } of trained)
    for (const { figure, curves } of figures) {
      const text = chartFile(figure.title, linesOf(figure, curves), { over: axisNames[figure.over] });
      if (text !== undefined) files.set(`${figure.name}.svg`, text);
    }
  return files;
}

/** The text of README.md. */
export function markdownOf(findings: StudyFindings): string {
  const { trained, clustering, facts } = findings;
  const files = figureFiles(findings);
  return [
    '# The paper in miniature',
    'Made by `winnow study`; what stands here is what its runs have measured.',
    ...method,
    table(['', ''], facts),
    '## What held, and what did not',
    ...summaryOf(trained.flatMap(({ claims }) => claims)).flatMap(({ head, sentences }) => [
      `**${head}**`,
      sentences.map((sentence) => `- ${sentence}`).join('\n'),
    ]),
    ...clustering.flatMap((found) => [
      `## ${found.experiment.title} (${found.experiment.paper})`,
      found.experiment.about,
      table(clusteringHead, clusteringCells(found)),
    ]),
    ...trained.flatMap((found) => [
      `## ${found.experiment.title} (${found.experiment.paper})`,
      found.experiment.about,
      table(resultHead(found), resultCells(found)),
      ...(found.claims.length > 0 ? [table(claimHead, found.claims.map(claimCells))] : []),
      ...found.figures
        .filter(({ figure }) => files.has(`${figure.name}.svg`))
        .map(({ figure }) => `![${figure.title}](${figure.name}.svg)`),
    ]),
  ]
    .join('\n\n')
    .concat('\n');
}
