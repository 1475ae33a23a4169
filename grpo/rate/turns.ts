/** Work in turn: on one device things are done one after another, and lines of a file in their order. */

/** Returns a function that runs what it is given after all that it was given before, whether that went well or not. */
export function inTurn(): <R>(work: () => Promise<R>) => Promise<R> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const own = last.then(work, work);
    last = own.catch(() => {}); // whoever asked for it hears of it
    return own;
  };
}
