/** Construction that leaves nothing behind when it fails. */

export interface Disposable {
  dispose(): void;
}

/** Notes a thing that is to be freed if the construction fails, and gives it back. */
export type Own = <T extends Disposable>(thing: T) => T;

/**
 * Runs `build`, which makes something of several parts and calls `own` on each as soon as it has it. Where `build` throws or
 * rejects, what it owned is freed, last first, and the error goes on; otherwise the parts belong to what it returned.
 */
export function owning<R>(build: (own: Own) => R): R {
  const owned: Disposable[] = [];
  const own: Own = (thing) => {
    owned.push(thing);
    return thing;
  };
  const abandon = (error: unknown): never => {
    for (const thing of owned.reverse()) thing.dispose();
    throw error;
  };
  try {
    const made = build(own);
    return made instanceof Promise ? (made.catch(abandon) as R) : made; // of the same type: abandon() returns nothing
  } catch (error) {
    return abandon(error);
  }
}
