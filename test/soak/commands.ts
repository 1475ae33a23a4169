/** Command lines and environments: every command with its options, with right and wrong values, in any order. */
import fc from 'fast-check';
import { oddText } from './values.js';

/** What a place of a command line may hold, by what stands there. */
export interface Places {
  /** Configurations, runs, model folders, prompts, adapters: right ones and files of other kinds. */
  readonly paths: readonly string[];
  /** A folder that may be written into. */
  readonly out: string;
}

const numbers = fc.constantFrom('0', '1', '2', '3', '10', '5000', '1000000', '4294967295');
const sets = fc.oneof(
  fc.constantFrom('train.lr=1e-4', 'grpo.keep=[4,2]', 'grpo.prune_at=[1]', 'sampler.steps=3', 'lora=null', 'seed=1'),
  fc
    .tuple(
      fc.constantFrom(
        'train.lr',
        'grpo.keep',
        'sampler',
        'reward',
        'reward.x.http',
        'model.path',
        'lora',
        'prompts.test',
        '',
      ),
      oddText,
    )
    .map((pair) => pair.join('=')),
  oddText,
);

/** Options by command; a value of `undefined` is a flag. */
const optionsOf = ({ paths, out }: Places): Record<string, Record<string, fc.Arbitrary<string> | undefined>> => {
  const path = fc.oneof(fc.constantFrom(...paths), oddText);
  const written = fc.oneof(fc.constant(out), fc.constantFrom(...paths), oddText);
  const common = { '--device': fc.oneof(fc.constant('llvmpipe'), oddText) };
  const shared = { ...common, '--set': sets, '--step': numbers, '--json': undefined };
  return {
    doctor: { '--json': undefined },
    tune: common,
    sample: {
      ...common,
      '--prompt': oddText,
      '--prompts': path,
      '--n': numbers,
      '--seed': numbers,
      '--steps': numbers,
      '--guidance': numbers,
      '--ode': undefined,
      '--sde': undefined,
      '--batch': numbers,
      '--lora': path,
      '--step': numbers,
      '--base': undefined,
      '--out': written,
      '--grid': written,
    },
    init: {},
    schema: {},
    plan: { '--set': sets, '--costs': fc.constantFrom('1,2', '3.88,2.82', '0,1', '1'), '--json': undefined },
    train: {
      ...shared,
      '--steps': numbers,
      '--seed': numbers,
      '--out': written,
      '--name': oddText,
      '--resume': path,
      '--init-lora': path,
      '--quiet': undefined,
    },
    eval: {
      ...shared,
      '--n': numbers,
      '--seed': numbers,
      '--rewards': oddText,
      '--lora': path,
      '--against': path,
      '--min': fc.constantFrom('reward=0.3', 'x=1', '=', 'reward='),
    },
    export: {
      '--format': fc.constantFrom('diffusers', 'peft', 'kohya'),
      '--step': numbers,
      '--ema': undefined,
      '--dtype': fc.constantFrom('f32', 'f16'),
      '--out': written,
      ...common,
    },
    inspect: { ...shared, '--prompt': oddText, '--n': numbers, '--keep': numbers, '--seed': numbers, '--out': written },
    runs: { '--out': path, '--json': undefined },
    report: { '--out': written, '--json': undefined },
    pretrain: {
      ...common,
      '--steps': numbers,
      '--seed': numbers,
      '--batch': numbers,
      '--resume': undefined,
      '--out': written,
    },
  };
};

/** One command line: mostly right, with some values and words exchanged for others. */
export function commandLine(places: Places): fc.Arbitrary<readonly string[]> {
  const options = optionsOf(places);
  const own = Object.entries(options).map(([command, known]) => {
    const choices = Object.entries(known).map(([name, value]): fc.Arbitrary<readonly string[]> => {
      if (value === undefined) return fc.constant([name]);
      const text = fc.oneof({ weight: 3, arbitrary: value }, { weight: 1, arbitrary: oddText });
      return text.map((given) => [name, given]);
    });
    const option = choices.length === 0 ? fc.constant([]) : fc.oneof(...choices);
    const argument = fc.oneof(fc.constantFrom(...places.paths, 'scenes-flow', 'all', 'scenes-vae'), oddText);
    return fc
      .tuple(fc.array(argument, { maxLength: 2 }), fc.array(option, { maxLength: 4 }))
      .map(([words, more]) => [command, ...words, ...more.flat()]);
  });
  const foreign = fc.array(fc.oneof(oddText, fc.constantFrom('--help', '--version', 'help', '--json', '-x', '--')), {
    maxLength: 4,
  });
  return fc.oneof({ weight: 12, arbitrary: fc.oneof(...own) }, { weight: 1, arbitrary: foreign });
}

/** Variables of the environment; undefined unsets one. */
export const environment: fc.Arbitrary<Readonly<Record<string, string | undefined>>> = fc.dictionary(
  fc.constantFrom(
    'WINNOW_MEMORY',
    'WINNOW_KERNELS',
    'WINNOW_NO_INSTALL',
    'DEBUG',
    'NO_COLOR',
    'XDG_CACHE_HOME',
    'HOME',
  ),
  fc
    .oneof(oddText, fc.constantFrom('8', 'default', 'matmul=matmul_tiled', 'finite'))
    .filter((text) => !text.includes('\0')),
  { maxKeys: 3, noNullPrototype: true },
);
