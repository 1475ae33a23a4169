/** How much of a slow server's scoring is hidden behind drawing: a rollout of scenes-flow without and with turns that overlap. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../grpo/finetune/config/file.js';
import { openSession, type Session } from '../grpo/finetune/session.js';
import { promptsOfUpdate } from '../grpo/prompt_order.js';
import { httpReward } from '../grpo/rewards/http.js';
import { CombinedReward } from '../grpo/rewards/reward.js';
import { Rollout } from '../grpo/rollout/rollout.js';
import { Trajectories } from '../grpo/rollout/trajectories.js';
import { callSizeOf, slotsOf } from '../grpo/rollout/turns.js';
import { pathOf } from '../grpo/sampling/window.js';
import { encodePng } from '../models/pictures/png.js';

/** Groups large enough that on two cores drawing one takes about as long as its three calls of the server. */
const sets = [
  'grpo.groups_per_update=8',
  'grpo.keep=[144,96,72]',
  'grpo.prune_at=[26,36]',
  'sampler.steps=52',
  'sampler.guidance=2',
  'sampler.batch=144',
];
const answer = 2; // seconds of a call, whatever is in it
const aheads = [0, 1, 2, 3];

/** Seconds of a rollout's parts. */
export interface Overlap {
  readonly ahead: number;
  readonly wall: number;
  /** In which the GPU was some turn's, and in which the server was asked. */
  readonly drawing: number;
  readonly scoring: number;
  /** Until the first call, and of the last: nothing can be done beside them. */
  readonly edges: number;
}

export interface AheadReport {
  readonly date: string;
  readonly adapter: string;
  readonly sets: readonly string[];
  /** Seconds of each call of the server. */
  readonly answer: number;
  readonly rollouts: readonly Overlap[];
}

/** Draws the same groups with none that wait, then with some. Throws where a reward or a survivor is another. Takes minutes. */
export async function measureAhead(): Promise<AheadReport> {
  const session = await openSession(await loadConfig('scenes-flow', sets));
  const server = await startServer();
  try {
    await draw(session, server.url, 0, 0); // compiles
    const rollouts: Overlap[] = [];
    let expected: string | undefined;
    for (const ahead of aheads) {
      const { drawn, ...times } = await draw(session, server.url, ahead, answer);
      expected ??= drawn;
      if (drawn !== expected) throw new Error(`ahead ${ahead}: other samples survive, or with other rewards`);
      rollouts.push({ ahead, ...times });
    }
    const { description, device } = session.device.info;
    return { date: new Date().toISOString(), adapter: `${device} (${description})`, sets, answer, rollouts };
  } finally {
    server.close();
    session.close();
  }
}

/** A server that scores pictures by the length of their PNG, after the seconds that its address says. */
async function startServer() {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { images } = JSON.parse(Buffer.concat(chunks).toString()) as { images: string[] };
    await sleep(1000 * Number(request.url!.slice(1)));
    response.end(JSON.stringify({ scores: images.map((image) => -image.length) }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

async function draw({ model, config, prompts }: Session, url: string, ahead: number, seconds: number) {
  const groups = config.grpo.groups_per_update;
  const http = httpReward('server', { url: `${url}/${seconds}`, encode: encodePng });
  let [start, first, last, scoring] = [0, 0, 0, 0];
  const score: typeof http.score = async (...given) => {
    const began = performance.now();
    first ||= began - start;
    const scores = await http.score(...given);
    last = performance.now() - began;
    scoring += last;
    return scores;
  };
  const reward = new CombinedReward([{ weight: 1, reward: { ...http, score } }]);
  const slots = slotsOf(groups, callSizeOf(model.latentShape, { ...config, rollout: { ahead } }, true));
  const store = Trajectories.create(model, { slots, groups, transitions: pathOf(model, config, 0) });
  let rollout: Rollout | undefined;
  try {
    rollout = await Rollout.create(model, store, reward, { ...config, rollout: { ahead } });
    const chosen = promptsOfUpdate(prompts.train, groups, config.seed, 0);
    store.encode(chosen.map(({ prompt }) => prompt));
    start = performance.now();
    const results = await rollout.sample(chosen, 0);
    const wall = (performance.now() - start) / 1000;
    const busy = results.reduce((sum, group) => sum + group.seconds.sample + group.seconds.reward, 0);
    const drawn = JSON.stringify(
      results.map(({ survivors, finals }) => [survivors.map(({ sample }) => sample), finals]),
    );
    return { wall, drawing: busy - scoring / 1000, scoring: scoring / 1000, edges: (first + last) / 1000, drawn };
  } finally {
    rollout?.dispose();
    store.dispose();
    reward.dispose();
  }
}

/** The report as lines. */
export function formatAhead({ answer: seconds, rollouts }: AheadReport): string[] {
  const shown = (value: number): string => value.toFixed(1).padStart(7);
  return [
    `ahead  ${seconds} s a call; seconds of a rollout, and its share of the longer of drawing and scoring without the edges`,
    'ahead      wall drawing scoring  edges',
    ...rollouts.map(({ ahead, wall, drawing, scoring, edges }) => {
      const share = (wall - edges) / Math.max(drawing, scoring);
      return `ahead ${ahead} ${[wall, drawing, scoring, edges].map(shown).join(' ')}  ${share.toFixed(2)}`;
    }),
  ];
}
