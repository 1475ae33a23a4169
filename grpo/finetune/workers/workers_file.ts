/** workers.json: the machines that draw and differentiate for a run. */
import { z } from 'zod';

/** The file's name in the run's folder. */
export const workersFile = 'workers.json';

const worker = z.strictObject({
  /** Host and process. */
  name: z.string(),
  adapter: z.string(),
  /** What it does; silent and left ones are no longer there. */
  state: z.enum(['loading', 'idle', 'working', 'aside', 'refused', 'left', 'silent']),
  /** Why it is refused, or set aside. */
  reason: z.string().optional(),
  /** Groups that it has drawn. */
  groups: z.int().min(0),
  /** ISO 8601, by the server's clock. */
  seen: z.string(),
});

export const workersFileSchema = z.strictObject({
  /** What the run is called in Redis; a run that goes on keeps it. */
  id: z.string().regex(/^[\w-]{1,64}$/),
  /** The address, without credentials. */
  server: z.string(),
  /** Adapter and kernels that all workers have, where those of the first one count. */
  kind: z.strictObject({ adapter: z.string(), kernels: z.string() }).optional(),
  workers: z.array(worker),
});

export type WorkersFile = z.output<typeof workersFileSchema>;
export type WorkerRecord = z.output<typeof worker>;
