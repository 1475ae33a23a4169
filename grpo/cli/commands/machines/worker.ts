/** `winnow worker`: draws and differentiates shards of other machines' runs. */
import type { Command } from 'commander';
import { loadConfig } from '../../../finetune/config/file.js';
import { serve } from '../../../workers/worker/serve.js';
import type { ServeEvent } from '../../../workers/worker/serve_events.js';
import { catchInterrupts } from '../../interrupts.js';
import * as shared from '../../options.js';
import { Reporter } from '../../reporter.js';

interface WorkerOptions {
  readonly redis?: string;
  readonly redisCa?: string;
  readonly device?: string;
  readonly set?: readonly string[];
  readonly json?: boolean;
}

export function addWorker(program: Command): void {
  program
    .command('worker')
    .description('draw and differentiate for runs of winnow train --workers; Ctrl-C ends after the shard at hand')
    .argument('[config]', "says where the run's model folder, reward modules and servers are on this machine")
    .option('--redis <url>', 'redis://host:6379 or rediss://... (default: WINNOW_REDIS)')
    .option('--redis-ca <file>', "the certificate behind the server's, for rediss://")
    .option(...shared.set)
    .option(...shared.device)
    .option(...shared.json)
    .action(worker);
}

async function worker(
  given: string | undefined,
  { redis, redisCa, set, device, ...options }: WorkerOptions,
): Promise<void> {
  const reporter = new Reporter(options);
  const interruption = catchInterrupts(() =>
    reporter.hint('ending after the shard at hand; press Ctrl-C again to end at once'),
  );
  try {
    const config = given === undefined && !set ? undefined : await loadConfig(given, set);
    const { signal } = interruption;
    for await (const event of serve({ url: redis, ca: redisCa, device, config, signal })) {
      if (event.kind === 'warning' || event.kind === 'refused') reporter.warn(lineOf(event));
      else reporter.progress(lineOf(event));
      const { kind, ...facts } = event;
      reporter.object({ event: kind, ...facts });
    }
  } finally {
    reporter.clear();
    interruption.release();
  }
}

function lineOf(event: ServeEvent): string {
  switch (event.kind) {
    case 'ready':
      return `worker   ${event.adapter} at ${event.server}`;
    case 'joined':
      return `joined   run ${event.run}`;
    case 'left':
      return `left     run ${event.run}`;
    case 'refused':
      return `run ${event.run} does not take this worker: ${event.reason}`;
    case 'task': {
      const { draw, learn, move } = event.seconds;
      const seconds = [`drawing ${draw.toFixed(2)}`, `learning ${learn.toFixed(2)}`, `moving ${move.toFixed(2)}`];
      const what =
        event.task === 'look'
          ? `evaluation  ${event.pictures} pictures`
          : `update ${event.update}  ${event.groups} groups`;
      return `${what}  ${seconds.join('  ')} s`;
    }
    case 'warning':
      return event.message;
  }
}
