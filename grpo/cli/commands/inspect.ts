/** `winnow inspect`: one group's rewards, as text and as a picture. */
import type { Command } from 'commander';
import { writeWhole } from '../../../engine/files.js';
import { encodePng } from '../../../models/pictures/png.js';
import { usualPreset } from '../../finetune/config/file.js';
import { type InspectOptions, inspectGroup } from '../../finetune/inspect.js';
import { drawHistograms } from '../../finetune/report/histogram.js';
import { mostPictures, seedNumber, wholeNumber } from '../arguments.js';
import * as shared from '../options.js';
import { formatInspection, histogramsOf } from '../print/inspection.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description(
      'draw one full group and show how rewards spread in it, in a uniform half and in the half that OVF keeps',
    )
    .argument('[run]', `a run, a configuration or a preset (default: ${usualPreset})`)
    .option(...shared.set)
    .option('--prompt <text>', 'the prompt (default: the first test prompt)')
    .option('--n <count>', 'size of the group (default: the configured one)', wholeNumber(2, mostPictures))
    .option('--keep <count>', 'how many a selection keeps (default: half)', wholeNumber(1))
    .option('--seed <number>', "of the group's noise (default: the configured one)", seedNumber)
    .option(...shared.step)
    .option('--out <file>', 'the PNG', 'inspect.png')
    .option(...shared.device)
    .option(...shared.json)
    .action(inspect);
}

async function inspect(
  run: string | undefined,
  { out, ...options }: InspectOptions & ReporterOptions & { readonly out: string },
): Promise<void> {
  const reporter = new Reporter(options);
  const onStep: InspectOptions['onStep'] = (pictures, step, steps) =>
    reporter.status(`sampling  ${pictures} pictures  step ${step}/${steps}`);
  try {
    const inspection = await inspectGroup(run, { ...options, ...(reporter.live && { onStep }) });
    const { prompt, seed, reward, rewards, subsets, warnings } = inspection;
    for (const warning of warnings) reporter.warn(warning);
    const histograms = histogramsOf(inspection);
    const text = { prompt, seed: String(seed), reward, rewards: rewards.join(' ') };
    await writeWhole(out, encodePng(drawHistograms(histograms), text));
    reporter.clear();
    reporter.object({ prompt, rewards, subsets, path: out });
    for (const line of formatInspection(inspection, histograms)) reporter.result(line);
    reporter.hint(`look  ${out}`);
  } finally {
    reporter.clear();
  }
}
