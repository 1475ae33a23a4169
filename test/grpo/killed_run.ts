/** A run that the checkpoint test kills: `folder updates`. It goes on from the last checkpoint, and writes one after each update. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Device } from '../../engine/device/device.js';
import {
  checkpointName,
  listCheckpoints,
  pruneCheckpoints,
  readCheckpoint,
  writeCheckpoint,
} from '../../grpo/checkpoint.js';
import type { RunConfig } from '../../grpo/config.js';
import { promptsOfUpdate } from '../../grpo/prompt_order.js';
import { Trainer } from '../../grpo/trainer.js';
import { brightness, loadTiny, tinyConfig, tinyPrompts } from './tiny.js';

const [folder, updates] = process.argv.slice(-2) as [string, string];
const config = tinyConfig({
  grpo: { updates_per_rollout: 2, shuffle_timesteps: true, timestep_fraction: 0.5 },
  train: { ema: 0.9 },
}) as RunConfig; // the rest plays no part here
const device = await Device.create({ provideDriver: true });
const model = await loadTiny(device, 'sd3');
const trainer = await Trainer.create(model, brightness(), config);
await mkdir(folder, { recursive: true });
const last = (await listCheckpoints(folder)).at(-1);
if (last) await readCheckpoint(last, trainer.state, config);
process.stdout.write(`from ${trainer.updates}\n`);
while (trainer.updates < Number(updates)) {
  await trainer.update(promptsOfUpdate(tinyPrompts, 2, config.seed, trainer.updates));
  await writeCheckpoint(join(folder, checkpointName(trainer.updates)), trainer.state, config);
  await pruneCheckpoints(folder, 2);
  process.stdout.write(`update ${trainer.updates}\n`);
}
device.close();
process.exit(0);
