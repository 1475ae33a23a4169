/**
 * Networks at full size, `npm run test:full [sd14|sd35m]`: random weights of the true shapes are written in 16 bits to a
 * temporary folder, loaded by the ordinary way, and one guided denoising step runs. Prints time and memory. Needs some
 * 8 GB of disk and 16 GB of RAM on a software adapter; not part of the tests.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes } from '../engine/errors.js';
import { capture, Device, noGrad, scope, type Tensor, tensor } from '../engine/index.js';
import { type FileTensor, writeSafetensors } from '../engine/safetensors.js';
import { toHalf } from '../engine/tensor/dtype.js';
import { guided, initialLatents, type Policy } from '../grpo/sampling/sampler.js';
import { Parameters } from '../models/blocks/parameters.js';
import type { ConfigKeys, ConfigTable, ResolvedKeys } from '../models/files/config.js';
import { readConfig } from '../models/files/config_file.js';
import { loadWeights } from '../models/files/weights.js';
import {
  CLIPTextModel,
  CLIPTextModelWithProjection,
  clipTextConfig,
  clipTokens,
} from '../models/networks/clip_text.js';
import { SD3Transformer2DModel, sd3Config } from '../models/networks/mmdit.js';
import { UNet2DConditionModel } from '../models/networks/unet.js';
import { unetConfig } from '../models/networks/unet_config.js';
import { AutoencoderKL, vaeConfig } from '../models/networks/vae.js';
import { readConfig as configFixture, stream } from './models/rule.js';

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const report = (device: Device, what: string, since: number): void => {
  const { liveBytes, plannedBytes } = device.memory();
  const rss = process.memoryUsage().rss;
  console.log(
    `${what.padEnd(44)} ${seconds(since).padStart(8)}   GPU ${formatBytes(liveBytes + plannedBytes)}, process ${formatBytes(rss)}`,
  );
};

const pattern = stream('full size', 65_521); // repeated along each tensor

/** Random halves of deviation 1 / sqrt(fan in); gains about 1. */
function halves(name: string, shape: readonly number[]): Uint16Array {
  const size = shape.reduce((product, n) => product * n, 1);
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  const gain = shape.length === 1 && name.endsWith('weight');
  const scale = shape.length >= 2 ? Math.sqrt(12 / fanIn) : 0.1;
  const tile = Uint16Array.from(pattern, (u) => toHalf((gain ? 1 : 0) + scale * u));
  const values = new Uint16Array(size);
  for (let at = 0; at < size; at += tile.length) values.set(tile.subarray(0, Math.min(tile.length, size - at)), at);
  return values;
}

/** Writes a component with random weights to `folder/name`, and loads it from there. */
async function component<K extends ConfigKeys, N>(
  device: Device,
  folder: string,
  name: string,
  Network: new (parameters: Parameters, config: ResolvedKeys<K>) => N,
  shape: ConfigTable<K>,
): Promise<N> {
  const target = join(folder, name);
  await mkdir(target);
  await writeFile(join(target, 'config.json'), JSON.stringify(configFixture(name)));
  const config = await readConfig(target, shape);
  const start = performance.now();
  const parameters = new Parameters({ storage: 'f16' });
  const network = new Network(parameters, config);
  const tensors = parameters.all.map(({ name: key, shape: sizes }): [string, FileTensor] => [
    key,
    { dtype: 'F16', shape: sizes, data: async () => halves(key, sizes) },
  ]);
  await writeSafetensors(join(target, 'model.safetensors'), Object.fromEntries(tensors), { format: 'pt' });
  report(device, `${name}: ${parameters.all.length} tensors written`, start);

  const loading = performance.now();
  await loadWeights(device, target, parameters);
  await device.sync();
  report(device, `${name}: loaded`, loading);
  await rm(target, { recursive: true });
  return network;
}

/** One guided step of a policy, captured as samplers run it, twice: the first run compiles the kernels. */
async function step(
  device: Device,
  what: string,
  policy: Policy,
  shape: readonly number[],
  condition: readonly Tensor[],
  unconditional: readonly Tensor[],
): Promise<void> {
  const latents = initialLatents(device, [1], shape);
  const timestep = tensor(device, [801]);
  const start = performance.now();
  const captured = await capture(device, () =>
    noGrad(() => guided(policy, latents, timestep, condition, { scale: 4.5, unconditional })),
  );
  report(device, `${what}: captured`, start);
  for (const run of ['first', 'again']) {
    const started = performance.now();
    captured.run();
    const values = await captured.outputs.data();
    if (!Array.from(values).every(Number.isFinite)) throw new Error(`${what}: a value is not finite`);
    report(device, `${what}: ${run}`, started);
  }
  captured.dispose();
}

const ids = (first: number): number[][] => [[49406, first, ...Array(75).fill(49407)]];

async function sd14(device: Device, folder: string): Promise<void> {
  const text = await component(device, folder, 'sd14_text_encoder', CLIPTextModel, clipTextConfig);
  const encode = (first: number): Tensor[] =>
    scope(device, () =>
      noGrad(() => [
        text.forward(clipTokens(device, ids(first), configFixture('sd14_text_encoder')).ids).lastHiddenState,
      ]),
    );
  const [condition, unconditional] = [encode(320), encode(49407)];
  const unet = await component(device, folder, 'sd14_unet', UNet2DConditionModel, unetConfig);
  const policy: Policy = (latents, timestep, [context]) => unet.forward(latents, timestep, context!);
  await step(device, 'UNet, 64x64 latents, guided', policy, [4, 64, 64], condition, unconditional);
  const vae = await component(device, folder, 'sd14_vae', AutoencoderKL, vaeConfig);
  const start = performance.now();
  const image = scope(device, () => noGrad(() => vae.decode(initialLatents(device, [2], [4, 32, 32]))));
  if (!Array.from(await image.data()).every(Number.isFinite)) throw new Error('VAE: a value is not finite');
  report(device, 'VAE decode to 256x256', start);
}

async function sd35m(device: Device, folder: string): Promise<void> {
  const text = await component(device, folder, 'sd35m_text_encoder', CLIPTextModelWithProjection, clipTextConfig);
  const { textEmbeds } = scope(device, () =>
    noGrad(() => text.forward(clipTokens(device, ids(320), configFixture('sd35m_text_encoder')))),
  );
  const transformer = await component(device, folder, 'sd35m_transformer', SD3Transformer2DModel, sd3Config);
  // 77 tokens of CLIP, 4096 wide, and pooled vectors of 2048: the first encoder's, repeated.
  const pooledValues = Array.from(await textEmbeds.data());
  const made = (scale: number): Tensor[] => [
    tensor(
      device,
      stream('context', 77 * 4096).map((u) => scale * u),
      [1, 77, 4096],
    ),
    tensor(
      device,
      Array.from({ length: 2048 }, (_, i) => scale * pooledValues[i % pooledValues.length]!),
      [1, 2048],
    ),
  ];
  const policy: Policy = (latents, timestep, [context, pooled]) =>
    transformer.forward(latents, timestep, context!, pooled!);
  await step(device, 'MMDiT, 512x512, guided', policy, [16, 64, 64], made(1), made(0.5));
}

const models = { sd14, sd35m };
const wanted = process.argv.slice(2);
for (const [name, run] of Object.entries(models)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const device = await Device.create({ memoryBudget: 16e9, provideDriver: true });
  const folder = await mkdtemp(join(tmpdir(), 'winnow-full-'));
  console.log(`${name} on ${device.info.description || device.info.device}`);
  try {
    await run(device, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
    device.close();
  }
}
