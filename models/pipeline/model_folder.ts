/** A model folder in diffusers' layout: which kind it is, and its networks, each declared by its config and loaded later. */
import { join } from 'node:path';
import { exists } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { Parameters } from '../blocks/parameters.js';
import type { ConfigKeys, ConfigTable, ResolvedKeys } from '../files/config.js';
import { readConfig } from '../files/config_file.js';
import { ModelFileError } from '../files/errors.js';
import type { KeyLayout } from '../files/key_layouts.js';
import { readJson, shown } from '../files/weight_files.js';
import { loadWeights } from '../files/weights.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';
import { type PipelineKind, pipelineKinds } from './kinds.js';
import { type Scheduler, takeScheduler } from './scheduler.js';

export interface PipelineOptions {
  /** How frozen matrices are kept on the GPU. Default 'f16': half the memory, read packed. */
  readonly storage?: 'f32' | 'f16';
  /** Prefer files of this variant, such as `fp16`. */
  readonly variant?: string;
  /** Tokens of T5's part of the condition, zeros where the folder has no T5. Default: model_index.json's, or diffusers' 256. */
  readonly maxSequenceLength?: number;
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
    const missing: string[] = [];
    for (const name of pipelineKinds[kind].folders)
      if (!(await exists(join(path, name)))) missing.push(`no folder ${name}/`);
    if (missing.length > 0) throw new ModelFileError(path, missing);
    const schedulerPath = join(path, 'scheduler', 'scheduler_config.json');
    const named = [index.scheduler].flat()[1]; // of ["diffusers", "DDIMScheduler"]
    const scheduler = takeScheduler(schedulerPath, await readJson(schedulerPath), { kind, named });
    return new ModelFolder(path, kind, index, scheduler, options);
  }

  /** Whether the folder has a component that a pipeline may lack: model_index.json has [null, null] for one that it lacks. */
  async has(name: string): Promise<boolean> {
    const entry = this.index[name];
    return Array.isArray(entry) && entry[0] !== null && (await exists(join(this.path, name)));
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
    const network = new Network(parameters, config);
    this.components.push({ name, parameters, keys });
    return { network, config, parameters };
  }

  tokenizer(name: string): Promise<Tokenizer> {
    return loadTokenizer(join(this.path, name));
  }

  /** Loads the weights of a declared component. Throws a ModelFileError for files that do not fit; then it has no memory. */
  async load(device: Device, { name, parameters, keys }: DeclaredComponent): Promise<void> {
    const { variant } = this.options;
    await loadWeights(device, join(this.path, name), parameters, { variant, ...(keys && { keys }) });
  }
}
