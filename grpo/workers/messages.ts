/**
 * What the trainer and its workers tell each other, checked on both sides: nothing that comes from the queue is opened, run, or
 * taken for more than these numbers and texts.
 */
import { z } from 'zod';
import { sha256Of } from '../../engine/files.js';
import type { Prompt } from '../model.js';
import type { GroupResult } from '../rollout/group.js';

/** A number that JSON may have no sign for, written as a text then. */
const real = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity']).transform((text) => Number(text))]);
const reals = z.array(real);
const count = z.int().min(0);
const counts = z.array(count);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const blob = z.strictObject({ hash, bytes: count });
const name = z.string().max(200);
/** A sentence; a machine that says more is not read at all. */
const sentence = z.string().max(4000);

const prompt = z.strictObject({ prompt: z.string(), meta: z.record(z.string(), z.unknown()) });

/** A prompt as tasks have it. */
export const toldPrompt = ({ prompt: text, meta }: Prompt): z.output<typeof prompt> => ({
  prompt: text,
  meta: { ...meta },
});
const row = z.strictObject({ group: count, sample: count, step: count, advantage: real });

/** Hash of what the run computes (runHash): a worker that has loaded another configuration of it does nothing. */
const run = hash;

const shard = {
  run,
  /** Number of the update, and that of the shard's first group in it. */
  update: count,
  first: count,
  prompts: z.array(prompt).min(1),
  /** The weights that draw. */
  drawn: blob,
};

export const taskSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('draw'),
    ...shard,
    /** Rows that make the mean of the update's loss, where it is known before: the gradient is computed at once. Else null. */
    total: count.nullable(),
    /** Hand on the pictures of the first group. */
    pictures: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal('learn'),
    ...shard,
    /** The weights that learn. */
    weights: blob,
    /** The shard's rows, and how many rows of all shards make the mean. */
    rows: z.array(row),
    total: count,
    /** The shard's rows of all optimizer steps, whose predictions by the weights that drew are kept. */
    kept: z.array(row),
  }),
  /** Pictures of an evaluation, or of a grid. */
  z.strictObject({
    kind: z.literal('look'),
    run,
    weights: blob,
    jobs: z
      .array(
        z.strictObject({
          prompt,
          seed: z
            .int()
            .min(0)
            .max(2 ** 32 - 1),
        }),
      )
      .min(1),
    /** Score them by every reported reward; hand on the pictures. */
    scored: z.boolean(),
    shown: z.boolean(),
  }),
]);
export type Task = z.output<typeof taskSchema>;
export type LookTask = Extract<Task, { kind: 'look' }>;
export type ShardTask = Exclude<Task, LookTask>;

/** A job's data: where the task's text is found. */
export const jobSchema = z.strictObject({ task: blob });
export type Job = z.output<typeof jobSchema>;

const group = z.strictObject({
  selections: z.array(z.strictObject({ step: count, samples: counts, rewards: reals.optional(), kept: counts })),
  survivors: z.array(z.strictObject({ sample: count, reward: z.number() })),
  lost: counts,
  finals: reals,
  byReward: z.record(z.string(), reals),
  first: z.array(z.number()),
  baseline: z.array(z.number()),
  calls: count,
  decodes: count,
  seconds: z.strictObject({ sample: z.number(), reward: z.number() }),
});

const size = { width: count, height: count, finite: z.boolean() };

/** Pictures of the first group, as they were scored at a step: their bytes lie in a blob, one after the other. */
const scored = z.strictObject({
  step: count,
  pictures: z.array(
    z.strictObject({
      sample: count,
      reward: real,
      parts: z.record(z.string(), real),
      ...size,
    }),
  ),
});

export const reportSchema = z.strictObject({
  /** The task's hash. */
  task: hash,
  worker: name,
  /** What was drawn; absent of a learning that asked for no drawing. */
  groups: z.array(group).optional(),
  /** FLOP of a network call and of a decode. */
  costs: z.strictObject({ network: z.number(), decode: z.number() }).optional(),
  /** The shard's sums: gradients, averages, deviation. */
  gradient: blob.optional(),
  pictures: z.strictObject({ bytes: blob, steps: z.array(scored) }).optional(),
  /** Of a look: raw scores by the reward's name, and the pictures. */
  scores: z.record(z.string(), reals).optional(),
  shown: z.strictObject({ bytes: blob, pictures: z.array(z.strictObject(size)) }).optional(),
  /** Seconds of drawing with its rewards, of learning, and of moving bytes. */
  seconds: z.strictObject({ draw: z.number(), learn: z.number(), move: z.number() }),
});
export type Report = z.output<typeof reportSchema>;

export const failureSchema = z.strictObject({
  /** A reward, by its name, or something else. */
  reward: name.nullable(),
  message: sentence,
});
export type Failure = z.output<typeof failureSchema>;

/** What a machine is, as far as bits depend on it. */
export const identitySchema = z.strictObject({
  winnow: name,
  adapter: sentence,
  kernels: sentence,
  model: hash,
  rewards: z.record(z.string(), z.string()),
});
export type Identity = z.output<typeof identitySchema>;

/** What of a machine is alike in all workers of a run that takes no mixed ones. */
export const machineSchema = identitySchema.pick({ adapter: true, kernels: true });
export type Machine = z.output<typeof machineSchema>;

/** What a run is, for workers: nothing of it is a path. */
export const runSchema = z.strictObject({
  identity: identitySchema,
  /** Whether the first worker's adapter and kernels count in place of the identity's. */
  open: z.boolean(),
  /** Keys of the configuration (own_config.ts). */
  config: z.record(z.string(), z.unknown()),
  /** Values of the reference policy's copy, where there is one. */
  reference: blob.nullable(),
});
export type RunDescription = z.output<typeof runSchema>;

/** Hash of what a run's tasks come out by, besides themselves and the machine. */
export const runHash = ({ config, reference }: Pick<RunDescription, 'config' | 'reference'>): string =>
  sha256Of(encode({ config, reference }));

export const workerStates = ['loading', 'idle', 'working', 'aside', 'refused', 'left'] as const;

/** Who works, as it says of itself. */
export const workerSchema = z.strictObject({
  id: name,
  /** Host and process. */
  name,
  adapter: sentence,
  state: z.enum(workerStates),
  /** Why it is refused, or set aside. */
  reason: sentence.optional(),
  groups: count,
  /** Milliseconds of the server's clock. */
  joined: z.number(),
  seen: z.number(),
});
export type WorkerInfo = z.output<typeof workerSchema>;

/** JSON in which numbers that it has no sign for are texts. */
export const encode = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'number' && !Number.isFinite(each) ? String(each) : each,
  );

/** What a text says, by a schema; undefined where it does not fit. */
export function decode<T>(schema: z.ZodType<T>, text: string | null): T | undefined {
  if (text === null) return undefined;
  try {
    const { success, data } = schema.safeParse(JSON.parse(text));
    return success ? data : undefined;
  } catch {
    return undefined;
  }
}

/** A group as a report has it: the trainer knows its prompt. */
export type ReportedGroup = NonNullable<Report['groups']>[number];

/** What is reported of a group that was drawn: numbers, and not where they lie on the worker's device. */
export const reportedGroup = ({ prompt: _, survivors, ...facts }: GroupResult): ReportedGroup =>
  ({ ...facts, survivors: survivors.map(({ sample, reward }) => ({ sample, reward })) }) as ReportedGroup; // mutable there
