/** `winnow sample`: pictures from prompts, by a model folder, a configuration or a run. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { writeWhole } from '../../../engine/files.js';
import { captionedGrid, rowsOf, squareGrid } from '../../../models/pictures/grid.js';
import { encodePng } from '../../../models/pictures/png.js';
import { UsageError } from '../../finetune/errors.js';
import { loadModel, type SampleOptions as SamplingOptions } from '../../finetune/model.js';
import { readPromptFile } from '../../finetune/prompts.js';
import { modelWarnings } from '../../finetune/session.js';
import { collect, mostPictures, mostSteps, positive, seedNumber, wholeNumber } from '../arguments.js';
import * as shared from '../options.js';
import { Reporter } from '../reporter.js';

interface SampleOptions {
  readonly prompt?: readonly string[];
  /** A file of prompts. */
  readonly prompts?: string;
  /** A safetensors file of conditions. */
  readonly promptEmbeds?: string;
  readonly negativePrompt?: string;
  readonly variant?: string;
  readonly n: number;
  readonly seed: number;
  readonly steps?: number;
  readonly guidance?: number;
  readonly ode?: boolean;
  readonly sde?: boolean;
  readonly batch: number;
  readonly lora?: string;
  readonly step?: number;
  readonly base?: boolean;
  readonly out: string;
  readonly grid?: string;
  readonly device?: string;
}

export function addSample(program: Command): void {
  program
    .command('sample')
    .description(
      "make pictures from prompts with a model folder in diffusers' layout, or with what a run has made of it",
    )
    .argument('<model>', 'a folder (Stable Diffusion 1.x, 3.x, or a DiT), an embedded model, a configuration or a run')
    .option('--prompt <text>', 'a prompt; may be given again', collect)
    .option('--prompts <file>', 'a file of prompts, .txt or .jsonl')
    .option(
      '--prompt-embeds <file>',
      'conditions instead of prompts: a safetensors file with prompt_embeds [prompts, tokens, width] and perhaps negative_prompt_embeds; of SD 3 also pooled_prompt_embeds [prompts, width] and negative_pooled_prompt_embeds',
    )
    .option('--negative-prompt <text>', "what guidance leads away from (default: the run's, or the empty prompt)")
    .option('--variant <name>', "of a folder: the variant of the weights' files, such as fp16")
    .option('--n <count>', 'pictures for each prompt', wholeNumber(1, mostPictures), 1)
    .option('--seed <number>', 'seed of the first picture; each next has one more', seedNumber, 0)
    .option(
      '--steps <count>',
      "sampling steps (default: 28, or those of the run's evaluations)",
      wholeNumber(1, mostSteps),
    )
    .option(
      '--guidance <scale>',
      "classifier-free guidance; 1 is none (default: 7.5 for SD 1, 4.5 for SD 3, 4 for DiT, or that of the run's evaluations)",
      positive,
    )
    .option('--ode', 'deterministic steps (default, but for a run whose evaluations have sampler.eval_noise)')
    .option('--sde', "steps with noise, as in rollouts: the run's, or flow-sde with 0.7 and DDIM with eta 1")
    .option('--batch <count>', 'pictures computed at once', wholeNumber(1, mostPictures), 4)
    .option('--lora <file>', 'an adapter: a file or folder of PEFT, diffusers or kohya')
    .option(...shared.step)
    .option('--base', 'of a run: the model as it was before')
    .option('--out <folder>', 'where the pictures go, 0000.png and on', 'samples')
    .option('--grid <file>', 'write one PNG with all pictures instead')
    .option(...shared.device)
    .action(async (model: string, options: SampleOptions) => {
      for (const path of await sample(model, options)) process.stdout.write(`${path}\n`);
    });
}

/** Makes the pictures; returns the paths written. */
async function sample(given: string, options: SampleOptions): Promise<string[]> {
  const { ode, sde, lora, n, grid, out, promptEmbeds } = options;
  if (ode && sde) throw new UsageError('sample: --ode and --sde exclude each other');
  const texts = promptEmbeds === undefined ? await promptsOf(options) : checkAlone(options);
  const reporter = new Reporter();
  const model = await loadModel(given, { ...options, adapter: lora, lora: undefined });
  try {
    const negatives = options.negativePrompt === undefined ? [] : [options.negativePrompt];
    const asked = [...texts, ...negatives].map((prompt) => ({ prompt, meta: {} }));
    for (const warning of [...model.warnings, ...modelWarnings(model.pipeline, asked)]) reporter.warn(warning);
    const onStep = progress(reporter, n * texts.length);
    const pictures = await model.sample(promptEmbeds === undefined ? texts : { promptEmbeds }, {
      ...options,
      stochastic: ode ? false : sde,
      onStep,
    });
    if (grid) {
      const prompts = texts.length > 0 ? texts : [...new Set(pictures.map(({ prompt }) => prompt))];
      const drawn = captionedGrid(rowsOf(prompts, pictures), squareGrid(prompts.length, n));
      const seeds = pictures.map(({ seed }) => seed).join(' ');
      await writeWhole(grid, encodePng(drawn, { ...pictures[0]!.how, prompts: prompts.join('\n'), seeds }));
      return [grid];
    }
    const paths = pictures.map((_, i) => join(out, `${String(i).padStart(4, '0')}.png`));
    for (const [i, path] of paths.entries()) await pictures[i]!.save(path);
    return paths;
  } finally {
    reporter.clear();
    model.close();
  }
}

async function promptsOf({ prompt = [], prompts }: SampleOptions): Promise<string[]> {
  const lines = prompts === undefined ? [] : (await readPromptFile(prompts)).map(({ prompt: text }) => text);
  const all = [...prompt, ...lines];
  if (all.length === 0) throw new UsageError('sample: give --prompt TEXT or --prompts FILE with at least one line');
  return all;
}

/** Of a file of conditions there are no prompts besides. */
function checkAlone({ prompt, prompts }: SampleOptions): string[] {
  if (prompt !== undefined || prompts !== undefined)
    throw new UsageError('sample: --prompt-embeds stands in the place of --prompt and --prompts');
  return [];
}

/** Shows how far the work is: one live line on a terminal, a line a batch otherwise. Of conditions the total is not known. */
function progress(reporter: Reporter, total: number): NonNullable<SamplingOptions['onStep']> {
  return (done, step, steps) => {
    const at = total > 0 ? `${Math.min(done + 1, total)}/${total}` : `${done + 1}`;
    const line = `sampling  picture ${at}  step ${step}/${steps}`;
    if (step === steps) reporter.progress(line);
    else reporter.status(line);
  };
}
