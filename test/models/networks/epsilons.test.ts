/**
 * What norms add to the variance. A wrong one changes outputs of ordinary weights by little more than rounding does, so it is
 * read from the modules instead: a config's epsilon is set to a value that nothing else has.
 */
import { expect, test } from 'vitest';
import { Parameters } from '../../../models/blocks/parameters.js';
import { CLIPTextModel } from '../../../models/networks/clip_text.js';
import { T5EncoderModel } from '../../../models/networks/t5.js';
import { UNet2DConditionModel } from '../../../models/networks/unet.js';
import { AutoencoderKL } from '../../../models/networks/vae.js';
import { readConfig } from '../golden.js';

/** How many norms within `module` have which epsilon. */
function epsilonsOf(module: object): Record<string, number> {
  const counts: Record<string, number> = {};
  const visit = (value: object, within: readonly object[] = []): void => {
    if (within.includes(value)) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'config' || key === 'parameters') continue;
      if (key === 'eps') counts[inner] = (counts[inner] ?? 0) + 1;
      else if (typeof inner === 'object' && inner !== null) visit(inner, [...within, value]);
    }
  };
  visit(module);
  return counts;
}

const given = 0.25;

test('a UNet: norm_eps in residual blocks and at the end, 1e-6 before attention, 1e-5 within its blocks', () => {
  const config = readConfig('tiny_unet_conv');
  const network = new UNet2DConditionModel(new Parameters(), { ...config, norm_eps: given } as never);
  const names = declaredNames((parameters) => new UNet2DConditionModel(parameters, config as never));
  const count = (pattern: RegExp): number => names.filter((name) => pattern.test(name)).length;
  expect(epsilonsOf(network)).toEqual({
    [given]: count(/resnets\.\d+\.norm\d\.weight$/) + count(/conv_norm_out\.weight$/),
    1e-6: count(/attentions\.\d+\.norm\.weight$/),
    1e-5: count(/transformer_blocks\.\d+\.norm\d\.weight$/),
  });
});

test('a VAE: 1e-6 everywhere', () => {
  const config = readConfig('tiny_vae4');
  const network = new AutoencoderKL(new Parameters(), config as never);
  expect(Object.keys(epsilonsOf(network))).toEqual(['0.000001']);
});

test('encoders of text: the epsilon of their config everywhere', () => {
  const clip = new CLIPTextModel(new Parameters(), {
    ...readConfig('tiny_clip_text_gelu'),
    layer_norm_eps: given,
  } as never);
  expect(Object.keys(epsilonsOf(clip))).toEqual([`${given}`]);
  const t5 = new T5EncoderModel(new Parameters(), { ...readConfig('tiny_t5'), layer_norm_epsilon: given } as never);
  expect(Object.keys(epsilonsOf(t5))).toEqual([`${given}`]);
});

function declaredNames(declare: (parameters: Parameters) => object): string[] {
  const parameters = new Parameters();
  declare(parameters);
  return parameters.all.map(({ name }) => name);
}
