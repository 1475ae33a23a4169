/** `winnow export`: what a run has learned, for other programs. */

import { join } from 'node:path';
import { makeFolder, writing } from '../../../engine/files.js';
import { Device, tensor } from '../../../engine/index.js';
import type { LoraFile } from '../../../models/lora/load_lora.js';
import { type LoraWeights, type SaveLoraOptions, saveLora } from '../../../models/lora/save_lora.js';
import { pipelineKinds } from '../../../models/pipeline/kinds.js';
import { readCheckpointInfo } from '../../checkpoint.js';
import { readAdapter } from '../adapter.js';
import { UsageError } from '../errors.js';
import { RunFolder } from '../run/folder.js';
import { exportModel } from './model_folder.js';

export interface ExportOptions {
  readonly format: SaveLoraOptions['format'];
  /** The checkpoint after so many updates; default the last. */
  readonly step?: number;
  /** The moving averages instead of the weights. */
  readonly ema?: boolean;
  readonly dtype: 'f32' | 'f16';
  /** A folder; default `export/<format>` in the run's. */
  readonly out?: string;
  readonly device?: string;
  /** Told of a damaged checkpoint that is passed over. */
  readonly onWarning?: (message: string) => void;
}

/**
 * Writes the adapter and returns the path of its weights; of a run that trained the network's own, its model's folder. The
 * model itself is not loaded.
 */
export async function exportRun(given: string, options: ExportOptions): Promise<string> {
  const run = await RunFolder.open(given);
  const { step, ema } = options;
  const asIs = await run.wholeCheckpoint({ step, parts: [] });
  const { config } = await readCheckpointInfo(asIs.path);
  if (ema && config.train.ema === 0)
    throw new UsageError(`${run.path} has no moving averages: train.ema is 0; export without --ema`);
  const weights = ema ? 'ema' : 'adapter';
  const { path: checkpoint, warnings } = await run.wholeCheckpoint({ step, parts: [weights] });
  for (const warning of warnings) options.onWarning?.(warning);
  const out = options.out ?? join(run.path, 'export', options.format);
  const { component } = pipelineKinds[run.info.model.kind];
  const dtype = options.dtype === 'f16' ? 'F16' : 'F32';
  if (config.lora === null) {
    if (options.format !== 'diffusers')
      throw new UsageError(
        `${run.path} trained ${config.train.weights ? 'weights of the network' : 'every weight'}: --format diffusers writes its model's folder, ${options.format} is for adapters`,
      );
    const file = join(checkpoint, `${weights}.safetensors`);
    const { variant } = config.model;
    return exportModel({ base: run.info.model.path, component, weights: file, out, dtype, variant });
  }
  const device = await Device.create({ name: options.device, provideDriver: true, quiet: true });
  try {
    const lora = onDevice(device, await readAdapter(checkpoint, weights));
    return await writing(out, async () => {
      await makeFolder(out);
      return saveLora(out, lora, { format: options.format, component, dtype });
    });
  } finally {
    device.close();
  }
}

/** A file's adapter as tensors. */
function onDevice(device: Device, { rank, alpha, values }: LoraFile): LoraWeights {
  const modules = [...values].map(([name, { rank: width, down, up }]) => ({
    name,
    down: tensor(device, down, [width, down.length / width]),
    up: tensor(device, up, [up.length / width, width]),
  }));
  return { modules, rank, alpha };
}
