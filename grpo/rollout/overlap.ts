/** Tasks that overlap: some in flight at one time, which take turns at what exists once. */

/** Lets one in at a time. Of those that wait, the one with the lowest number is next. */
export class Gate {
  private taken = false;
  private readonly waiting: { readonly number: number; readonly enter: () => void }[] = [];

  /** Waits to be let in. What it gives lets the next one in; called again it does nothing. */
  async enter(number: number): Promise<() => void> {
    if (this.taken) await new Promise<void>((enter) => this.waiting.push({ number, enter }));
    this.taken = true;
    let inside = true;
    return () => {
      if (inside) this.letIn();
      inside = false;
    };
  }

  /** Whether one with a lower number waits. */
  isWanted(number: number): boolean {
    return this.waiting.some((other) => other.number < number);
  }

  private letIn(): void {
    const next = this.waiting.toSorted((a, b) => a.number - b.number)[0];
    if (next) this.waiting.splice(this.waiting.indexOf(next), 1);
    else this.taken = false; // where one waits it stays taken, so that nobody slips in before it
    next?.enter();
  }
}

/** One of some tasks: its number, its lane, which no other in flight has, and the signal that ends it with the others. */
export interface Task {
  readonly number: number;
  readonly lane: number;
  readonly signal: AbortSignal;
}

/**
 * Runs `count` tasks in the order of their numbers, `lanes` at a time, and gives what they give in that order. Where one fails
 * or `given` is aborted, the signal of all is, with that reason, and no other begins; when those in flight have ended, the error
 * of the one with the lowest number is thrown.
 */
export async function inLanes<R>(
  count: number,
  lanes: number,
  given: AbortSignal | undefined,
  body: (task: Task) => Promise<R>,
): Promise<R[]> {
  const stop = new AbortController();
  const { signal } = stop;
  const interrupt = (): void => stop.abort(given?.reason);
  if (given?.aborted) interrupt();
  given?.addEventListener('abort', interrupt);
  const results: R[] = [];
  const errors: { readonly number: number; readonly error: unknown }[] = [];
  let next = 0;
  const work = async (lane: number): Promise<void> => {
    while (next < count && !signal.aborted) {
      const number = next++;
      try {
        results[number] = await body({ number, lane, signal });
      } catch (error) {
        errors.push({ number, error });
        stop.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, lane) => work(lane)));
  given?.removeEventListener('abort', interrupt);
  const [first] = errors.toSorted((a, b) => a.number - b.number);
  if (first) throw first.error;
  signal.throwIfAborted(); // before the first began
  return results;
}
