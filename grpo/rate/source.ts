/** What is rated: a model, the prompts of its pictures, how they are drawn, and by which configuration it is trained. */
import { embeddedModels } from '../../models/embedded/index.js';
import { loadConfig } from '../finetune/config/file.js';
import { evaluationSampling } from '../finetune/drawing.js';
import { UsageError } from '../finetune/errors.js';
import { readPromptFile, readPrompts } from '../finetune/prompts.js';
import { RunFolder } from '../finetune/run/folder.js';
import { findRun } from '../finetune/run/list.js';
import { embeddedClip } from '../finetune/taste/features.js';

export interface Source {
  /** What loadModel() is given. */
  readonly given: string;
  /** The model as votes name it: of a run the model that it trains, so that its votes go with those on the model itself. */
  readonly model: string;
  /** The folder of a run, which a training goes on from, and its updates. */
  readonly run: string | undefined;
  readonly update: number | undefined;
  readonly prompts: readonly string[];
  /** Steps and guidance of the pictures; undefined where the model's usual ones are meant. */
  readonly sampling: { readonly steps: number; readonly guidance: number } | undefined;
  /** What runConfig() trains by: a preset, a file or a run; undefined of a model folder, which has no configuration. */
  readonly config: string | undefined;
  /** The CLIP by whose features its pictures are told apart, where one is known. */
  readonly clip: string | undefined;
  /** One of the small models that ship, which learn within a minute. */
  readonly embedded: boolean;
}

/** Finds out what is rated. Throws a UsageError where there are no prompts, and a FileError for a file of them that can't be read. */
export async function readSource(given: string, promptFile?: string): Promise<Source> {
  const run = await findRun(given);
  const embedded = embeddedModels.some((name) => name === given);
  const config = run ?? (embedded || /\.ya?ml$/.test(given) ? given : undefined);
  const loaded = config === undefined ? undefined : await loadConfig(config);
  if (promptFile === undefined && !loaded)
    throw new UsageError(`${given} is a model folder: give --prompts FILE, with prompts to draw pictures of`);
  const prompts =
    promptFile === undefined
      ? await readPrompts(loaded!.prompts.train, 'train') // else there is a file
      : await readPromptFile(promptFile);
  const model = loaded?.model.path ?? given;
  const isSmall = embeddedModels.some((name) => name === model);
  return {
    given,
    model,
    run,
    update: run === undefined ? undefined : (await RunFolder.open(run)).info.updates,
    prompts: prompts.map(({ prompt }) => prompt),
    sampling: loaded && evaluationSampling(loaded),
    config,
    clip: isSmall ? embeddedClip : loaded?.reward.clip?.path,
    embedded: isSmall,
  };
}
