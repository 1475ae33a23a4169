/** Model folders as the trainer sees them. */
import { expect, test } from 'vitest';
import { modelFolder, scheduleOf } from '../../../grpo/finetune/policy.js';
import type { Pipeline } from '../../../models/pipeline/pipeline.js';
import { takeScheduler } from '../../../models/pipeline/scheduler.js';
import { testDevice } from '../../check.js';
import { loadTiny, tinyFolder } from '../tiny.js';

const device = await testDevice();

test('an embedded model is found by its name, any other path stays as it is', () => {
  expect(modelFolder('scenes-flow')).toMatch(/models.embedded.scenes-flow$/);
  expect(modelFolder('./scenes-flow')).toBe('./scenes-flow');
});

test('a scheduler config that says nothing is DDIM as the class has it: the last step ends at the clean sample', () => {
  const config = { _class_name: 'DDIMScheduler' };
  const scheduler = takeScheduler('scheduler_config.json', config, { kind: 'dit' });
  // Of a diffusion model nothing else is read.
  const schedule = scheduleOf({ scheduler } as Pipeline, 5);
  expect(schedule.kind === 'diffusion' && schedule.steps.at(-1)?.alphaNext).toBe(1);
});

test('the adapter learns under PEFT names, and the reference is the network without it', async () => {
  const model = await loadTiny(device, 'sd3');
  const names = [...model.trainable.keys()];
  expect(names).toContain('transformer_blocks.0.attn.add_q_proj.lora_A.weight');
  expect(names.length).toBe(2 * model.lora!.modules.length);
  expect([...model.trainable.values()].every(({ requiresGrad }) => requiresGrad)).toBe(true);
  expect(model.kind).toBe('flow');
  expect([model.latentShape, model.pictureSize]).toEqual([
    [4, 8, 8],
    [16, 16],
  ]);
  model.dispose();
});

test('without an adapter every weight learns, and needs f32', async () => {
  const path = tinyFolder('sd1');
  const model = await loadTiny(device, 'sd1', { lora: null, model: { path, weights: 'f32' } });
  expect(model.trainable.size).toBe(model.pipeline.parameters.all.length);
  expect(model.reference).toBeUndefined();
  expect(model.kind).toBe('diffusion');
  model.dispose();
  await expect(loadTiny(device, 'sd1', { lora: null, model: { path, weights: 'f16' } })).rejects.toThrow(
    'model.weights is f16; training every weight (lora: null) needs f32',
  );
});

test('named weights alone learn, vectors also where matrices are kept in f16', async () => {
  const path = tinyFolder('sd1');
  const own = (weights: string[]) =>
    loadTiny(device, 'sd1', { lora: null, model: { path, weights: 'f16' }, train: { weights } });
  const model = await own(['conv_out.bias', 'to_out.0.bias']);
  const names = [...model.trainable.keys()];
  expect(names).toContain('conv_out.bias');
  expect(names.every((name) => name === 'conv_out.bias' || name.endsWith('.to_out.0.bias'))).toBe(true);
  const learning = model.pipeline.parameters.all.filter(({ tensor }) => tensor.requiresGrad);
  expect(learning.map(({ name }) => name)).toEqual(names);
  model.dispose();
  await expect(own(['conv_out.weight'])).rejects.toThrow('conv_out.weight is kept in f16; training it needs');
  await expect(own(['conv_out.bias', 'conv_in'])).rejects.toThrow('weights is named conv_in');
});

test('a resolution sets the latents; one that the decoder lacks is refused, and nothing stays in memory', async () => {
  const model = await loadTiny(device, 'sd1', { sampler: { resolution: 24 } });
  expect([model.latentShape, model.pictureSize]).toEqual([
    [4, 12, 12],
    [24, 24],
  ]);
  model.dispose();
  await expect(loadTiny(device, 'sd1', { sampler: { resolution: 17 } })).rejects.toThrow(
    'sampler.resolution is 17, expected a multiple of 2',
  );
  const lora = { rank: 2, alpha: 2, targets: ['nothing_like_it'] };
  await expect(loadTiny(device, 'sd1', { lora })).rejects.toThrow('nothing_like_it');
});

test("DanceGRPO's steps take its own levels, every other kind the folder's", async () => {
  const model = await loadTiny(device, 'sd3');
  const sigmas = (step?: 'dance' | 'cps'): readonly number[] => {
    const schedule = model.schedule(10, step);
    return schedule.kind === 'flow' ? schedule.levels.sigmas : [];
  };
  expect(sigmas('cps')).toEqual(sigmas());
  expect(sigmas().at(-2)).toBeCloseTo(0.0089, 4);
  expect(sigmas('dance').at(-2)).toBeCloseTo(0.25, 6); // 3 u / (1 + 2 u) at u = 0.1
  model.dispose();
});

test('what the folder lacks is known to the model, and a run reads a picture of two sides and a negative prompt', async () => {
  const model = await loadTiny(device, 'sd3', { sampler: { resolution: [16, 24], negative_prompt: 'blurry' } });
  expect(model.warnings).toEqual([expect.stringContaining('the folder has no text_encoder_3: 5 tokens of zeros')]);
  expect([model.pictureSize, model.negativePrompt]).toEqual([[16, 24], 'blurry']);
  model.dispose();
  await expect(loadTiny(device, 'sd1', { sampler: { resolution: [16, 17] } })).rejects.toThrow(
    'sampler.resolution is [16,17], expected a multiple of 2',
  );
  await expect(
    loadTiny(device, 'sd1', { model: { path: tinyFolder('sd1'), weights: 'f16', variant: 'fp16' } }),
  ).rejects.toThrow('no file of the variant fp16');
});
