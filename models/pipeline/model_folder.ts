/** A model folder in diffusers' layout: which kind it is, and its networks, each declared by its config and loaded later. */
import { basename, join } from 'node:path';
import { CheckError } from '../../engine/errors.js';
import { exists } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { Parameters } from '../blocks/parameters.js';
import type { ConfigKeys, ConfigTable, ResolvedKeys } from '../files/config.js';
import { readConfig } from '../files/config_file.js';
import { ModelFileError, processWarning, type Warn } from '../files/errors.js';
import type { KeyLayout } from '../files/key_layouts.js';
import { findWeights, readJson, shown } from '../files/weight_files.js';
import { loadWeights } from '../files/weights.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';
import { type PipelineKind, pipelineKinds } from './kinds.js';
import { type Scheduler, takeScheduler } from './scheduler.js';
import type { PipelineCalls } from './types.js';

export interface PipelineOptions {
  /** How frozen matrices are kept on the GPU. Default 'f16': half the memory, read packed. */
  readonly storage?: 'f32' | 'f16';
  /** Prefer files of this variant, such as `fp16`. */
  readonly variant?: string;
  /** Tokens of T5's part of the condition, zeros where the folder has no T5. Default: model_index.json's, or diffusers' 256. */
  readonly maxSequenceLength?: number;
  /**
   * Told what a person should know: components that the folder lacks, tensors of its files that are not read, another variant
   * than the one asked for. Default: a warning of the process.
   */
  readonly warn?: Warn;
}

/** One network of a folder, with its config, the defaults filled in, and its weights. */
export interface Component<C, N> {
  readonly network: N;
  readonly config: C;
  readonly parameters: Parameters;
}

/** What is needed to load a declared component's weights. */
interface DeclaredComponent {
  /** The subfolder. */
  readonly name: string;
  readonly parameters: Parameters;
  readonly keys: KeyLayout | undefined;
}

/** A folder that is being read. */
export class ModelFolder {
  /** The components declared so far, in order. */
  readonly components: DeclaredComponent[] = [];

  private constructor(
    readonly path: string,
    readonly kind: PipelineKind,
    /** model_index.json. */
    readonly index: Readonly<Record<string, unknown>>,
    readonly scheduler: Scheduler,
    readonly options: PipelineOptions,
    /** The text encoders and tokenizers that are there. */
    private readonly texts: ReadonlySet<string>,
  ) {}

  /**
   * Reads which kind of folder it is, `kind` if one is wanted. Throws a ModelFileError for another kind, for missing
   * subfolders, all of which it names, and for a scheduler that can't be obeyed.
   */
  static async open(path: string, options: PipelineOptions, wanted?: PipelineKind): Promise<ModelFolder> {
    const indexPath = join(path, 'model_index.json');
    const index = await readJson(indexPath);
    const kinds = wanted ? [wanted] : (Object.keys(pipelineKinds) as PipelineKind[]); // its keys, by its type
    const kind = kinds.find((each) => pipelineKinds[each].className === index._class_name);
    if (!kind) {
      const known = kinds.map((each) => pipelineKinds[each].className).join(', ');
      const expected = wanted ? known : `one of ${known}`;
      throw new ModelFileError(indexPath, [`_class_name is ${shown(index._class_name)}, expected ${expected}`]);
    }
    const texts = await findParts(path, index, kind, options.warn);
    const schedulerPath = join(path, 'scheduler', 'scheduler_config.json');
    const named = [index.scheduler].flat()[1]; // of ["diffusers", "DDIMScheduler"]
    const scheduler = takeScheduler(schedulerPath, await readJson(schedulerPath), { kind, named });
    return new ModelFolder(path, kind, index, scheduler, options, texts);
  }

  /** Whether the folder has a text encoder together with its tokenizer; model_index.json has [null, null] where it lacks one. */
  has(encoder: string): boolean {
    const pair = pipelineKinds[this.kind].texts.find(([name]) => name === encoder);
    return pair?.every((name) => this.texts.has(name)) ?? false;
  }

  /** Tells a person something; see PipelineOptions.warn. */
  warn(message: string): void {
    const { warn = processWarning } = this.options;
    warn(message);
  }

  /** Throws a ModelFileError of the whole folder where parts contradict each other. */
  agree(...problems: readonly Iterable<string>[]): void {
    const all = problems.flatMap((each) => [...each]);
    if (all.length > 0) throw new ModelFileError(this.path, all);
  }

  /** Declares the network of a subfolder by its config.json. Throws a ModelFileError for a config that can't be used. */
  async component<K extends ConfigKeys, N>(
    name: string,
    Network: new (parameters: Parameters, config: ResolvedKeys<K>) => N,
    table: ConfigTable<K>,
    keys?: KeyLayout,
  ): Promise<Component<ResolvedKeys<K>, N>> {
    const config = await readConfig(join(this.path, name), table);
    const parameters = new Parameters({ storage: this.options.storage ?? 'f16' });
    const network = declared(join(this.path, name, 'config.json'), () => new Network(parameters, config));
    this.components.push({ name, parameters, keys });
    return { network, config, parameters };
  }

  /** The calls of a pipeline whose prompts can't be read. They throw a ModelFileError. */
  withoutTexts(lacking: readonly string[]): Pick<PipelineCalls, 'encode' | 'cut'> {
    const names = lacking.join(' and ');
    this.warn(
      `the folder has no ${names} or no tokenizer for it: only given conditions can be drawn (--prompt-embeds)`,
    );
    return {
      encode: () => {
        const problem = `${names}: null, expected a text encoder and its tokenizer; without them give --prompt-embeds`;
        throw new ModelFileError(join(this.path, 'model_index.json'), [problem]);
      },
      cut: () => '',
    };
  }

  tokenizer(name: string): Promise<Tokenizer> {
    return loadTokenizer(join(this.path, name));
  }

  /** Loads the weights of a declared component. Throws a ModelFileError for files that do not fit; then it has no memory. */
  async load(device: Device, { name, parameters, keys }: DeclaredComponent): Promise<void> {
    const { variant } = this.options;
    const warn = (message: string): void => this.warn(message);
    await loadWeights(device, join(this.path, name), parameters, { variant, warn, ...(keys && { keys }) });
  }

  /**
   * Looks for the files of all declared components. Throws a ModelFileError where one has none, or none is of the variant that
   * is asked for; warns of those that are of another, as diffusers does.
   */
  async findFiles(): Promise<void> {
    const { variant } = this.options;
    const others: string[] = [];
    for (const { name } of this.components) {
      const files = await findWeights(join(this.path, name), { variant });
      if (variant !== undefined && files.variant !== variant) others.push(`${name}/${basename(files.path)}`);
    }
    if (others.length === 0) return;
    const lack = `no file of the variant ${variant}`;
    if (others.length === this.components.length)
      throw new ModelFileError(this.path, [`${lack}: found ${others.join(', ')}`]);
    for (const file of others) this.warn(`${lack}: ${file} is read in its place`);
  }
}

/** Runs a network's constructor; what it has against its config is thrown as a ModelFileError of the file. */
function declared<N>(path: string, construct: () => N): N {
  try {
    return construct();
  } catch (error) {
    if (!(error instanceof CheckError)) throw error;
    throw new ModelFileError(path, [error.message], { cause: error });
  }
}

/**
 * The text encoders and tokenizers that a folder has. Throws a ModelFileError that names every part that is missing though
 * model_index.json lists it, and every part that has to be there and is null.
 */
async function findParts(
  path: string,
  index: Readonly<Record<string, unknown>>,
  kind: PipelineKind,
  warn: Warn = processWarning,
): Promise<Set<string>> {
  const { folders, texts } = pipelineKinds[kind];
  const own = [...folders, ...texts.flat()].sort();
  const problems: string[] = [];
  const found = new Set<string>();
  for (const name of own) {
    const isText = !folders.includes(name);
    const isOfT5 = /_3$/.test(name); // a pipeline of SD3 may be saved without a word of it
    if (isNull(index[name]) || (index[name] === undefined && isOfT5)) {
      if (!isText) problems.push(`model_index.json: ${name} is ${shown(index[name])}, expected a component`);
      continue;
    }
    if (!(await exists(join(path, name))))
      problems.push(
        `no folder ${name}/${isOfT5 ? ', which model_index.json lists: [null, null] there does without T5' : ''}`,
      );
    else if (isText) found.add(name);
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  for (const [name, entry] of Object.entries(index)) {
    const isOther = Array.isArray(entry) && !isNull(entry) && !own.includes(name);
    if (isOther && !(await exists(join(path, name))))
      warn(`model_index.json lists ${name}, which the folder lacks; nothing here needs it`);
  }
  return found;
}

/** How model_index.json says that there is no such component. */
const isNull = (entry: unknown): boolean => entry === null || (Array.isArray(entry) && entry[0] === null);
