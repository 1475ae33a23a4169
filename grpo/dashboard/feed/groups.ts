/** groups.jsonl, which grows to hundreds of megabytes: where its lines are, and a group when it is asked for. */

import { openInside } from '../../serve/inside.js';
import { GrowingFile, parseLine } from './growing_file.js';

/** Which group a line tells of. */
export interface GroupKey {
  /** Updates done with it, from 1. */
  readonly update: number;
  /** Its number in the update, from 0. */
  readonly group: number;
}

const file = 'groups.jsonl';

/** Where the groups of a run are in its file, in its order. */
export class GroupIndex {
  private readonly growing: GrowingFile;
  private readonly places: number[] = []; // start and length in bytes, update, group
  private readonly width = 4;

  constructor(private readonly folder: string) {
    this.growing = new GrowingFile(folder, file);
  }

  get length(): number {
    return this.places.length / this.width;
  }

  advance(): Promise<boolean> {
    return this.growing.advance({
      restart: () => {
        this.places.length = 0;
      },
      line: (bytes, at) => {
        const key = keyOf(bytes);
        if (key) this.places.push(at, bytes.length, key.update, key.group);
      },
    });
  }

  /** Which group is the index-th. */
  key(index: number): GroupKey | undefined {
    const [, , update, group] = this.places.slice(this.width * index, this.width * (index + 1));
    return update === undefined || group === undefined ? undefined : { update, group };
  }

  /** The index of a group, searched for from the newest; -1 where there is none. */
  find({ update, group }: GroupKey): number {
    for (let i = this.length - 1; i >= 0; i--) {
      const key = this.key(i)!;
      if (key.update === update && key.group === group) return i;
    }
    return -1;
  }

  /** The record of the index-th group; undefined where there is none, or the file has changed under it. */
  async read(index: number): Promise<Readonly<Record<string, unknown>> | undefined> {
    const [start, length] = this.places.slice(this.width * index, this.width * index + 2);
    if (index < 0 || start === undefined || length === undefined) return undefined;
    const handle = await openInside(this.folder, file);
    try {
      const bytes = Buffer.alloc(length);
      await handle?.read(bytes, 0, length, start);
      return parseLine(bytes);
    } finally {
      await handle?.close();
    }
  }
}

/** Reads the key off the beginning of a line: parsing all of it for two numbers takes a hundred times as long. */
function keyOf(bytes: Buffer): GroupKey | undefined {
  const [, update, group] = /^\{"update":(\d+),"group":(\d+)[,}]/.exec(bytes.toString('latin1', 0, 64)) ?? [];
  return update === undefined ? undefined : { update: Number(update), group: Number(group) };
}
