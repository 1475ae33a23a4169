/** Folders with changed schedulers: the pictures that diffusers' pipelines draw with them (test/fixtures/schedulers). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { scope } from '../../../engine/tensor/scope.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { packageRoot } from '../../../engine/version.js';
import { scheduleOf } from '../../../grpo/finetune/policy.js';
import { Sampler } from '../../../grpo/sampling/sampler.js';
import { odeStepsOf } from '../../../grpo/sampling/transitions.js';
import { readJson } from '../../../models/files/weight_files.js';
import { loadPipeline, type Pipeline, type PipelineKind } from '../../../models/index.js';
import { takeScheduler } from '../../../models/pipeline/scheduler.js';
import { testDevice } from '../../check.js';
import { readFixture } from '../../fixtures.js';

const device = await testDevice();
const fixtures = join(packageRoot(), 'test', 'fixtures');

interface Case {
  readonly kind: PipelineKind;
  readonly steps: number;
  readonly guidance: number;
  /** Keys of scheduler_config.json, and those that are taken out of it. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly without: readonly string[];
}

const cases = JSON.parse(readFileSync(join(fixtures, 'schedulers', 'pictures.json'), 'utf8')) as Case[];
const { tensors } = await readFixture('schedulers/pictures');

interface Loaded {
  readonly pipeline: Pipeline;
  readonly sampler: (guidance: number) => Promise<Sampler>;
  readonly dispose: () => void;
}

/** A folder, and a sampler of each guidance, which serve all cases. */
async function load(kind: PipelineKind): Promise<Loaded> {
  const pipeline = await loadPipeline(device, join(fixtures, 'pipelines', kind), { maxSequenceLength: 5 });
  const prompt = kind === 'dit' ? '0' : 'a red circle';
  const [condition, unconditional] = [pipeline.encode([prompt]), pipeline.encode([''])];
  const samplers = new Map<number, Sampler>();
  return {
    pipeline,
    sampler: async (scale) => {
      const { shape } = tensors.get(`latents.${kind}`)!;
      const found =
        samplers.get(scale) ??
        (await Sampler.create(device, pipeline.predict, shape, condition, { scale, unconditional }));
      samplers.set(scale, found);
      return found;
    },
    dispose: () => {
      for (const each of [...samplers.values(), ...condition, ...unconditional, pipeline]) each.dispose();
    },
  };
}

for (const kind of ['sd1', 'dit', 'sd3'] as const) {
  test(`${kind}: every prediction, spacing and level is drawn as diffusers draws it, to five digits`, async () => {
    const { pipeline, sampler, dispose } = await load(kind);
    const path = join(fixtures, 'pipelines', kind, 'scheduler', 'scheduler_config.json');
    const given = await readJson(path);
    const { values, shape } = tensors.get(`latents.${kind}`)!;
    const initial = tensor(device, values, shape);
    for (const [i, { steps, guidance, changes, without }] of cases.entries()) {
      if (cases[i]!.kind !== kind) continue;
      const kept = Object.fromEntries(Object.entries(given).filter(([key]) => !without.includes(key)));
      const scheduler = takeScheduler(path, { ...kept, ...changes }, { kind });
      const schedule = scheduleOf({ ...pipeline, scheduler }, steps);
      const latents = await (await sampler(guidance)).sample(initial, odeStepsOf(schedule));
      const image: Tensor = scope(device, () => pipeline.vae.decode(pipeline.vae.unscaled(latents)));
      const actual = Float32Array.from(await image.data(), (value) => Math.min(1, Math.max(0, (value + 1) / 2)));
      image.dispose();
      const expected = tensors.get(`picture.${i}`)!.values;
      const worst = Math.max(...Array.from(actual, (value, k) => Math.abs(value - expected[k]!)));
      expect(worst, JSON.stringify(cases[i])).toBeLessThanOrEqual(1e-5);
    }
    initial.dispose();
    dispose();
  });
}
