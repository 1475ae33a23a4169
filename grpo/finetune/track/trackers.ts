/** What follows a run besides its records. */
import type { RunConfig } from '../../config.js';
import type { Sink } from '../run/events.js';
import type { RunFolder } from '../run/folder.js';
import { previewsSink } from './previews.js';
import { tensorboardSink } from './tensorboard.js';
import { trackioSink } from './trackio.js';

/** The trackers that a configuration asks for, of a run with so many updates done. What a person should know goes to `notices`. */
export function trackersOf(run: RunFolder, config: RunConfig, updates: number, notices: string[]): Sink[] {
  const { tensorboard, trackio } = config.track;
  return [
    previewsSink(run.previews, config.save.previews),
    ...(tensorboard ? [tensorboardSink(run, updates)] : []),
    ...(trackio === undefined ? [] : [trackioSink(trackio, run, { warn: (message) => void notices.push(message) })]),
  ];
}
