/**
 * A server as a reward. It is sent
 *
 *     POST { "images": [base64 of a PNG, ...], "prompts": [text, ...], "meta": [object, ...] }
 *
 * as JSON, one entry a picture, and answers with `{ "scores": [number, ...] }` or with the list alone. It is never asked twice at
 * once; other groups are drawn while it computes.
 */
import { withoutCredentials } from './credentials.js';
import { type Reward, RewardError, type RewardImage, scoresFrom } from './reward.js';
import { type Outcome, openTransport } from './transport.js';

export interface HttpOptions {
  readonly url: string;
  /** Makes the PNG of a picture. */
  readonly encode: (image: RewardImage) => Uint8Array;
  /** Seconds until a POST counts as failed, however often it was tried. Default 60. */
  readonly timeout?: number;
  /** Sent with each POST. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Pictures in one POST at most; several are sent one after another. Default: all at once. */
  readonly batch?: number | undefined;
  /** The address for messages. Default: `url`, without its credentials. */
  readonly source?: string;
  /** Credentials among all this, which no message has, also where the server's answer repeats them. */
  readonly secrets?: readonly string[];
}

/**
 * Throws a RewardError where the server can't be reached, is late, answers with an error, or with no scores that fit; the
 * signal's reason where that ends the waiting. What only the way to the server fails by is tried again within the time.
 */
export function httpReward(name: string, options: HttpOptions): Reward {
  const { url, encode, timeout = 60, headers = {}, batch = Number.POSITIVE_INFINITY, secrets = [] } = options;
  const { source = withoutCredentials(url, secrets) } = options;
  const transport = openTransport();

  const scorePart = async (
    images: readonly RewardImage[],
    where: string,
    signal: AbortSignal | undefined,
  ): Promise<number[]> => {
    const body = JSON.stringify({
      images: images.map((image) => Buffer.from(encode(image)).toString('base64')),
      prompts: images.map(({ prompt }) => prompt),
      meta: images.map(({ meta }) => meta),
    });
    const outcome = await transport.post(url, body, { headers, timeout, signal });
    const tried = outcome.tries > 1 ? ` after ${outcome.tries} tries` : '';
    const fail = (what: string, cause?: unknown): RewardError =>
      new RewardError(name, `${what}${tried}`, images.length, {
        source: where,
        cause: startOf(cause, secrets),
        secrets,
      });
    const scores = scoresIn(textOf(outcome, timeout, fail), fail);
    return scoresFrom(name, scores, images.length, { source: where, secrets });
  };

  return {
    name,
    waited: true,
    score: async (images, { signal } = {}) => {
      const scores: number[] = [];
      const parts = Math.ceil(images.length / Math.min(batch, images.length));
      for (let part = 0; part < parts; part++) {
        const where = parts === 1 ? source : `${source}, POST ${part + 1} of ${parts}`;
        const chosen = parts === 1 ? images : images.slice(part * batch, (part + 1) * batch);
        scores.push(...(await scorePart(chosen, where, signal)));
      }
      return scores;
    },
    dispose: () => transport.close(),
  };
}

type Fail = (what: string, cause?: unknown) => RewardError;

const shown = 200; // signs of an answer in a message

/** The start of a text, whose credentials are hidden before it is cut: a part of one would not be found. */
const startOf = (cause: unknown, secrets: readonly string[]): unknown =>
  typeof cause === 'string' ? withoutCredentials(cause, secrets).slice(0, shown) : cause;

/** The text of an answer that is a success. */
function textOf(outcome: Outcome, timeout: number, fail: Fail): string {
  switch (outcome.kind) {
    case 'late':
      throw fail(`gave no answer in ${timeout} s`);
    case 'unreachable':
      throw fail('could not be reached', outcome.cause);
    case 'answer': {
      const { status, statusText, text } = outcome;
      if (status < 200 || status > 299) throw fail(`answered ${status} ${statusText}`.trimEnd(), text || undefined);
      return text;
    }
  }
}

function scoresIn(text: string, fail: Fail): unknown {
  const answer = parse(text);
  if (Array.isArray(answer)) return answer;
  if (typeof answer === 'object' && answer !== null && 'scores' in answer) return answer.scores;
  throw fail('answered without scores', text);
}

/** JSON, in which NaN, Infinity and -Infinity are numbers, as Python's json.dumps writes them; undefined where it is none. */
function parse(text: string): unknown {
  const mark = '\u0000';
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (found) =>
    found.startsWith('"') ? found : JSON.stringify(mark + found),
  );
  try {
    return JSON.parse(marked, (_, value: unknown) =>
      typeof value === 'string' && value.startsWith(mark) ? Number(value.slice(1)) : value,
    );
  } catch {
    return undefined;
  }
}
