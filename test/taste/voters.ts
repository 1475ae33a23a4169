/**
 * Whether winnow learns a taste, `npm run test:taste [voter,voter] [seed,seed]`: voters with known utilities vote on 60 pairs of
 * scenes-flow, every tenth vote wrong; the taste's agreement with fresh pairs, and after 24 updates of Flash by taste and CLIP
 * score the true utility of held-out pictures and what the reader of scenes says of them. Votes at random have to be refused.
 * Adds to bench/results/taste.json; a minute and a half each on two cores, not part of the tests.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exists, writeWhole } from '../../engine/files.js';
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
import { castVotes, type DrawnPair, utilityBy, voters } from './voter.js';

const [voteCount, freshPairs, updates, heldOut] = [60, 400, 24, 384];
const results = join('bench', 'results', 'taste.json');
const drawing = { steps: 10, guidance: 1, stochastic: false, batch: 64 };

/** Pairs of pictures of the training prompts, each prompt's two with seeds of their own. */
async function drawPairs(model: Model, count: number, first: number): Promise<DrawnPair[]> {
  const all = scenePrompts('train');
  const prompts = Array.from({ length: count }, (_, i) => all[(first + i) % all.length]!.prompt);
  const pictures = await model.sample(prompts, { ...drawing, n: 2, seed: 10_000 + 2 * first });
  return prompts.map((prompt, i) => ({ prompt, pictures: [pictures[2 * i]!, pictures[2 * i + 1]!] }));
}

/** The share of pairs that a taste puts in the order of the true utility: pairs of one prompt, and pictures of any two. */
async function freshAgreement(taste: Taste, utility: (picture: Picture) => number, pairs: readonly DrawnPair[]) {
  const [left, right] = ([0, 1] as const).map((side) => pairs.map(({ pictures }) => pictures[side]));
  const [a, b] = [await taste.score(left!), await taste.score(right!)];
  const agree = (shift: number): number => {
    const right_ = (i: number): number => (i + shift) % pairs.length;
    const same = pairs.filter((_, i) => a[i]! > b[right_(i)]! === utility(left![i]!) > utility(right![right_(i)]!));
    return same.length / pairs.length;
  };
  return { ofOnePrompt: agree(0), ofAny: agree(1) };
}

/** Pictures of the held-out prompts, from the same noise whatever the model. */
async function drawHeldOut(model: Model): Promise<Picture[]> {
  const prompts = scenePrompts('test').slice(0, heldOut);
  return model.sample(
    Array.from({ length: heldOut }, (_, i) => prompts[i % prompts.length]!.prompt),
    { ...drawing, seed: 1 },
  );
}

/** The reader's verdict of each held-out picture: 1 where it is right in everything. */
async function readBy(pictures: readonly Picture[]): Promise<number[]> {
  const prompts = scenePrompts('test').slice(0, heldOut);
  const images = pictures.map((picture, i) => ({
    ...picture,
    ...prompts[i % prompts.length]!,
    rgb: picture.rgb,
    width: picture.width,
    height: picture.height,
  }));
  return (await sceneChecker().score(images)).map((score) => Number(score === 1));
}

const wanted = (given: string | undefined, all: readonly string[]): string[] => given?.split(',') ?? [...all];
const names = wanted(process.argv[2], [...Object.keys(voters), 'at random']);
const seeds = wanted(process.argv[3], ['0', '1', '2']).map(Number);

const device = await Device.create();
const work = await mkdtemp(join(tmpdir(), 'winnow-taste-'));
try {
  const base = await loadModel('scenes-flow', { device });
  const fresh = await drawPairs(base, freshPairs, 1000);
  const before = await drawHeldOut(base);
  const readBefore = await readBy(before);
  const known = fresh.flatMap(({ pictures }) => pictures);
  for (const seed of seeds) {
    const pairs = await drawPairs(base, voteCount, 100 * seed);
    for (const name of names) {
      const liking = voters[name];
      const utility = liking && utilityBy(liking, known);
      const folder = join(work, `${name}-${seed}`);
      await castVotes(folder, pairs, utility, seed + 1);
      const taste = await fitTaste(device, folder, { clip: 'scenes-clip' });
      await writeTaste(folder, taste);
      const found: Record<string, unknown> = {
        voter: name,
        seed,
        votes: voteCount,
        heldOutVotes: taste.agreement,
        strengths: Object.fromEntries(taste.groups.map((group) => [group.name, group.strength])),
        words: taste.words,
      };
      console.log(`${name}, seed ${seed}: ${agreementText(taste.agreement)}; ${taste.words.join(', ')}`);
      if (utility) {
        found.fresh = await freshAgreement(taste, utility, fresh);
        console.log(`  fresh pairs: ${JSON.stringify(found.fresh)}`);
      }
      taste.dispose();
      const training = await tasteTraining(folder).catch((error: unknown) => {
        if (!(error instanceof UsageError)) throw error;
        found.refused = error.message.slice(folder.length + 2);
        console.log(`  refused: ${found.refused}`);
      });
      if (training && utility) {
        const keys = {
          'train.updates': updates,
          seed,
          'eval.n': 1,
          'eval.rewards': [],
          'sample.seeds': [1],
          reward: training.reward,
        };
        const set = Object.entries(keys).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
        const start = performance.now();
        for await (const event of runConfig({ config: 'scenes-flow', set, out: work, name: `run-${name}-${seed}` }))
          if (event.kind === 'warning') console.log(`  ${event.message}`);
        found.trainingSeconds = Math.round((performance.now() - start) / 1000);
        const tuned = await loadModel(join(work, `run-${name}-${seed}`), { device });
        const after = await drawHeldOut(tuned);
        tuned.close();
        const unit = momentsOf(before.map(utility)).std;
        const rise = estimateDifference(
          before.map((picture) => utility(picture) / unit),
          after.map((picture) => utility(picture) / unit),
        );
        const reader = estimateDifference(readBefore, await readBy(after));
        found.trueUtility = rise;
        found.reader = { base: momentsOf(readBefore).mean, ...reader };
        console.log(`  true utility ${JSON.stringify(rise)}\n  reader ${JSON.stringify(found.reader)}`);
      }
      const old = (await exists(results))
        ? (JSON.parse(await readFile(results, 'utf8')) as Record<string, unknown>[])
        : [];
      const others = old.filter((entry) => entry.voter !== name || entry.seed !== seed);
      await writeWhole(results, `${JSON.stringify([...others, found], null, 1)}\n`);
    }
  }
  base.close();
} finally {
  device.close();
  await rm(work, { recursive: true, force: true });
}
