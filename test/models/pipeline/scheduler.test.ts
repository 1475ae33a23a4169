/** What is done with every argument of diffusers' schedulers (their signatures: test/fixtures/schedulers). */
import { readFileSync } from 'node:fs';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { scheduleOf } from '../../../grpo/finetune/policy.js';
import { ModelFileError, measurePipeline, type PipelineKind } from '../../../models/index.js';
import { takeScheduler } from '../../../models/pipeline/scheduler.js';
import { temporaryFolder } from '../../temporary.js';

const temporary = temporaryFolder();

type Config = Readonly<Record<string, unknown>>;

/** What is done with an argument: a value of it that is not the default, beside other keys, and what that does. */
interface Row {
  readonly value: unknown;
  readonly beside?: Config;
  /** `obeyed`: the steps are others; `nothing`: they are the same, for the reason; `refused`: by name. */
  readonly does: 'obeyed' | 'refused' | 'nothing';
  readonly reason?: string;
}

const obeyed = (value: unknown, beside: Config = {}): Row => ({ value, beside, does: 'obeyed' });
const refused = (value: unknown): Row => ({ value, does: 'refused' });
const nothing = (value: unknown, reason: string): Row => ({ value, does: 'nothing', reason });

const betas = Array.from({ length: 1000 }, (_, i) => 0.001 + i * 1e-5);
const sampler = 'a setting of a sampler; DDIM samples';

const diffusion: Readonly<Record<string, Row>> = {
  num_train_timesteps: obeyed(500),
  beta_start: obeyed(0.001),
  beta_end: obeyed(0.03),
  beta_schedule: obeyed('squaredcos_cap_v2'),
  trained_betas: obeyed(betas),
  set_alpha_to_one: obeyed(false),
  steps_offset: obeyed(1, { timestep_spacing: 'leading' }),
  prediction_type: obeyed('v_prediction'),
  timestep_spacing: obeyed('trailing'),
  rescale_betas_zero_snr: obeyed(true, { prediction_type: 'sample' }),
  clip_sample: obeyed(true),
  clip_sample_range: obeyed(0.5, { clip_sample: true }),
  thresholding: refused(true),
  dynamic_thresholding_ratio: nothing(0.9, 'read with thresholding alone'),
  sample_max_value: nothing(2, 'read with thresholding alone'),
  timestep_type: refused('continuous'),
  sigma_min: refused(0.01),
  sigma_max: refused(10),
  use_flow_sigmas: refused(true),
  use_dynamic_shifting: refused(true),
  shift_terminal: refused(0.1),
  flow_shift: nothing(3, 'read with use_flow_sigmas alone'),
  time_shift_type: nothing('linear', 'read with use_flow_sigmas alone'),
  skip_prk_steps: nothing(true, sampler),
  solver_order: nothing(3, sampler),
  algorithm_type: nothing('sde-dpmsolver++', sampler),
  solver_type: nothing('heun', sampler),
  solver_p: nothing({}, sampler),
  lower_order_final: nothing(false, sampler),
  euler_at_final: nothing(true, sampler),
  final_sigmas_type: nothing('sigma_min', sampler),
  lambda_min_clipped: nothing(-5.1, sampler),
  predict_x0: nothing(false, sampler),
  disable_corrector: nothing([0], sampler),
  interpolation_type: nothing('log_linear', sampler),
  variance_type: nothing('learned_range', sampler),
  use_karras_sigmas: nothing(true, sampler),
  use_exponential_sigmas: nothing(true, sampler),
  use_beta_sigmas: nothing(true, sampler),
  use_lu_lambdas: nothing(true, sampler),
};

const dynamic = { use_dynamic_shifting: true };
const flow: Readonly<Record<string, Row>> = {
  num_train_timesteps: obeyed(500),
  shift: obeyed(3),
  use_dynamic_shifting: obeyed(true),
  base_shift: obeyed(0.3, dynamic),
  max_shift: obeyed(2, dynamic),
  base_image_seq_len: obeyed(64, dynamic),
  max_image_seq_len: obeyed(1024, dynamic),
  time_shift_type: obeyed('linear', dynamic),
  shift_terminal: obeyed(0.1),
  use_karras_sigmas: obeyed(true),
  use_exponential_sigmas: obeyed(true),
  use_beta_sigmas: obeyed(true),
  invert_sigmas: refused(true),
  stochastic_sampling: refused(true),
};

/** The steps of a folder's scheduler. */
function stepsOf(kind: PipelineKind, config: Config): unknown {
  const scheduler = takeScheduler('F', config, { kind });
  const network = { patch_size: 2 } as Parameters<typeof scheduleOf>[0]['config']; // all of it that is read
  return scheduleOf({ kind, scheduler, latentSize: 48, config: network }, 7);
}

const signatures = JSON.parse(
  readFileSync(join(packageRoot(), 'test', 'fixtures', 'schedulers', 'signatures.json'), 'utf8'),
) as Readonly<Record<string, Config>>;

for (const [name, defaults] of Object.entries(signatures)) {
  const [kind, table]: [PipelineKind, typeof flow] = name.startsWith('Flow') ? ['sd3', flow] : ['dit', diffusion];
  const usual = { _class_name: name };

  describe(name, () => {
    test('has a row for every argument', () => {
      expect(Object.keys(defaults).filter((key) => !(key in table))).toEqual([]);
    });

    for (const [key, usualValue] of Object.entries(defaults)) {
      const row = table[key];
      if (!row) continue;
      // Of a switch, the other value than the class's default.
      const value = typeof row.value === 'boolean' && row.value === usualValue ? !row.value : row.value;
      test(`${key}: an absent one is the default, ${JSON.stringify(value).slice(0, 30)} ${row.does}`, () => {
        const beside = { ...usual, ...row.beside };
        expect(stepsOf(kind, { ...beside, [key]: usualValue })).toEqual(stepsOf(kind, beside));
        const changed = () => stepsOf(kind, { ...beside, [key]: value });
        if (row.does === 'refused') {
          expect(changed).toThrow(ModelFileError);
          expect(changed).toThrow(`F\n  ${key} is ${JSON.stringify(value)}, expected `);
        } else if (row.does === 'obeyed') {
          expect(changed()).not.toEqual(stepsOf(kind, beside));
          const wrong = () => stepsOf(kind, { ...beside, [key]: 'abc' });
          expect(wrong).toThrow(ModelFileError);
          expect(wrong).toThrow(`F\n  ${key} is "abc", expected `);
        } else expect(changed()).toEqual(stepsOf(kind, beside));
      });
    }

    test('is taken with a warning where it is not the one that samples', () => {
      const { warnings } = takeScheduler('F', usual, { kind });
      const own = name === 'DDIMScheduler' || kind === 'sd3';
      expect(warnings).toEqual(own ? [] : [expect.stringMatching(`names ${name}: DDIM samples`)]);
    });
  });
}

test('a warning names the settings of a sampler that are not read', () => {
  const config = { _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true, euler_at_final: false };
  const { warnings } = takeScheduler('F', config, { kind: 'sd1' });
  expect(warnings).toEqual([expect.stringMatching(/DDIM samples.*; not read: use_karras_sigmas$/)]);
});

test("StableDiffusionPipeline's corrections are made, and DiTPipeline makes none", () => {
  const file = { _class_name: 'DDIMScheduler', steps_offset: 0, clip_sample: true };
  const config = (kind: PipelineKind) => takeScheduler('F', file, { kind }).config;
  expect(config('sd1')).toMatchObject({ steps_offset: 1, clip_sample: false });
  expect(config('dit')).toMatchObject({ steps_offset: 0, clip_sample: true });
});

describe('refused by name', () => {
  const messageOf = (config: Config, kind: PipelineKind = 'sd1'): string => {
    try {
      takeScheduler('F', config, { kind });
      return 'taken';
    } catch (error) {
      expect(error).toBeInstanceOf(ModelFileError);
      return (error as Error).message;
    }
  };

  test.each<[Config, string]>([
    [{ _class_name: 'LCMScheduler' }, '_class_name is "LCMScheduler", expected one of DDIMScheduler, '],
    [{ _class_name: 'FlowMatchEulerDiscreteScheduler' }, '_class_name is "FlowMatchEulerDiscreteScheduler"'],
    [
      { beta_schedule: 'sigmoid' },
      'beta_schedule is "sigmoid", expected one of linear, scaled_linear, squaredcos_cap_v2',
    ],
    [{ beta_start: 0 }, 'beta_start is 0, expected a number between 0 and 1'],
    [{ beta_end: 1.5 }, 'beta_end is 1.5, expected a number between 0 and 1'],
    [
      { prediction_type: 'flow_prediction' },
      'prediction_type is "flow_prediction", expected one of epsilon, v_prediction',
    ],
    [{ timestep_spacing: 'even' }, 'timestep_spacing is "even", expected one of leading, trailing, linspace'],
    [{ num_train_timesteps: 1e9 }, 'num_train_timesteps is 1000000000, expected an integer from 1 to 100000'],
    [{ trained_betas: [0.1, 0.2] }, 'trained_betas is "2 betas", expected num_train_timesteps 1000, one for each'],
    [{ trained_betas: [0.1, 2] }, 'trained_betas is [0.1,2], expected a list of numbers between 0 and 1'],
    [{ steps_offset: -1 }, 'steps_offset is -1, expected an integer of 0 or more'],
    [{ predict_epsilon: false }, 'predict_epsilon is false, expected true'],
    [{ a_key_of_next_year: 3 }, 'a_key_of_next_year is 3, expected a key of the scheduler that is implemented'],
    [
      { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' },
      'prediction_type is "epsilon", expected v_prediction or sample, as rescale_betas_zero_snr',
    ],
  ])('%j of diffusion', (config, message) => {
    expect(messageOf(config)).toContain(`F\n  ${message}`);
  });

  test.each<[Config, string]>([
    [{ _class_name: 'DDIMScheduler' }, '_class_name is "DDIMScheduler", expected FlowMatchEulerDiscreteScheduler'],
    [{ shift: 0 }, 'shift is 0, expected a positive number'],
    [{ shift_terminal: 1 }, 'shift_terminal is 1, expected a number from 0'],
    [
      { use_karras_sigmas: true, use_beta_sigmas: true },
      'use_beta_sigmas is true, expected false beside use_karras_sigmas',
    ],
    [
      { use_dynamic_shifting: true, max_image_seq_len: 256 },
      'max_image_seq_len is 256, expected more than base_image_seq_len 256',
    ],
  ])('%j of a flow', (config, message) => {
    expect(messageOf(config, 'sd3')).toContain(`F\n  ${message}`);
  });

  test('all that is wrong stands in one message, and what is off or about the file in none', () => {
    expect(messageOf({ thresholding: true, beta_start: 'x', next: 1 }).split('\n')).toHaveLength(4);
    expect(messageOf({ _diffusers_version: '1', next: false, after: null })).toBe('taken');
  });
});

describe('of a folder', () => {
  const changed = async (change: (text: string) => string): Promise<string> => {
    const folder = join(temporary, `folder-${Math.random().toString(36).slice(2)}`);
    await cp(join(packageRoot(), 'test', 'fixtures', 'pipelines', 'sd1'), folder, { recursive: true });
    const path = join(folder, 'scheduler', 'scheduler_config.json');
    await writeFile(path, change(await readFile(path, 'utf8')));
    return folder;
  };

  test('is refused before a network is declared', async () => {
    const folder = await changed((text) => text.replace('"thresholding": false', '"thresholding": true'));
    await expect(measurePipeline(folder)).rejects.toThrow(
      'scheduler_config.json\n  thresholding is true, expected false',
    );
  });

  test("has Python's infinity, as diffusers writes it", async () => {
    const solver = '"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity';
    const folder = await changed((text) => text.replace('"_class_name": "DDIMScheduler"', solver));
    await expect(measurePipeline(folder)).resolves.toMatchObject({ kind: 'sd1' });
  });
});
