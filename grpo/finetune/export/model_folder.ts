/** `winnow export` of a run that trained the network's own weights: its model's folder, with the network as it is now. */
import { cp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { makeFolder, writing } from '../../../engine/files.js';
import {
  type FileTensor,
  openSafetensors,
  type SafetensorsFile,
  writeSafetensors,
} from '../../../engine/safetensors.js';
import { findWeights, openWeights, type WeightFiles } from '../../../models/files/weight_files.js';
import { fileElements } from '../../../models/files/weights.js';
import { CheckpointError } from '../../checkpoint.js';
import { UsageError } from '../errors.js';

export interface ModelExport {
  /** The folder of the model that the run began with. */
  readonly base: string;
  /** The subfolder of the network: unet or transformer. */
  readonly component: string;
  /** The checkpoint's file of weights, f32. */
  readonly weights: string;
  /** A folder that does not exist yet, or is empty. */
  readonly out: string;
  readonly dtype: 'F32' | 'F16';
  /** The variant of the model's files that the run read. */
  readonly variant?: string | undefined;
}

/** A folder's entries; none where it does not exist. */
const entriesOf = (folder: string): Promise<string[]> =>
  readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });

/**
 * Copies the model's folder, links followed, with the run's weights in the place of the network's. It appears whole or not at
 * all. Returns its path. Throws a UsageError where something is there already, a CheckpointError where the weights can't be read.
 */
export async function exportModel({ base, component, weights, out, dtype, variant }: ModelExport): Promise<string> {
  const aside = `${out}.${process.pid}.part`;
  return writing(out, async () => {
    if ((await entriesOf(out)).length > 0) throw new UsageError(`${out} has files already; give a new folder by --out`);
    await makeFolder(dirname(out));
    const network = join(base, component) + sep;
    const wanted = (path: string): boolean =>
      !path.startsWith(network) || (path.endsWith('.json') && !path.endsWith('.index.json'));
    try {
      await cp(base, aside, { recursive: true, dereference: true, filter: wanted });
      const files = await findWeights(join(base, component), { variant });
      const to = join(aside, component, 'diffusion_pytorch_model.safetensors');
      await writeNetwork(files, { trained: weights, to, dtype });
      await rm(out, { recursive: true, force: true });
      await rename(aside, out);
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
    return out;
  });
}

/** Writes the base network's weights with those that the run trained in their places. */
async function writeNetwork(
  base: WeightFiles,
  { trained, to, dtype }: Pick<ModelExport, 'dtype'> & { readonly trained: string; readonly to: string },
): Promise<void> {
  const open: SafetensorsFile[] = [];
  const keep = (file: SafetensorsFile): SafetensorsFile => {
    open.push(file);
    return file;
  };
  try {
    const own = keep(
      await openSafetensors(trained).catch((cause: Error) => {
        throw new CheckpointError(`can't export ${trained}: ${cause.message}`, { cause });
      }),
    );
    const tensors = new Map<string, FileTensor>();
    for (const [path] of base.shards) {
      const shard = keep(await openWeights(path));
      for (const [name, { shape }] of shard.entries) {
        const file = own.entries.has(name) ? own : shard;
        tensors.set(name, {
          dtype,
          shape,
          data: async () => fileElements((await file.read(name)) as Float32Array, dtype, name),
        });
      }
    }
    await writeSafetensors(to, Object.fromEntries(tensors), { format: 'pt' });
  } finally {
    for (const file of open) await file.close();
  }
}
