/** The runs that experiments need: each configuration once, known by what it is. */
import { CheckError } from '../../engine/errors.js';
import type { RunConfig } from '../config.js';
import { loadConfig } from '../finetune/config/file.js';
import type { ConfigChanges } from '../finetune/config/program.js';
import type { Experiment, Method } from './experiment.js';
import { evaluationPrompts, recipes, studyFormat } from './recipe.js';
import { secondsOfRun } from './seconds.js';
import { identityOfText } from './stored.js';

/** A run that is to be done. */
export interface PlannedRun {
  readonly method: Method;
  readonly seed: number;
  readonly config: RunConfig;
  /** Name of its folder: method, seed, and a hash of all that its results depend on. */
  readonly folder: string;
  /** Seconds that it takes on the machine of the recipe, about. */
  readonly seconds: number;
}

export interface PlanChoice {
  /** Seeds of each method, consecutive. */
  readonly seeds: number;
  /** Updates of each run, instead of the recipe's. */
  readonly updates?: number | undefined;
  /** The file with the captions of evaluations. */
  readonly prompts: string;
}

/** What a method trains by. Throws a UsageError for keys that make no sense. */
export async function configOf(
  { model = 'flow', changes }: Method,
  seed: number,
  { updates, prompts }: Omit<PlanChoice, 'seeds'>,
): Promise<RunConfig> {
  const { preset, changes: usual } = recipes[model];
  const more = updates === undefined ? [] : [`train.updates=${updates}`, `eval.every=${Math.ceil(updates / 4)}`];
  return loadConfig(preset, [
    ...setsOf(usual),
    ...setsOf(changes),
    ...more,
    `seed=${seed}`,
    `prompts.test=${JSON.stringify(prompts)}`,
  ]);
}

/** Changes as texts for the keys of a file; of `reward` the section is replaced. */
export const setsOf = (changes: ConfigChanges): string[] =>
  Object.entries(changes).flatMap(([section, keys]) =>
    section === 'reward' || typeof keys !== 'object' || keys === null
      ? [`${section}=${JSON.stringify(keys)}`]
      : Object.entries(keys).map(([key, value]) => `${section}.${key}=${JSON.stringify(value)}`),
  );

/** What a run's results depend on, as 8 hexadecimal digits: its configuration without the place of the captions, and those. */
export function identityOf(config: RunConfig): string {
  const { test: _, ...prompts } = config.prompts;
  const content = { ...config, prompts, captions: evaluationPrompts().map(({ prompt }) => prompt), studyFormat };
  return identityOfText(JSON.stringify(content));
}

/** The seeds of a method. */
export const seedsOf = ({ firstSeed = 0, seeds: most }: Method, seeds: number): number[] =>
  Array.from({ length: Math.min(seeds, most ?? seeds) }, (_, i) => firstSeed + i);

/**
 * All runs of some experiments, seed by seed, so that what an interruption leaves is whole seeds of all methods. Throws a
 * CheckError where one configuration has two names, or one name two configurations.
 */
export async function planRuns(experiments: readonly Experiment[], choice: PlanChoice): Promise<PlannedRun[]> {
  const methods = experiments.flatMap((each) => (each.kind === 'training' ? each.methods : []));
  const planned = new Map<string, PlannedRun>();
  const names = new Map<string, string>();
  const seeds = [...new Set(methods.flatMap((method) => seedsOf(method, choice.seeds)))].sort((a, b) => a - b);
  for (const seed of seeds)
    for (const method of methods.filter((each) => seedsOf(each, choice.seeds).includes(seed))) {
      const config = await configOf(method, seed, choice);
      const identity = identityOf(config);
      const folder = `${method.name}_s${seed}_${identity}`;
      const other = planned.get(identity)?.folder ?? folder;
      if (other !== folder) throw new CheckError(`study: ${folder} and ${other} are the same run under two names`);
      const known = names.get(`${method.name} ${seed}`) ?? identity;
      if (known !== identity) throw new CheckError(`study: two methods are called ${method.name}`);
      names.set(`${method.name} ${seed}`, identity);
      if (!planned.has(identity))
        planned.set(identity, { method, seed, config, folder, seconds: secondsOfRun(config) });
    }
  return [...planned.values()];
}
