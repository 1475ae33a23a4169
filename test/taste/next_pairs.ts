/**
 * How many votes it saves to ask about the pairs that a taste is least sure of: `npm run -s build && node
 * dist/test/taste/next_pairs.js [--orders 8]`. Voters with known utilities, wrong in every tenth vote, choose between two
 * pictures of scenes-flow: any two of a prompt, or from the 21st vote on two of six by nextPair(), every other time as winnow
 * rate does or always. Prints the agreement with fresh pairs of one prompt after so many votes, and how often the votes are good
 * enough to train by. Three minutes on two cores, no part of the tests; writes bench/results/taste_pairs.json.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeWhole } from '../../engine/files.js';
import { Device } from '../../engine/index.js';
import { estimateMean } from '../../grpo/evaluate.js';
import { loadModel } from '../../grpo/finetune/model.js';
import { scenePrompts } from '../../grpo/finetune/prompts.js';
import { agreementOf, doubtOf, fewestVotes } from '../../grpo/finetune/taste/agreement.js';
import { type Features, openFeatures } from '../../grpo/finetune/taste/features.js';
import { type ComparedPair, designOf, fitHead, type Head, utilityOf } from '../../grpo/finetune/taste/fit.js';
import { nextPair } from '../../grpo/finetune/taste/next_pair.js';
import type { Picture } from '../../models/pictures/png.js';
import { random } from '../host.js';
import { utilityBy, voters } from './voter.js';

const { values } = parseArgs({
  options: {
    orders: { type: 'string', default: '8' },
    out: { type: 'string', default: join('bench', 'results', 'taste_pairs.json') },
  },
});
const [orders, candidates, wrong, refit] = [Number(values.orders), 6, 0.1, 5];
const looked: readonly number[] = [20, 30, 40, 50, 60, 70, 80];
const most = Math.max(...looked);
const asked: readonly number[] = [40, 60]; // whether they are good enough to train by takes longer to find out
const ways = ['any two', 'every other', 'always'] as const;

type Way = (typeof ways)[number];

/** A picture, what a taste is told of it, and of which prompt it is. */
interface Seen {
  readonly picture: Picture;
  readonly features: Features;
  readonly prompt: string;
}

async function draw(prompts: readonly string[], n: number, seed: number): Promise<Seen[][]> {
  const drawing = { steps: 10, guidance: 1, stochastic: false, batch: 64, n, seed };
  const pictures = await model.sample(prompts, drawing);
  const features = await reader.read(pictures);
  return prompts.map((prompt, p) =>
    pictures.slice(p * n, (p + 1) * n).map((picture, i) => ({ picture, features: features[p * n + i]!, prompt })),
  );
}

interface Look {
  /** Share of fresh pairs that the taste puts in the true order. */
  readonly fresh: number;
  /** Whether one could train by it, 1 or 0, where that was asked. */
  readonly good?: number;
}

/** Votes in one order of the prompts, and what came of the first 20, 30 and so on. */
function vote(utility: ReadonlyMap<Seen, number>, way: Way, order: number): Look[] {
  const chance = random([2, groups.length], order + 1, { low: 0, high: 1 }).data;
  const shuffled = groups.map((group, i) => ({ group, key: chance[i]! })).sort((a, b) => a.key - b.key);
  const votes: ComparedPair[] = [];
  const looks: Look[] = [];
  let head: Head | undefined;
  for (const { group } of shuffled.slice(0, most)) {
    const count = votes.length;
    if (way !== 'any two' && count >= fewestVotes && count % refit === 0) head = fitHead(votes);
    const [i, j] = nextPair(head, group, { votes: way === 'always' ? 0 : count });
    const [left, right] = [group[i]!, group[j]!];
    const isRight = chance[groups.length + count]! >= wrong;
    const target = utility.get(left)! > utility.get(right)! === isRight ? 1 : 0;
    votes.push({ left: left.features, right: right.features, target, pair: `${count}` });
    if (!looked.includes(votes.length)) continue;
    const { groups: weights } = fitHead(votes);
    const agree = fresh.filter(([a, b]) => {
      const better = utilityOf(weights, a!.features) > utilityOf(weights, b!.features);
      return better === utility.get(a!)! > utility.get(b!)!;
    });
    looks.push({
      fresh: agree.length / fresh.length,
      ...(asked.includes(votes.length) && { good: Number(isGood(votes)) }),
    });
  }
  return looks;
}

function isGood(votes: readonly ComparedPair[]): boolean {
  const agreement = agreementOf(
    designOf(votes),
    votes.map((_, vote) => vote),
  );
  return doubtOf({ ...agreement, history: [{ votes: votes.length, ...agreement }] }) === undefined;
}

const device = await Device.create({ provideDriver: true });
const model = await loadModel('scenes-flow', { device });
const reader = await openFeatures(device, 'scenes-clip');
const all = scenePrompts('train').map(({ prompt }) => prompt);
const groups = await draw(all.slice(0, 160), candidates, 50_000);
const fresh = await draw(
  Array.from({ length: 400 }, (_, i) => all[i % all.length]!),
  2,
  60_000,
);
reader.dispose();
model.close();
device.close();

const found: { voter: string; way: Way; order: number; looks: Look[] }[] = [];
for (const [voter, liking] of Object.entries(voters)) {
  const seen = [...groups, ...fresh].flat();
  const of = utilityBy(
    liking,
    seen.map(({ picture }) => picture),
  );
  const utility = new Map(seen.map((each) => [each, of(each.picture)]));
  for (const way of ways) {
    for (let order = 0; order < orders; order++) found.push({ voter, way, order, looks: vote(utility, way, order) });
    const own = found.filter((each) => each.voter === voter && each.way === way);
    const shares = looked.map((_, i) => estimateMean(own.map(({ looks }) => looks[i]!.fresh)).mean.toFixed(3));
    console.log(`${voter}, ${way}: ${shares.join(' ')}`);
  }
}

console.log(
  `\nall voters after ${looked.join(', ')} votes: fresh pairs; how often good enough to train by after ${asked.join(' and ')}`,
);
for (const way of ways) {
  const own = found.filter((each) => each.way === way);
  const shares = looked.map((_, i) => estimateMean(own.map(({ looks }) => looks[i]!.fresh)).mean.toFixed(3));
  const good = asked.map((votes) => {
    const goods = own.map(({ looks }) => looks[looked.indexOf(votes)]!.good!);
    return estimateMean(goods).mean.toFixed(2);
  });
  console.log(`${way}: ${shares.join(' ')}; ${good.join(' ')}`);
}
// Of a voter and an order: what the way of asking added to the agreement.
for (const way of ways.slice(1)) {
  const gains = looked.map((_, i) => {
    const differences = found
      .filter((each) => each.way === way)
      .map(({ voter, order, looks }) => {
        const plain = found.find((each) => each.voter === voter && each.order === order && each.way === 'any two')!;
        return looks[i]!.fresh - plain.looks[i]!.fresh;
      });
    const { mean, low, high } = estimateMean(differences);
    return `${mean.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
  });
  console.log(`${way} less any two: ${gains.join(', ')}`);
}
await writeWhole(values.out, `${JSON.stringify({ looked, candidates, wrong, refit, found }, null, 1)}\n`);
