/** What may be done between two updates of a run: draw by the model as it is then, and change what is trained on. */
import type { Picture } from '../../rollout/pictures.js';
import { drawPrompts } from '../drawing.js';
import type { Session } from '../session.js';
import type { RunEvent } from './events.js';

export interface Pause {
  /** Updates done, and in all. */
  readonly update: number;
  readonly of: number;
  /** `n` pictures of each prompt, one prompt after another; the first has the seed `seed`, each next one more. */
  draw(prompts: readonly string[], n: number, seed: number): Promise<Picture[]>;
  /** Has rewards read their files again, such as a taste that was fitted again. */
  renew(): Promise<void>;
}

/** Waited for after each update but the last, when the update's records are written. */
export type Between = (pause: Pause) => Promise<void>;

/** The events of a training, which waits after each update. */
export async function* pausing(
  events: AsyncGenerator<RunEvent, void, undefined>,
  session: Session,
  between: Between,
): AsyncGenerator<RunEvent, void, undefined> {
  for await (const event of events) {
    yield event;
    if (event.kind !== 'update' || event.update === event.of) continue;
    const { update, of } = event;
    const { versions } = session.rewards;
    await between({
      update,
      of,
      draw: (prompts, n, seed) => drawPrompts(session, prompts, { n, seed }),
      renew: () => session.rewards.renew(),
    });
    for (const [name, version] of Object.entries(session.rewards.versions))
      if (version !== versions[name])
        yield {
          kind: 'warning',
          message: `reward ${name} is another one after update ${update}: its values before and after are not to be compared`,
        };
  }
}
