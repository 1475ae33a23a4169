/** «Train now»: a training in this process, as a page follows it. */

import { dirname } from 'node:path';
import { messageOf } from '../../engine/errors.js';
import { type Dashboard, startDashboard } from '../dashboard/index.js';
import { loadConfig } from '../finetune/config/file.js';
import { InterruptedError } from '../finetune/errors.js';
import { exportRun } from '../finetune/export/export.js';
import type { RunEvent } from '../finetune/run/events.js';
import type { RewardSummary } from '../finetune/run/metrics.js';
import type { Pause } from '../finetune/run/pause.js';
import { type RunConfigOptions, runConfig } from '../finetune/run/run_config.js';

export type LessonStatus = 'none' | 'fitting' | 'loading' | 'training' | 'stopping' | 'done' | 'stopped' | 'failed';

/** A training as a page shows it. */
export interface Lesson {
  readonly status: LessonStatus;
  /** Updates done, and to do in all. */
  readonly update: number;
  readonly of: number;
  /** The run's folder, once it has one. */
  readonly run?: string | undefined;
  /** Updates after which a grid of samples was drawn, the first before any. */
  readonly grids: readonly number[];
  /** The dashboard of the run. */
  readonly dashboard?: string | undefined;
  /** Whether its taste was fitted again meanwhile, by which its scores before and after are of two scales. */
  readonly renewed?: boolean | undefined;
  /** Of each reward on held-out prompts, once it is done. */
  readonly rewards?: Readonly<Record<string, RewardSummary>> | undefined;
  /** Why it ended, where it failed. */
  readonly message?: string | undefined;
}

/** None has been begun. */
export const noLesson: Lesson = { status: 'none', update: 0, of: 0, grids: [] };

export interface LessonOptions
  extends Pick<RunConfigOptions, 'config' | 'set' | 'out' | 'device' | 'seed' | 'between'> {
  /** A run whose adapter it begins with. */
  readonly from?: string | undefined;
  /** Told of each change. */
  readonly changed: (lesson: Lesson) => void;
}

/** A training that goes on. */
export interface RunningLesson {
  readonly ended: Promise<void>;
  /** Ends it in good order: after the group at hand, with a checkpoint. */
  stop(): void;
  /** Ends the dashboard of its run. */
  close(): Promise<void>;
}

/** Starts a training, and a dashboard of its run when it has one. Nothing is thrown: how it ended is in what is told last. */
export function startLesson({ changed, from, between, ...options }: LessonOptions): RunningLesson {
  const end = new AbortController();
  const asked = new Set<'save' | 'sample'>();
  let page: Promise<Dashboard> | undefined;
  let lesson: Lesson = { ...noLesson, status: 'loading' };
  const change = (changes: Partial<Lesson>): void => {
    lesson = { ...lesson, ...changes };
    changed(lesson);
  };
  const stop = (): void => {
    if (end.signal.aborted || isOver(lesson.status)) return;
    change({ status: 'stopping' });
    end.abort(new InterruptedError('SIGINT'));
  };
  const train = async (): Promise<void> => {
    change({});
    const asking = async (pause: Pause): Promise<void> => {
      const renew = async (): Promise<void> => {
        await pause.renew();
        change({ renewed: true });
      };
      await between?.({ ...pause, renew });
    };
    const initLora = from && (await adapterOf(from));
    for await (const event of runConfig({ ...options, initLora, between: asking, signal: end.signal, asked })) {
      if (event.kind === 'started') {
        const act = (action: 'save' | 'sample' | 'stop'): void => {
          if (action === 'stop') stop();
          else asked.add(action);
        };
        page = startDashboard({ runs: [event.run, dirname(event.run)], live: { folder: event.run, act } });
        change({ dashboard: (await page).url });
      }
      change(changesBy(event, lesson));
    }
  };
  const ended = train().catch((error: unknown) => {
    const isStopped = error instanceof InterruptedError;
    change({
      status: isStopped ? 'stopped' : 'failed',
      message: isStopped ? undefined : messageOf(error),
    });
  });
  return { ended, stop, close: async () => (await page)?.close() };
}

/** The file of what a run has learned, as its pictures show it. */
async function adapterOf(run: string): Promise<string> {
  const { train } = await loadConfig(run);
  return exportRun(run, { format: 'peft', dtype: 'f32', ema: train.ema > 0 });
}

export const isOver = (status: LessonStatus): boolean => ['none', 'done', 'stopped', 'failed'].includes(status);

function changesBy(event: RunEvent, { status, grids }: Lesson): Partial<Lesson> {
  switch (event.kind) {
    case 'started':
      return {
        status: status === 'stopping' ? status : 'training',
        run: event.run,
        of: event.config.train.updates,
      };
    case 'update':
      return { update: event.update, of: event.of };
    case 'pictures':
      return { grids: [...grids, event.update] };
    case 'done':
      return { status: 'done', rewards: event.rewards };
    default:
      return {};
  }
}
