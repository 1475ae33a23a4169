/** Work that tells of itself by callbacks, as a stream. */

/**
 * Runs `body` and yields what it hands to `tell`, while it runs; returns what it returns. Where the reader stops reading,
 * `abandon` is called to end the body, which is then waited for.
 */
export async function* told<E, R>(
  body: (tell: (event: E) => void) => Promise<R>,
  abandon: () => void,
): AsyncGenerator<E, R, undefined> {
  const waiting: E[] = [];
  let wake = (): void => {};
  let settled = false;
  const result = body((event) => {
    waiting.push(event);
    wake();
  }).finally(() => {
    settled = true;
    wake();
  });
  result.catch(() => {}); // it is awaited below, perhaps only after it has failed
  try {
    while (true) {
      while (waiting.length > 0) yield waiting.shift()!;
      if (settled) return await result;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    if (!settled) {
      abandon();
      await result.catch(() => {});
    }
  }
}
