/** Configurations: defaults, places of errors, suggestions, --set, and the presets. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { defaultNoise } from '../../../../grpo/config.js';
import { configEntries, defaultOf } from '../../../../grpo/config_entries.js';
import { loadConfig, presetNames, readPreset } from '../../../../grpo/finetune/config/file.js';
import { commentedConfig, formatConfig, jsonSchema } from '../../../../grpo/finetune/config/format.js';
import { parseConfig } from '../../../../grpo/finetune/config/parse.js';
import { suggestion } from '../../../../grpo/finetune/config/suggestion.js';
import { UsageError } from '../../../../grpo/finetune/errors.js';
import { temporaryFolder } from '../../../temporary.js';

const folder = temporaryFolder();

const least = `model: { path: scenes-flow }
prompts: { train: scenes, test: scenes }
reward: { brightness: {} }
sampler: { kind: flow-sde }
`;

const parse = (text: string, ...sets: string[]) => parseConfig({ name: 'my.yaml', text }, sets);

/** The lines of problems of a configuration that is refused, spaces made one. */
function problems(text: string, ...sets: string[]): string[] {
  try {
    parse(text, ...sets);
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim().replace(/ {2,}/g, ' '));
  }
  return [];
}

describe('a configuration', () => {
  test('has its defaults for all that it does not say', () => {
    expect(parse(least)).toEqual({
      model: { path: 'scenes-flow', weights: 'f16' },
      lora: { rank: 8, alpha: 16, targets: 'attention' },
      prompts: { train: 'scenes', test: 'scenes' },
      reward: { brightness: { weight: 1, timeout_s: 60 } },
      sampler: {
        steps: 10,
        guidance: 1,
        kind: 'flow-sde',
        noise: 0.7,
        eval_steps: 10,
        eval_noise: 0,
        detach_unconditional: true,
        same_latent: false,
        window: null,
      },
      grpo: {
        keep: [24, 16, 12],
        prune_at: [5, 7],
        prune: 'ovf',
        groups_per_update: 8,
        loss: 'ppo',
        forward_rows: 3,
        nft_beta: 1,
        awm_weight: 'uniform',
        clip: 1e-4,
        row_weights: 'none',
        kl: 0,
        kl_reference: 'base',
        kl_form: 'flow-grpo',
        advantage_max: 5,
        advantage_eps: 1e-4,
        global_std: false,
        combine: 'sum',
        timestep_fraction: 1,
        shuffle_timesteps: false,
        train_last_step: false,
        updates_per_rollout: 1,
      },
      rollout: { ahead: 2 },
      train: {
        updates: 100,
        lr: 3e-4,
        weight_decay: 1e-4,
        betas: [0.9, 0.999],
        eps: 1e-8,
        grad_norm: 1,
        micro_batch: 4,
        ema: 0,
        checkpointing: false,
      },
      workers: { shards: 8, mixed: false, lock_s: 60 },
      save: { every: 20, keep: 5, previews: 4 },
      sample: { every: 0, seeds: [1, 2, 3, 4], labels: false },
      eval: { every: 0, n: 64, rewards: [], probe_every: 0 },
      track: { tensorboard: false },
      seed: 42,
    });
  });

  test('has defaults that depend on other keys', () => {
    for (const [kind, noise] of Object.entries(defaultNoise))
      expect(parse(least, `sampler.kind=${kind}`).sampler.noise).toBe(noise);
    expect(parse(least, 'lora.rank=4').lora!.alpha).toBe(8);
    expect(parse(least, 'lora.rank=4', 'lora.alpha=1').lora!.alpha).toBe(1);
    expect(parse(least, 'sampler.steps=12').sampler.eval_steps).toBe(12);
  });

  test('written out with every default is read back the same', () => {
    for (const sets of [[], ['lora=null', 'model.weights=f32', 'sampler.eval_guidance=2.5', 'seed=4294967295']]) {
      const config = parse(least, ...sets);
      const text = formatConfig(config);
      expect(parse(text)).toEqual(config);
      expect(text).toContain('keep: [ 24, 16, 12 ]');
      expect(text).toContain('clip: 0.0001');
    }
  });
});

describe('errors say where', () => {
  test('unknown keys, wrong values and counts that do not fit', () => {
    const text = `${least}grpo:
  clp: 1e-5
  prune_at: [5, 12]
train: { updates: 10, lr: fast, betas: [0.9] }
`;
    expect(problems(text)).toEqual([
      'my.yaml:6:3 grpo.clp unknown key (did you mean "clip"?)',
      'my.yaml:8:27 train.lr expected a number, found "fast"',
      'my.yaml:8:40 train.betas expected two decays, such as [0.9, 0.999], found [0.9]',
    ]);
    expect(problems(text.replace('clp', 'clip').replace('lr: fast, betas: [0.9]', 'lr: 1'))).toEqual([
      'my.yaml:7:13 grpo.prune_at expected steps below sampler.steps (0 to 9), found [5, 12]',
    ]);
  });

  test('a key in the wrong section, and one like nothing', () => {
    expect(problems(`${least}lr: 1\nzebra: 1\n`)).toEqual([
      'my.yaml:5:1 lr unknown key (did you mean "train.lr"?)',
      'my.yaml:6:1 zebra unknown key',
    ]);
    expect(problems(`${least}grpo: { steps: 10 }`)).toEqual([
      'my.yaml:5:9 grpo.steps unknown key (did you mean "sampler.steps"?)',
    ]);
    expect(problems(least.replace('{}', '{ wieght: 2 }'))).toEqual([
      'my.yaml:3:25 reward.brightness.wieght unknown key (did you mean "weight"?)',
    ]);
  });

  test('rewards that are not built in and bring nothing of their own, trained on or reported', () => {
    const [trained] = problems(least.replace('brightness', 'brightnes'));
    expect(trained).toMatch(
      /^my\.yaml:3:11 reward\.brightnes no reward is called brightnes \(did you mean "brightness"\?\); built in: scene-checker, /,
    );
    const [reported] = problems(`${least}eval: { rewards: [color, mine] }\n`);
    expect(reported).toMatch(/^my\.yaml:5:26 eval\.rewards\.1 no reward is called mine; built in: /);
    expect(problems(least, 'reward.mine.module=./mine.mjs', 'eval.rewards=[mine, scenes-clip]')).toEqual([]);
  });

  test('missing keys, at the section they belong to', () => {
    expect(problems('model: {}\nreward: { brightness: {} }\nsampler: { kind: ddim }\n')).toEqual([
      'my.yaml:1:1 prompts missing; expected keys with values',
      'my.yaml:1:8 model.path missing; expected a model folder, or the name of an embedded model',
    ]);
    expect(problems('')[0]).toBe('my.yaml:1:1 model missing; expected keys with values');
    expect(problems(least.replace('kind: flow-sde', ''))).toEqual([
      'my.yaml:4:10 sampler.noise missing; its default depends on sampler.kind, which is missing too',
    ]);
  });

  test('values outside their range, as they were written', () => {
    const wrong: Readonly<Record<string, string>> = {
      'grpo.clip=1': 'grpo.clip expected a number above 0 and below 1, found 1',
      'grpo.keep=[24, 1]': 'grpo.keep.1 expected a whole number of at least 2 and at most 1000000, found 1',
      'grpo.prune=best': 'grpo.prune expected one of ovf, uniform, none, ovf-after, best-of-n, found "best"',
      'train.lr=.nan': 'train.lr expected a number, found NaN',
      'train.lr=-1': 'train.lr expected a number of at least 0, found -1',
      'grpo.groups_per_update=1.5': 'grpo.groups_per_update expected a whole number, found 1.5',
      'train.ema=1': 'train.ema expected a decay of at least 0 and below 1, found 1',
      'sampler.same_latent=yes': 'sampler.same_latent expected true or false, found "yes"',
      'sampler.eval_noise=-0.5': 'sampler.eval_noise expected a number of at least 0, found -0.5',
      'seed=-1': 'seed expected a whole number of at least 0 and at most 4294967295, found -1',
      'reward.mine={http: "ftp://x"}': 'reward.mine.http expected an address, http:// or https://, found "ftp://x"',
      'reward=[brightness]':
        'reward expected rewards by name, each with its keys: { brightness: {} }, found ["brightness"]',
      'lora.targets=3': 'lora.targets expected attention, blocks, the end of a layer name, or a list of those, found 3',
      'grpo=null': 'grpo expected keys with values, found null',
    };
    for (const [set, message] of Object.entries(wrong))
      expect(problems(least, set)).toEqual([`--set ${set} ${message}`]);
  });

  test('what is not YAML, or says a key twice', () => {
    expect(problems('model: [')[0]).toMatch(/^my\.yaml:1:9 /);
    expect(problems(`${least}seed: 1\nseed: 2\n`)[0]).toMatch(/^my\.yaml:6:1 .*unique/);
    expect(problems(`${least}seed: !!binary aa\n`).length).toBeGreaterThan(0);
    const bomb = Array.from(
      { length: 9 },
      (_, i) =>
        `a${i}: &a${i} [${Array(9)
          .fill(i ? `*a${i - 1}` : 'x')
          .join(', ')}]`,
    );
    expect(() => parse(bomb.join('\n'))).toThrow(/my\.yaml: Excessive alias count/);
    expect(problems('- 1\n- 2\n')[0]).toMatch(/my\.yaml:1:1 .*expected keys with values, found \[1,2\]/);
  });
});

describe('keys that are wrong together', () => {
  const cases: readonly (readonly [string[], string])[] = [
    [['grpo.keep=[48, 24]'], 'grpo.prune_at 2 selections need 3 counts in grpo.keep (start, then one each); found 2'],
    [['grpo.prune_at=[5]'], 'grpo.prune_at 1 selection needs 2 counts in grpo.keep (start, then one each); found 3'],
    [['grpo.prune_at=[7, 5]'], 'grpo.prune_at expected rising steps, found [7, 5]'],
    [['grpo.keep=[24, 24, 12]'], 'grpo.keep expected falling counts, found [24, 24, 12]'],
    [['grpo.keep=[24]', 'grpo.prune_at=[]'], 'grpo.keep prune: ovf needs two counts or more, found [24]'],
    [
      ['grpo.prune=none', 'grpo.prune_at=[]'],
      'grpo.keep prune: none keeps the whole group: expected one count, found [24, 16, 12]',
    ],
    [['grpo.prune=none', 'grpo.keep=[24]'], 'grpo.prune_at prune: none has no selections: expected [], found [5, 7]'],
    [
      ['grpo.prune=ovf-after', 'grpo.prune_at=[]'],
      'grpo.keep prune: ovf-after needs two counts (drawn, then kept), found [24, 16, 12]',
    ],
    [
      ['grpo.prune=best-of-n', 'grpo.keep=[24, 8]'],
      'grpo.prune_at prune: best-of-n selects by final rewards: expected [], found [5, 7]',
    ],
    [
      ['grpo.prune=best-of-n', 'grpo.keep=[24, 7]', 'grpo.prune_at=[]'],
      'grpo.keep prune: best-of-n keeps as many of the lowest as of the highest rewards: expected an even count last, found [24, 7]',
    ],
    [
      ['lora=null', 'model.weights=f32', 'grpo.kl=0.1', 'grpo.kl_reference=initial'],
      'grpo.kl_reference initial means the adapter as it began, but lora is null; expected base, a copy of the weights that learn',
    ],
    [['lora=null'], 'model.weights training every weight (lora: null) needs f32'],
    [
      ['train.weights=[conv_out.bias]'],
      "train.weights with an adapter the network's own weights stay as they are; expected lora: null",
    ],
    [['sampler.kind=ddim', 'sampler.noise=1.5'], 'sampler.noise eta of ddim is at most 1, found 1.5'],
    [
      ['sampler.noise=0'],
      'sampler.noise steps without noise have no ratio to learn from: expected a number above 0, found 0 (grpo.loss nft or awm can)',
    ],
    [
      ['grpo.forward_rows=2'],
      'grpo.forward_rows grpo.loss is ppo, which trains on steps of the path; expected 3, its default',
    ],
    [['grpo.nft_beta=0.1'], 'grpo.nft_beta grpo.loss is ppo, not nft; expected 1, its default'],
    [['grpo.awm_weight=t'], 'grpo.awm_weight grpo.loss is ppo, not awm; expected uniform, its default'],
    [
      ['grpo.loss=nft', 'grpo.awm_weight=t'],
      'grpo.awm_weight grpo.loss is nft, not awm; expected uniform, its default',
    ],
    [['grpo.loss=awm', 'grpo.nft_beta=0.1'], 'grpo.nft_beta grpo.loss is awm, not nft; expected 1, its default'],
    [
      ['grpo.loss=nft', 'grpo.clip=1e-5'],
      'grpo.clip grpo.loss is nft, which has no ratio to clip; expected 0.0001, its default',
    ],
    [
      ['grpo.loss=nft', 'grpo.kl=0.1'],
      'grpo.kl_form grpo.loss is nft, whose rows have no transition to compare; expected velocity, found flow-grpo',
    ],
    ...(['shuffle_timesteps', 'train_last_step'] as const).map((key): readonly [string[], string] => [
      ['grpo.loss=awm', `grpo.${key}=true`],
      `grpo.${key} grpo.loss is awm, which trains on no steps; expected false`,
    ]),
    [
      ['grpo.loss=awm', 'sampler.detach_unconditional=false'],
      'sampler.detach_unconditional grpo.loss is awm, which trains without guidance; expected true',
    ],
    [
      ['grpo.loss=nft', 'sampler.noise=0', 'sampler.same_latent=true'],
      'sampler.same_latent deterministic steps (sampler.noise: 0) from one latent make one picture; expected false',
    ],
    [['grpo.loss=nft', 'sampler.kind=ddim'], "grpo.loss nft is for flows; steps of kind ddim are a diffusion model's"],
    [
      ['sampler.window.size=10'],
      'sampler.window.size expected at most the 9 steps of sampler.window.range [0, 9], found 10',
    ],
    [
      ['sampler.window={size: 2, range: [8, 10]}'],
      'sampler.window.range expected a first step and an end above it of at most 9, without the last step of sampler.steps (grpo.train_last_step) 10, found [8, 10]',
    ],
    [
      ['sampler.window.size=2', 'sampler.noise=0', 'grpo.loss=nft'],
      'sampler.window steps without noise (sampler.noise: 0) have none; expected null',
    ],
    [['sampler.window={place: random}'], 'sampler.window.size missing; expected a whole number'],
    [
      ['sampler.window={size: 2, range: [5, 9]}', 'sampler.same_latent=true'],
      'sampler.same_latent the samples of a group are equal up to the first step of sampler.window, 5 at the latest: expected grpo.prune_at above it, found [5, 7]',
    ],
    [
      ['grpo.row_weights=tempflow', 'grpo.loss=awm'],
      'grpo.row_weights grpo.loss is awm, which trains on no steps; expected none, its default',
    ],
    [['reward={}'], 'reward expected one reward or more: { brightness: {} }'],
    [
      ['reward.mine={module: ./a.mjs, http: "http://x"}'],
      'reward.mine expected a module or an http server, found both',
    ],
    [
      ['sampler.steps=1', 'grpo.prune_at=[0]', 'grpo.keep=[24, 12]'],
      'sampler.steps expected 2 steps or more: the last is not trained (grpo.train_last_step)',
    ],
  ];
  for (const [sets, message] of cases)
    test(sets.join(' '), () => {
      const found = problems(least, ...sets);
      expect(found).toHaveLength(1);
      expect(found[0]!.endsWith(message), found[0]).toBe(true);
    });

  test('the methods that are meant to be are accepted', () => {
    for (const sets of [
      ['grpo.prune=none', 'grpo.keep=[24]', 'grpo.prune_at=[]'],
      ['grpo.prune=ovf-after', 'grpo.keep=[24, 12]', 'grpo.prune_at=[]'],
      ['grpo.prune=best-of-n', 'grpo.keep=[24, 8]', 'grpo.prune_at=[]'],
      ['grpo.prune=uniform'],
      ['grpo.prune=uniform', 'grpo.keep=[24, 12]', 'grpo.prune_at=[]'],
      ['grpo.loss=nft', 'sampler.noise=0', 'grpo.nft_beta=0.1', 'grpo.timestep_fraction=0.5', 'grpo.forward_rows=1'],
      ['grpo.loss=nft', 'sampler.noise=0.7', 'sampler.same_latent=true', 'grpo.kl=1e-4', 'grpo.kl_form=velocity'],
      ['grpo.loss=awm', 'sampler.noise=0', 'sampler.guidance=4', 'grpo.clip=1e-5', 'grpo.awm_weight=ghuber'],
      ['grpo.loss=awm', 'sampler.steps=1', 'grpo.prune_at=[0]', 'grpo.keep=[24, 12]'],
      ['sampler.window.size=2', 'sampler.window.place=random'],
      ['lora=null', 'model.weights=f32', 'grpo.kl=0.1'],
      ['grpo.kl=0.1', 'grpo.kl_reference=initial'],
      ['grpo.row_weights=guard', 'grpo.updates_per_rollout=2'],
    ])
      expect(problems(least, ...sets)).toEqual([]);
  });
});

describe('--set', () => {
  test('changes, adds and removes keys, the last winning', () => {
    const config = parse(least, 'grpo.keep=[48,24,12]', 'grpo.clip=1e-5', 'grpo.clip=1e-3', 'reward.color.weight=-0.5');
    expect(config.grpo).toMatchObject({ keep: [48, 24, 12], clip: 1e-3, prune_at: [5, 7] });
    expect(Object.keys(config.reward)).toEqual(['brightness', 'color']);
    expect(config.reward.color!.weight).toBe(-0.5);
    expect(parse(`${least}lora: null\n`, 'lora.rank=2').lora!.rank).toBe(2);
    expect(parse(least, 'model.path=a=b').model.path).toBe('a=b');
  });

  test('takes a side or [height, width], a negative prompt and a variant', () => {
    expect(parse(least, 'sampler.resolution=512').sampler.resolution).toBe(512);
    const sets = ['sampler.resolution=[512, 768]', 'sampler.negative_prompt=blurry', 'model.variant=fp16'];
    const { sampler, model } = parse(least, ...sets);
    expect([sampler.resolution, sampler.negative_prompt, model.variant]).toEqual([[512, 768], 'blurry', 'fp16']);
    for (const wrong of ['[512]', '[1, 2, 3]', '[512, x]', '4', 'wide'])
      expect(problems(least, `sampler.resolution=${wrong}`)[0]).toMatch(/sampler\.resolution.*expected/);
    expect(problems(least, 'model.variant=../fp16')[0]).toMatch(/model\.variant.*such as fp16/);
  });

  test('refuses what is no key or no value', () => {
    for (const set of ['grpo.keep', '=3', 'grpo..clip=1'])
      expect(() => parse(least, set)).toThrow('expected key=value');
    expect(() => parse(least, 'grpo.keep=[1')).toThrow('--set grpo.keep=[1');
    expect(problems(least, 'grpo.clp=1')).toEqual(['--set grpo.clp=1 grpo.clp unknown key (did you mean "clip"?)']);
    expect(problems(least, 'grpo.clip=2', 'grpo.clip=3')[0]).toMatch(/^--set grpo\.clip=3 .*found 3$/);
    expect(problems(least, '__proto__.x=1')).toEqual(['--set __proto__.x=1 __proto__ unknown key']);
  });
});

describe('where a configuration comes from', () => {
  test('a file, a folder of a run, a preset, or none', async () => {
    const path = join(folder, 'config.yaml');
    await writeFile(path, `${least}seed: 7\n`);
    expect((await loadConfig(path)).seed).toBe(7);
    expect((await loadConfig(folder, ['seed=8'])).seed).toBe(8);
    expect((await loadConfig('sd14')).sampler.steps).toBe(50);
    expect((await loadConfig()).model.path).toBe('scenes-flow');
  });

  test('what is not there is refused', async () => {
    await expect(loadConfig('nowhere/my.yaml')).rejects.toThrow('no file nowhere/my.yaml');
    await expect(loadConfig('sd35m-flsh')).rejects.toThrow(
      'no preset sd35m-flsh (did you mean "sd35m-flash"?); there are',
    );
    const path = join(folder, 'latin.yaml');
    await writeFile(path, Buffer.from([0x61, 0xe9, 0x3a]));
    await expect(loadConfig(path)).rejects.toThrow('latin.yaml: not UTF-8');
  });
});

describe('presets', () => {
  const expected: Readonly<Record<string, readonly [steps: number, keep: number[], at: number[], prune: string]>> = {
    sd35m: [10, [48, 24, 12], [5, 7], 'ovf'],
    'sd35m-flash': [10, [24, 16, 12], [5, 7], 'ovf'],
    sd14: [50, [48, 32, 8], [30, 40], 'ovf'],
    'flow-grpo': [10, [24], [], 'none'],
    'dance-grpo': [50, [16], [], 'none'],
    'scenes-flow': [10, [24, 16, 12], [5, 7], 'ovf'],
    'scenes-diffusion': [10, [48, 32, 8], [6, 8], 'ovf'],
  };

  // For a model of one's own.
  const methods: Readonly<Record<string, readonly [keep: number[], loss: string]>> = {
    flash: [[24, 16, 12], 'ppo'],
    'best-of-n': [[16, 8], 'ppo'],
    'diffusion-nft': [[24], 'nft'],
    'pro-nft': [[24, 16, 12], 'nft'],
    awm: [[16], 'awm'],
    'flow-grpo-fast': [[24], 'ppo'],
    'mix-grpo': [[12], 'ppo'],
    tempflow: [[24], 'ppo'],
    'grpo-guard': [[24], 'ppo'],
  };
  test('are those that are expected', () =>
    expect(presetNames()).toEqual([...Object.keys(expected), ...Object.keys(methods)].sort()));

  test('one that is a method alone asks for model, prompts and reward', async () => {
    for (const [method, [keep, loss]] of Object.entries(methods)) {
      const source = await readPreset(method);
      expect(problems(source.text).map((line) => line.split(' ')[1])).toEqual(['model', 'prompts', 'reward']);
      const kind = loss === 'ppo' ? ['sampler.kind=ddim'] : [];
      const own = ['model.path=m', 'prompts={train: t.txt, test: t.txt}', 'reward={color: {}}', ...kind];
      expect(parse(source.text, ...own).grpo).toMatchObject({ keep, loss });
      expect(source.text.startsWith(`# ${method}: `)).toBe(true);
      expect(commentedConfig(source)).toContain('\n  path:\n');
    }
  });

  for (const [name, [steps, keep, at, prune]] of Object.entries(expected)) {
    test(`${name} is valid, begins with its name, has its numbers, and is read back as written out`, async () => {
      const source = await readPreset(name);
      expect(source.text.startsWith(`# ${name}: `)).toBe(true);
      const config = parseConfig(source);
      const { sampler, grpo } = config;
      expect([sampler.steps, grpo.keep, grpo.prune_at, grpo.prune]).toEqual([steps, keep, at, prune]);
      expect(parse(formatConfig(config))).toEqual(config);
      expect(parse(commentedConfig(source))).toEqual(config);
    });
  }
});

describe('what is written of the entries', () => {
  test('a commented configuration has every key under its meaning, and no line that is too long', async () => {
    const text = commentedConfig(await readPreset('scenes-flow'));
    for (const { path, doc } of configEntries) {
      expect(doc, path.join('.')).not.toBe('');
      if (path.at(-1) === '*') continue;
      if (!path.includes('*')) expect(text).toMatch(new RegExp(`^ *(# )?${path.at(-1)}:`, 'm'));
      expect(text.replace(/\n *#/g, '')).toContain(doc);
    }
    expect(text).toContain('# yaml-language-server: $schema=winnow.schema.json');
    const comments = text.split('\n').filter((line) => /^ *#/.test(line));
    expect(Math.max(...comments.slice(3).map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  test('the schema for editors has types, ranges, defaults and meanings, and refuses unknown keys', () => {
    const { properties } = jsonSchema() as { properties: Record<string, { properties: Record<string, object> }> };
    expect(properties.grpo!.properties.clip).toMatchObject({ type: 'number', default: 1e-4, exclusiveMinimum: 0 });
    expect(properties.grpo!.properties.clip).toHaveProperty('description');
    expect(properties.sampler).toMatchObject({ additionalProperties: false });
  });

  test('a key has one default, also where a checkpoint of old does not have the key', () => {
    expect(defaultOf('train.eps')).toBe(1e-8);
    expect(defaultOf('sampler.noise')).toBeUndefined();
    expect(defaultOf('lora.rank')).toBe(8);
  });
});

test('suggestions are near in letters, also swapped ones, and not forced', () => {
  expect(suggestion('Clip', ['clip', 'kl'])).toBe(' (did you mean "clip"?)');
  expect(suggestion('pruen_at', ['prune', 'prune_at'])).toBe(' (did you mean "prune_at"?)');
  expect(suggestion('x', ['clip'])).toBe('');
  expect(suggestion('x', [])).toBe('');
});
