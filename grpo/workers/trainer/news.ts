/** What a person is told of a run's workers: who came, who left, who is refused and why, and that nobody is there. */
import type { WorkersEvent } from '../../finetune/run/events.js';
import { isThere, type WorkerRecord, type WorkersFile } from '../../finetune/workers/workers_file.js';
import type { SeenWorker } from '../board.js';
import { decode, machineSchema } from '../messages.js';
import type { Connection, Keys } from '../redis/connection.js';

type Message = WorkersEvent['messages'][number];

const patience = 3000; // milliseconds without a worker until that is said: one that leaves may be replaced at once

export class WorkerNews {
  private known = new Map<string, WorkerRecord['state']>();
  private told = '';
  private file: WorkersFile;
  private waiting: number | undefined;
  private saysWaiting = false;

  constructor(
    id: string,
    private readonly connection: Connection,
    private readonly keys: Keys,
    private readonly tell: (event: WorkersEvent) => void,
  ) {
    this.file = { id, server: connection.address, workers: [] };
    this.say([]);
  }

  /** Takes a look at the workers; `waits` where tasks do and nobody works. */
  readonly look = (seen: readonly SeenWorker[], waits: boolean): void => {
    const messages = this.changes(seen);
    if (!waits) [this.waiting, this.saysWaiting] = [undefined, false];
    this.waiting ??= performance.now();
    const { address } = this.connection;
    if (waits && !this.saysWaiting && performance.now() - this.waiting >= patience) {
      this.saysWaiting = true;
      messages.push({
        text: `no worker at ${address}: waiting for one (winnow worker --redis ${address})`,
        isWarning: true,
      });
    }
    this.say(messages);
  };

  /** Takes a look while nothing is asked of the workers. */
  glance(seen: readonly SeenWorker[]): void {
    this.say(this.changes(seen));
  }

  private changes(seen: readonly SeenWorker[]): Message[] {
    const records = seen.map(recordOf);
    const messages = records.flatMap((record, i) => this.change(seen[i]!.id, record));
    this.known = new Map(seen.map(({ id }, i) => [id, records[i]!.state]));
    this.file = { ...this.file, workers: records };
    if (!this.file.kind) void this.learnKind().catch(() => {});
    return messages;
  }

  /** Says something else, of the server. */
  warn(text: string): void {
    this.say([{ text, isWarning: true }]);
  }

  /** The kind of machine that the first worker has set. */
  private async learnKind(): Promise<void> {
    const kind = decode(machineSchema, await this.connection.redis.get(this.keys.machine));
    if (kind) this.file = { ...this.file, kind };
  }

  private change(id: string, { name, adapter, state, reason }: WorkerRecord): Message[] {
    const before = this.known.get(id);
    const wasThere = before !== undefined && isThere(before);
    if (before === state) return [];
    if (state === 'refused') return [{ text: `worker ${name} is refused: ${reason}`, isWarning: true }];
    if (state === 'aside') return [{ text: `worker ${name} is set aside for a while: ${reason}`, isWarning: true }];
    if (state === 'silent') return wasThere ? [{ text: `worker ${name} has gone silent`, isWarning: true }] : [];
    if (state === 'left') return wasThere ? [{ text: `worker ${name} has left`, isWarning: false }] : [];
    return wasThere ? [] : [{ text: `worker ${name} is here: ${adapter}`, isWarning: false }];
  }

  private say(messages: readonly Message[]): void {
    const text = JSON.stringify(this.file);
    if (messages.length === 0 && text === this.told) return;
    this.told = text;
    this.tell({ kind: 'workers', file: this.file, messages });
  }
}

const recordOf = ({ name, adapter, state, reason, groups, seen, alive }: SeenWorker): WorkerRecord => ({
  name,
  adapter,
  state: alive || state === 'left' || state === 'refused' ? state : 'silent',
  ...(reason !== undefined && { reason }),
  groups,
  seen: new Date(seen).toISOString(),
});
