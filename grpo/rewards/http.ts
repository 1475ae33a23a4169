/**
 * A server as a reward. It is sent
 *
 *     POST { "images": [base64 of a PNG, ...], "prompts": [text, ...], "meta": [object, ...] }
 *
 * as JSON, one entry a picture, and answers with `{ "scores": [number, ...] }` or with the list alone.
 */
import { checkScores, milliseconds, type Reward, RewardError, type RewardImage } from './reward.js';

export interface HttpOptions {
  readonly url: string;
  /** Makes the PNG of a picture. */
  readonly encode: (image: RewardImage) => Uint8Array;
  /** Seconds until a call counts as failed. Default 60. */
  readonly timeout?: number;
}

/** Throws a RewardError where the server can't be reached, is late, answers with an error, or with no scores that fit. */
export function httpReward(name: string, { url, encode, timeout = 60 }: HttpOptions): Reward {
  return {
    name,
    score: async (images) => {
      const fail = (what: string, cause?: unknown): RewardError =>
        new RewardError(name, what, images.length, { source: url, cause });
      const body = JSON.stringify({
        images: images.map((image) => Buffer.from(encode(image)).toString('base64')),
        prompts: images.map(({ prompt }) => prompt),
        meta: images.map(({ meta }) => meta),
      });
      let response: Response;
      let text: string;
      try {
        const headers = { 'content-type': 'application/json' };
        response = await fetch(url, {
          method: 'POST',
          headers,
          body,
          signal: AbortSignal.timeout(milliseconds(timeout)),
        });
        text = await response.text();
      } catch (error) {
        if (error instanceof Error && error.name === 'TimeoutError') throw fail(`gave no answer in ${timeout} s`);
        throw fail('could not be reached', rootOf(error));
      }
      if (!response.ok)
        throw fail(`answered ${response.status} ${response.statusText}`, text.slice(0, 200) || undefined);
      const scores = scoresIn(parse(text));
      if (scores === undefined) throw fail('answered without scores', text.slice(0, 200));
      checkScores(name, scores, images.length, { source: url });
      return scores;
    },
  };
}

/** fetch() says «fetch failed»; what did fail is its cause, and that of the first of several addresses. */
function rootOf(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return rootOf(error.errors[0]);
  return error instanceof Error && error.cause ? rootOf(error.cause) : error;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const scoresIn = (answer: unknown): unknown =>
  typeof answer === 'object' && answer !== null && 'scores' in answer
    ? answer.scores
    : Array.isArray(answer)
      ? answer
      : undefined;
