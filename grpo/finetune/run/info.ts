/** run.json: what a run is, how far it is, and why it ended. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { FileError } from '../../../engine/errors.js';
import { reading, sha256Of } from '../../../engine/files.js';
import { version } from '../../../engine/version.js';
import { type PipelineKind, pipelineKinds } from '../../../models/pipeline/kinds.js';
import type { RunConfig } from '../../config.js';
import { formatConfig } from '../config/format.js';
import type { Session } from '../session.js';
import { ownerOf } from './lock.js';
import type { RewardSummary } from './metrics.js';

/** run.json. */
export interface RunInfo {
  readonly format: 1;
  readonly status: 'running' | 'done' | 'interrupted' | 'failed';
  readonly versions: { readonly winnow: string; readonly node: string };
  readonly platform: string;
  /** The GPU's, with its driver. */
  readonly adapter: string;
  /** The commit of the working directory, where that is a repository. */
  readonly git?: string;
  /** Of config.yaml. */
  readonly configHash: string;
  readonly model: {
    readonly path: string;
    readonly kind: PipelineKind;
    readonly parameters: number;
    readonly trainable: number;
  };
  readonly process: { readonly pid: number; readonly host: string };
  /** ISO 8601. */
  readonly started: string;
  readonly changed: string;
  /** Updates done, and to do in all. */
  readonly updates: number;
  readonly of: number;
  /** Seconds at work, over all resumptions. */
  readonly seconds: number;
  /** Network calls of sampling, pictures decoded, steps of trajectories or forward rows trained. */
  readonly totals: { readonly calls: number; readonly decodes: number; readonly trained: number };
  /** `reward` is the weighted sum that is trained on. */
  readonly rewards?: Readonly<Record<string, RewardSummary>>;
  readonly exit?: { readonly code: number; readonly reason: string };
}

export const hashConfig = (config: RunConfig): string => sha256Of(formatConfig(config)).slice(0, 16);

/** What is known of a run before its first update. */
export async function describeRun({
  config,
  device,
  model,
}: Pick<Session, 'config' | 'device' | 'model'>): Promise<RunInfo> {
  const now = new Date().toISOString();
  const git = await promisify(execFile)('git', ['rev-parse', 'HEAD']).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  const count = (tensors: Iterable<{ readonly size: number }>): number =>
    [...tensors].reduce((sum, { size }) => sum + size, 0);
  return {
    format: 1,
    status: 'running',
    versions: { winnow: version, node: process.versions.node },
    platform: `${process.platform} ${process.arch}`,
    adapter: device.info.description,
    ...(git && { git }),
    configHash: hashConfig(config),
    model: {
      path: model.folder,
      kind: model.pipeline.kind,
      parameters: count(model.pipeline.parameters.all.map(({ tensor }) => tensor)),
      trainable: count(model.trainable.values()),
    },
    process: { pid: process.pid, host: hostname() },
    started: now,
    changed: now,
    updates: 0,
    of: config.train.updates,
    seconds: 0,
    totals: { calls: 0, decodes: 0, trained: 0 },
  };
}

/** The file of a run's folder. Throws a FileError where it is none. */
export async function readInfo(folder: string): Promise<RunInfo> {
  const path = join(folder, 'run.json');
  const text = await reading(path, 'what a run says of itself', () => readFile(path, 'utf8'));
  try {
    return infoSchema.parse(JSON.parse(text)) as unknown as RunInfo; // of which the schema has what is read again
  } catch (error) {
    const [issue] = error instanceof z.ZodError ? error.issues : [];
    const what = issue ? `${issue.path.join('.') || 'the file'}: ${issue.message}` : (error as Error).message;
    throw new FileError(`${path}: not a run: ${what}`, { cause: error });
  }
}

/** A number that JSON has as null, as it has no infinity. */
const orInfinite = (infinity: number) =>
  z
    .number()
    .nullable()
    .transform((value) => value ?? infinity);

const summary = z.looseObject({
  before: orInfinite(Number.NaN),
  after: orInfinite(Number.NaN),
  low: orInfinite(Number.NEGATIVE_INFINITY),
  high: orInfinite(Number.POSITIVE_INFINITY),
});

/** What of run.json is read again: by listings, and by what goes on with a run. */
const infoSchema = z.looseObject({
  format: z.literal(1, { error: ({ input }) => `${JSON.stringify(input)}, expected 1` }),
  status: z.enum(['running', 'done', 'interrupted', 'failed']),
  model: z.looseObject({ path: z.string(), kind: z.enum(Object.keys(pipelineKinds)) }),
  process: z.looseObject({ pid: z.int().positive(), host: z.string() }),
  started: z.string(),
  updates: z.number(),
  of: z.number(),
  seconds: z.number(),
  rewards: z.record(z.string(), summary).optional(),
  exit: z.looseObject({ code: z.number(), reason: z.string() }).optional(),
});

/** That of a run; one that is marked as running but that no process holds is given as failed. */
export async function livelyInfo(folder: string): Promise<RunInfo> {
  const owner = await ownerOf(folder); // before the file is read: a run that ends between the two has said so there
  const info = await readInfo(folder);
  if (info.status !== 'running' || owner) return info;
  return { ...info, status: 'failed', exit: { code: 137, reason: 'its process has ended without a word' } };
}
