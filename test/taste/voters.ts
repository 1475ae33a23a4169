/**
 * Whether winnow learns a taste: `npm run test:taste [-- --only "small and dark,at random" --seeds 0,1 --agreement --again]`.
 * Voters with known utilities vote on 60 pairs of scenes-flow, every tenth vote wrong: the taste's agreement with fresh pairs,
 * and after 24 updates of Flash by taste and CLIP score the true utility of held-out pictures and what the reader of scenes says
 * of them. Votes at random have to be refused. Each voter and seed is an entry of bench/results/taste.json as soon as it is
 * done; one that is there is passed over, unless --again. With --agreement nothing is trained. Not part of the tests.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '../../engine/index.js';
import { estimateDifference } from '../../grpo/evaluate.js';
import { UsageError } from '../../grpo/finetune/errors.js';
import { loadModel, type Model } from '../../grpo/finetune/model.js';
import { scenePrompts } from '../../grpo/finetune/prompts.js';
import { sceneChecker } from '../../grpo/finetune/rewards/scene_checker.js';
import { runConfig } from '../../grpo/finetune/run/run_config.js';
import { agreementText } from '../../grpo/finetune/taste/agreement.js';
import { writeTaste } from '../../grpo/finetune/taste/folder.js';
import { tasteTraining } from '../../grpo/finetune/taste/reward.js';
import { fitTaste, type Taste } from '../../grpo/finetune/taste/taste.js';
import { momentsOf } from '../../grpo/learning/advantage.js';
import type { Picture } from '../../models/pictures/png.js';
import { type Fresh, isDone, keepResult, readResults, summaryOf, type VoterResult } from './results.js';
import { castVotes, type DrawnPair, utilityBy, voters } from './voter.js';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: [...Object.keys(voters), 'at random'].join(',') },
    seeds: { type: 'string', default: '0,1,2' },
    updates: { type: 'string', default: '24' },
    agreement: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
    out: { type: 'string', default: join('bench', 'results', 'taste.json') },
  },
});
const [voteCount, freshPairs, heldOut, updates] = [60, 400, 384, Number(values.updates)];
const names = values.only.split(',');
for (const name of names)
  if (name !== 'at random' && !Object.hasOwn(voters, name))
    throw new Error(`no voter is called ${name}; there are ${Object.keys(voters).join(', ')}, at random`);
const drawing = { steps: 10, guidance: 1, stochastic: false, batch: 64 };
const log = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);

/** Pairs of pictures of the training prompts, each prompt's two with seeds of their own. */
async function drawPairs(model: Model, count: number, first: number): Promise<DrawnPair[]> {
  const all = scenePrompts('train');
  const prompts = Array.from({ length: count }, (_, i) => all[(first + i) % all.length]!.prompt);
  const pictures = await model.sample(prompts, { ...drawing, n: 2, seed: 10_000 + 2 * first });
  return prompts.map((prompt, i) => ({ prompt, pictures: [pictures[2 * i]!, pictures[2 * i + 1]!] }));
}

async function freshAgreement(
  taste: Taste,
  utility: (picture: Picture) => number,
  pairs: readonly DrawnPair[],
): Promise<Fresh> {
  const [left, right] = ([0, 1] as const).map((side) => pairs.map(({ pictures }) => pictures[side]));
  const [a, b] = [await taste.score(left!), await taste.score(right!)];
  const [u, v] = [left!.map(utility), right!.map(utility)];
  const agree = (shift: number): number => {
    const other = (i: number): number => (i + shift) % pairs.length;
    return pairs.filter((_, i) => a[i]! > b[other(i)]! === u[i]! > v[other(i)]!).length / pairs.length;
  };
  return { ofOnePrompt: agree(0), ofAny: agree(1) };
}

const heldOutPrompts = (): { readonly prompt: string }[] => {
  const prompts = scenePrompts('test');
  return Array.from({ length: heldOut }, (_, i) => prompts[i % prompts.length]!);
};

/** Pictures of the held-out prompts, from the same noise whatever the model. */
const drawHeldOut = (model: Model): Promise<Picture[]> =>
  model.sample(
    heldOutPrompts().map(({ prompt }) => prompt),
    { ...drawing, seed: 1 },
  );

/** The reader's verdict of each held-out picture: 1 where it is right in everything. */
async function readBy(pictures: readonly Picture[]): Promise<number[]> {
  const prompts = heldOutPrompts();
  const images = pictures.map((picture, i) => ({ ...picture, ...prompts[i]!, meta: {} }));
  return (await sceneChecker().score(images)).map((score) => Number(score === 1));
}

/** What the base model draws of the held-out prompts, and what the reader says of it. */
interface Before {
  readonly pictures: readonly Picture[];
  readonly read: readonly number[];
}

/** Trains by the taste in a folder, and looks at what was learned. */
async function train(folder: string, seed: number, utility: (picture: Picture) => number, before: Before) {
  const few = { 'eval.n': 1, 'eval.rewards': [], 'sample.seeds': [1] }; // what it says of itself is not needed
  const keys = { 'train.updates': updates, 'train.ema': 0, seed, ...few }; // an average lags ten updates behind
  const { set } = await tasteTraining(folder);
  const start = performance.now();
  const options = { config: 'scenes-flow', out: `${folder}-runs`, name: 'run' };
  const changes = Object.entries(keys).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  for await (const event of runConfig({ ...options, set: [...set, ...changes] })) {
    if (event.kind === 'warning') log(`  ! ${event.message}`);
    if (event.kind === 'update' && event.update % 6 === 0) log(`  update ${event.update} of ${event.of}`);
  }
  const trainingSeconds = Math.round((performance.now() - start) / 1000);
  const tuned = await loadModel(join(options.out, options.name), { device });
  const after = await drawHeldOut(tuned);
  tuned.close();
  const unit = momentsOf(before.pictures.map(utility)).std;
  const inUnits = (pictures: readonly Picture[]): number[] => pictures.map((picture) => utility(picture) / unit);
  return {
    updates,
    trainingSeconds,
    trueUtility: estimateDifference(inUnits(before.pictures), inUnits(after)),
    reader: { base: momentsOf(before.read).mean, ...estimateDifference(before.read, await readBy(after)) },
  };
}

const known = await readResults(values.out);
const left = seedsOf(values.seeds).flatMap((seed) =>
  names
    .filter((name) => {
      const last = known.find((result) => result.voter === name && result.seed === seed);
      return values.again || !last || (!values.agreement && !isDone(last, updates));
    })
    .map((name) => ({ name, seed })),
);

function seedsOf(text: string): number[] {
  return text.split(',').map(Number);
}

const device = await Device.create({ provideDriver: true });
const work = await mkdtemp(join(tmpdir(), 'winnow-taste-'));
try {
  const base = await loadModel('scenes-flow', { device });
  log(`${left.length} of ${names.length * seedsOf(values.seeds).length} left: drawing pictures of the base model`);
  const fresh = await drawPairs(base, freshPairs, 1000);
  let before: Before | undefined;
  const start = performance.now();
  for (const [i, { name, seed }] of left.entries()) {
    const liking = voters[name];
    const seen = fresh.flatMap(({ pictures }) => pictures);
    const utility = liking && utilityBy(liking, seen);
    const folder = join(work, `${name}-${seed}`);
    await castVotes(folder, await drawPairs(base, voteCount, 100 * seed), utility, seed + 1);
    const taste = await fitTaste(device, folder, { clip: 'scenes-clip' });
    await writeTaste(folder, taste);
    log(`${name}, seed ${seed}: ${agreementText(taste.agreement)}; ${taste.words.join(', ')}`);
    let found: VoterResult = {
      voter: name,
      seed,
      votes: voteCount,
      heldOutVotes: taste.agreement,
      strengths: Object.fromEntries(taste.groups.map((group) => [group.name, group.strength])),
      words: taste.words,
      ...(utility && { fresh: await freshAgreement(taste, utility, fresh) }),
    };
    taste.dispose();
    if (found.fresh) log(`  fresh pairs of one prompt ${found.fresh.ofOnePrompt}, of any two ${found.fresh.ofAny}`);
    const refused = await tasteTraining(folder).then(
      () => undefined,
      (error: unknown) => {
        if (!(error instanceof UsageError)) throw error;
        return error.message.slice(folder.length + 2);
      },
    );
    if (refused !== undefined) {
      found = { ...found, refused };
      log(`  refused: ${refused}`);
    } else if (utility && !values.agreement) {
      if (!before) {
        const pictures = await drawHeldOut(base);
        before = { pictures, read: await readBy(pictures) };
      }
      found = { ...found, ...(await train(folder, seed, utility, before)) };
      log(`  true utility ${JSON.stringify(found.trueUtility)}, reader ${JSON.stringify(found.reader)}`);
    }
    await keepResult(values.out, found);
    const minutes = ((performance.now() - start) / 60_000 / (i + 1)) * (left.length - i - 1);
    if (i + 1 < left.length) log(`  ${i + 1} of ${left.length} done, about ${Math.ceil(minutes)} min left`);
  }
  base.close();
} finally {
  device.close();
  await rm(work, { recursive: true, force: true });
}
const wanted = (await readResults(values.out)).filter(({ voter }) => names.includes(voter));
console.log(`\n${summaryOf(wanted)}`);
