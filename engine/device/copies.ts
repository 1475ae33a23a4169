/** Copies that a captured step need not make: what wrote their source can write their target. */
import { isPlainCopy } from '../../kernels/elementwise.js';
import type { BufferRange, Dispatch } from './encoder.js';
import type { Storage } from './memory.js';

/** Names of the bindings that a dispatch writes. */
export type WrittenBy = (dispatch: Dispatch) => readonly string[];

/**
 * The dispatches without the copies of intermediates that one dispatch writes and nothing but the copy reads: that one
 * writes the copy's target instead, the same bits one dispatch sooner. So gradients land where AdamW gathers them.
 *
 * A copy stays where its target's bytes are in use between the two, where the writer binds another part of the target's buffer
 * (WebGPU forbids it), and where `isIntermediate` is false of its source.
 */
export function elideCopies(
  dispatches: readonly Dispatch[],
  isIntermediate: (storage: Storage) => boolean,
  writtenBy: WrittenBy,
): Dispatch[] {
  const result: (Dispatch | undefined)[] = [...dispatches];
  const uses = usesOf(dispatches);
  dispatches.forEach((copy, i) => {
    const [source, target] = [copy.buffers.a, copy.buffers.y];
    if (!isPlainCopy(copy.plan) || !source || !target) return;
    const places = uses.get(source.storage)!;
    const [first, last] = places;
    const readByCopyAlone = places.length === 2 && last!.at === i && first!.at !== i;
    if (!readByCopyAlone || !isWhole(source) || !isIntermediate(source.storage)) return;
    const inUse = [target.storage, target.storage.whole].some((storage) =>
      uses
        .get(storage!)
        ?.some((use) => use.at >= first!.at && use.at < i && (storage !== target.storage || overlap(use, target))),
    );
    const writer = result[first!.at]!;
    const names = Object.keys(writer.buffers).filter((name) => writer.buffers[name]?.storage === source.storage);
    const [name] = names;
    const others = Object.values(writer.buffers).filter((range) => range && range.storage !== source.storage);
    const bindsBuffer = others.some((range) => bufferOf(range!) === bufferOf(target));
    if (inUse || names.length !== 1 || !writtenBy(writer).includes(name!) || bindsBuffer) return;
    if (!isWhole(writer.buffers[name!]!)) return;
    result[first!.at] = { ...writer, buffers: { ...writer.buffers, [name!]: target } };
    result[i] = undefined;
    uses.get(target.storage)!.push({ ...target, at: first!.at });
  });
  return result.filter((dispatch) => dispatch !== undefined);
}

const isWhole = ({ storage, offset, bytes }: BufferRange): boolean => offset === 0 && bytes === storage.bytes;

const bufferOf = ({ storage }: BufferRange): Storage => storage.whole ?? storage;

/** A range of a storage that the dispatch at a place of the list binds. */
interface Use extends BufferRange {
  readonly at: number;
}

const overlap = (a: BufferRange, b: BufferRange): boolean =>
  a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;

/** The uses of each storage, in order. */
function usesOf(dispatches: readonly Dispatch[]): Map<Storage, Use[]> {
  const uses = new Map<Storage, Use[]>();
  dispatches.forEach(({ buffers }, at) => {
    for (const range of Object.values(buffers)) {
      if (!range) continue;
      const known = uses.get(range.storage);
      if (known) known.push({ ...range, at });
      else uses.set(range.storage, [{ ...range, at }]);
    }
  });
  return uses;
}
