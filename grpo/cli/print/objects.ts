/** A run's events as the objects that `--json` prints. */
import type { RunEvent } from '../../finetune/run/events.js';

/** What is printed of an event; undefined for those that are not. */
export function objectOf(event: RunEvent): Readonly<Record<string, unknown>> | undefined {
  switch (event.kind) {
    case 'started':
      return { event: 'run', run: event.run, config: event.config, model: event.info.model };
    case 'update':
      return { event: 'update', ...event.record };
    case 'evaluation':
      return { event: 'evaluation', update: event.update, rewards: event.rewards };
    case 'checkpoint':
      return { event: 'checkpoint', update: event.update, path: event.path };
    case 'workers': {
      // A look at the workers that has nothing to say comes every second or two.
      const { file, messages } = event;
      if (messages.length === 0) return undefined;
      return { event: 'workers', messages: messages.map(({ text }) => text), workers: file.workers };
    }
    case 'done': {
      const { run, updates, seconds, rewards, samples } = event;
      return { event: 'done', run, updates, seconds, rewards, samples };
    }
    default:
      return undefined;
  }
}
