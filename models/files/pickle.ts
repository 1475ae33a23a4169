/**
 * Reading pickles as inert data: numbers, texts, lists, maps, and a record for everything else. Nothing is imported or
 * called, so a file from anywhere is safe to read. Protocols 2 to 5, as torch.save writes them. (Python's pickletools.)
 */

/** A global of the pickle, `torch FloatStorage`: its module and its name. */
export class Global {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}
}

/** What would have been made by calling a global. */
export class Call {
  constructor(
    readonly callee: unknown,
    readonly args: readonly unknown[],
  ) {}
}

/** A tensor's storage and the like: kept outside the pickle, under this id. */
export class Persistent {
  constructor(readonly id: unknown) {}
}

const mark = Symbol('mark');

/** The value of a pickle. Throws where it is cut short or has an instruction of another protocol. */
export function unpickle(bytes: Uint8Array): unknown {
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;

  const take = (count: number): Uint8Array => {
    if (at + count > bytes.length) throw new Error(`the pickle ends at byte ${bytes.length}, within a value`);
    at += count;
    return bytes.subarray(at - count, at);
  };
  const view = (count: number): DataView => {
    const { buffer, byteOffset } = take(count);
    return new DataView(buffer, byteOffset, count);
  };
  const u8 = (): number => view(1).getUint8(0);
  const u32 = (): number => view(4).getUint32(0, true);
  const u64 = (): number => Number(view(8).getBigUint64(0, true));
  const text = (count: number): string => new TextDecoder().decode(take(count));
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    return text((end < 0 ? bytes.length : end) + 1 - at).slice(0, -1);
  };
  const long = (count: number): number => {
    const digits = take(count);
    const value = digits.reduceRight((sum, digit) => sum * 256n + BigInt(digit), 0n);
    return Number(count > 0 && digits[count - 1]! & 0x80 ? value - (1n << BigInt(8 * count)) : value);
  };

  const push = (value: unknown): unknown => stack.push(value);
  const pop = (): unknown => {
    if (stack.length === 0) throw new Error(`the pickle takes a value at byte ${at} where there is none`);
    return stack.pop();
  };
  const popAll = (count: number): unknown[] => Array.from({ length: count }, pop).reverse();
  const toMark = (): unknown[] => {
    const start = stack.lastIndexOf(mark);
    if (start < 0) throw new Error(`the pickle closes a list at byte ${at} that is not open`);
    return stack.splice(start).slice(1);
  };
  // Objects are only records here, so what would be put into one is dropped.
  const append = (items: readonly unknown[]): void => {
    const target = stack.at(-1);
    if (Array.isArray(target)) target.push(...items);
  };
  const setItems = (items: readonly unknown[]): void => {
    const target = stack.at(-1);
    if (target instanceof Map) for (let i = 0; i + 1 < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const call = ([callee, args]: readonly unknown[]): void => {
    const isMap = callee instanceof Global && callee.name === 'OrderedDict';
    push(isMap ? new Map() : new Call(callee, Array.isArray(args) ? args : [args]));
  };

  const run: Readonly<Record<number, () => unknown>> = {
    128: () => u8(), // PROTO
    149: () => u64(), // FRAME
    40: () => push(mark), // MARK
    48: () => pop(), // POP
    49: () => toMark(), // POP_MARK
    50: () => push(stack.at(-1)), // DUP
    78: () => push(null), // NONE
    136: () => push(true), // NEWTRUE
    137: () => push(false), // NEWFALSE
    74: () => push(view(4).getInt32(0, true)), // BININT
    75: () => push(u8()), // BININT1
    77: () => push(view(2).getUint16(0, true)), // BININT2
    138: () => push(long(u8())), // LONG1
    139: () => push(long(u32())), // LONG4
    71: () => push(view(8).getFloat64(0)), // BINFLOAT
    88: () => push(text(u32())), // BINUNICODE
    140: () => push(text(u8())), // SHORT_BINUNICODE
    141: () => push(text(u64())), // BINUNICODE8
    84: () => push(text(u32())), // BINSTRING
    85: () => push(text(u8())), // SHORT_BINSTRING
    66: () => push(take(u32())), // BINBYTES
    67: () => push(take(u8())), // SHORT_BINBYTES
    142: () => push(take(u64())), // BINBYTES8
    93: () => push([]), // EMPTY_LIST
    108: () => push(toMark()), // LIST
    143: () => push([]), // EMPTY_SET
    145: () => push(toMark()), // FROZENSET
    41: () => push([]), // EMPTY_TUPLE
    116: () => push(toMark()), // TUPLE
    133: () => push(popAll(1)), // TUPLE1
    134: () => push(popAll(2)), // TUPLE2
    135: () => push(popAll(3)), // TUPLE3
    125: () => push(new Map()), // EMPTY_DICT
    97: () => append(popAll(1)), // APPEND
    101: () => append(toMark()), // APPENDS
    144: () => append(toMark()), // ADDITEMS
    115: () => setItems(popAll(2)), // SETITEM
    117: () => setItems(toMark()), // SETITEMS
    99: () => push(new Global(line(), line())), // GLOBAL
    147: () => {
      const [module, name] = popAll(2); // STACK_GLOBAL
      push(new Global(String(module), String(name)));
    },
    82: () => call(popAll(2)), // REDUCE
    129: () => call(popAll(2)), // NEWOBJ
    146: () => call(popAll(3)), // NEWOBJ_EX
    98: () => pop(), // BUILD: an object's state
    81: () => push(new Persistent(pop())), // BINPERSID
    104: () => push(memo.get(u8())), // BINGET
    106: () => push(memo.get(u32())), // LONG_BINGET
    113: () => memo.set(u8(), stack.at(-1)), // BINPUT
    114: () => memo.set(u32(), stack.at(-1)), // LONG_BINPUT
    148: () => memo.set(memo.size, stack.at(-1)), // MEMOIZE
  };

  for (;;) {
    const code = u8();
    if (code === 46) return pop(); // STOP
    const instruction = run[code];
    if (!instruction)
      throw new Error(`the pickle has instruction ${code} at byte ${at - 1}, which is not of protocol 2 to 5`);
    instruction();
  }
}
