/** Events that arise beside a training, as what its workers do, and are told while one of its parts runs. */
import type { RunEvent } from '../run/events.js';

export class Beside {
  private readonly waiting: RunEvent[] = [];
  private listener: ((event: RunEvent) => void) | undefined;

  /** Tells an event at once, or when somebody listens. */
  tell(event: RunEvent): void {
    if (this.listener) this.listener(event);
    else this.waiting.push(event);
  }

  /** Hands what waits and what comes to `listener`, until the returned function is called. */
  listen(listener: (event: RunEvent) => void): () => void {
    for (const event of this.waiting.splice(0)) listener(event);
    this.listener = listener;
    return () => {
      this.listener = undefined;
    };
  }
}
