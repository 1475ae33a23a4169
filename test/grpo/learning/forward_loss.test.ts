/** Losses on rows of the forward process against public trainers' own (test/fixtures/grpo/methods.json), and by themselves. */
import { describe, expect, test } from 'vitest';
import { backward, scope, type Tensor, tensor } from '../../../engine/index.js';
import type { AwmWeight } from '../../../grpo/config.js';
import { awmLogProb, forwardRows, nftLoss } from '../../../grpo/learning/forward_loss.js';
import { policyLoss, referenceKL } from '../../../grpo/learning/loss.js';
import { random, testDevice } from '../../check.js';
import { readRecorded } from '../../recorded_fixture.js';

const device = await testDevice();

type Rows = readonly (readonly number[])[];

interface Recorded {
  readonly advantage_max: number;
  readonly forward: Readonly<Record<'x0' | 'noise' | 'xt' | 'v' | 'v_old' | 'v_ref', Rows>> &
    Readonly<Record<'t' | 'advantages', readonly number[]>>;
  readonly cases: Readonly<
    Record<
      string,
      {
        readonly loss: number;
        readonly reward_prob: readonly number[];
        readonly metrics: Readonly<Record<string, number>>;
        readonly grad_v_analytic_weights_detached: Rows;
        readonly logProb: readonly number[];
        readonly oldLogProb: readonly number[];
        readonly loss_unclipped: number;
        readonly loss_clip_0_01: number;
      }
    >
  >;
}

/** Fields of other methods' cases, by the start of their names. */
function othersOf(why: string, cases: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(cases).flatMap(([name, fields]) =>
      fields.split(' ').map((field) => [`cases.${name}.${field}`, why]),
    ),
  );
}

const path = 'of a step of a path, not of a forward row';
const guard = 'loss grad_v ratio ratio_by_identity_exp_mean_z_dmean identity_error';
const { value: recorded, done } = readRecorded<Recorded>('grpo/methods', {
  note: 'a description',
  ...Object.fromEntries(
    ['sigma', 'sigmaNext', 'a', 'c', 'std', 'x', 'v', 'interval'].map((name) => [`step.${name}`, path]),
  ),
  ...Object.fromEntries(
    ['x', 'v_old', 'v', 'z', 'next', 'oldLogProb', 'logProb', 'advantages', 'clip'].map((name) => [name, path]),
  ),
  ...othersOf(path, {
    'flow_grpo clip 0.0001': 'loss grad_v',
    'flow_grpo clip 0.2': 'loss grad_v',
    'grpo_guard clip 0.0001 (verl-omni: divided by |d|)': guard,
    'grpo_guard clip 0.2 (verl-omni: divided by |d|)': guard,
    'flow_dppo threshold 1e-05': 'loss grad_v kl',
    'flow_dppo threshold 1e-06': 'loss grad_v kl',
    'flow_dppo threshold 1.0': 'loss grad_v kl',
  }),
  ...othersOf('a method that is not offered', {
    'diffusion_dpo beta 100, pair = rows 0 (chosen), 1': 'loss',
    'dgpo beta 100, one group of the 3 rows': 'dsm per_sample group_weight loss',
  }),
  ...Object.fromEntries(
    ['1.0', '0.1'].flatMap((beta) =>
      ['positive_loss', 'negative_loss', 'reward_prob_mean', 'old_deviate'].map((name) => [
        `cases.diffusion_nft beta ${beta}.metrics.actor/${name}`,
        'a part of the loss that is not reported',
      ]),
    ),
  ),
});

const { forward } = recorded;
const anchorWeight = 1e-4; // the recorded trainer's

const rowsTensor = (values: Rows): Tensor => tensor(device, values.flat(), [values.length, values[0]!.length]);

/** The values of tensors, which are freed. */
async function read(tensors: Readonly<Record<string, Tensor>>): Promise<Record<string, number[]>> {
  const values: Record<string, number[]> = {};
  for (const [name, each] of Object.entries(tensors)) {
    values[name] = [...(await each.data())];
    each.dispose();
  }
  return values;
}

/** Within 2e-6, which is for values about 1: larger ones round relative to their size. */
function expectWithin(actual: readonly number[], expected: readonly number[], what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value), `${what} [${i}]: ${actual[i]}, not ${value}`).toBeLessThanOrEqual(
      2e-6 * Math.max(1, Math.abs(value)),
    );
}

/** The recorded rows as tensors. */
const matched = (old: Rows = forward.v_old) => {
  const [clean, noise, level] = [rowsTensor(forward.x0), rowsTensor(forward.noise), tensor(device, forward.t)];
  const { latents, target } = forwardRows(clean, noise, level);
  const prediction = rowsTensor(forward.v).requireGrad();
  return { latents, prediction, old: rowsTensor(old), target, level, advantages: tensor(device, forward.advantages) };
};

test('rows are (1 - t) x0 + t e, with the target e - x0', async () => {
  const found = await read(
    scope(device, () => {
      const { latents, target } = matched();
      return { latents, target };
    }),
  );
  expectWithin(found.latents!, forward.xt.flat(), 'x_t');
  const target = forward.noise.flatMap((row, i) => row.map((e, k) => e - forward.x0[i]![k]!));
  expectWithin(found.target!, target, 'u');
});

describe('DiffusionNFT', () => {
  for (const beta of [1, 0.1]) {
    const expected = recorded.cases[`diffusion_nft beta ${beta.toFixed(1)}`]!;
    test(`has the recorded loss and gradient with beta ${beta}`, async () => {
      const found = await read(
        scope(device, () => {
          const rows = matched();
          const loss = nftLoss(rows, { beta, advantageMax: recorded.advantage_max });
          const ones = tensor(device, [1, 1, 1]);
          const anchor = referenceKL(rows.prediction, rowsTensor(forward.v_ref), ones);
          const [fromLoss, fromAnchor] = [loss, anchor].map((each) => backward(each, [rows.prediction])[0]!);
          return { loss, anchor, fromLoss: fromLoss!, fromAnchor: fromAnchor! };
        }),
      );
      const rho = forward.advantages.map((A) => Math.min(Math.max(A / (2 * recorded.advantage_max) + 0.5, 0), 1));
      expectWithin(rho, expected.reward_prob, 'rho');
      expectWithin(found.loss!, [expected.metrics['actor/policy_loss']!], 'loss');
      expectWithin(found.anchor!, [expected.metrics['actor/ref_kl_loss']!], 'anchor');
      const total = found.loss![0]! + anchorWeight * found.anchor![0]!;
      expectWithin([total], [expected.loss], 'loss with the anchor');
      expectWithin([total], [expected.metrics['actor/total_loss']!], 'loss with the anchor');
      const gradient = found.fromLoss!.map((value, i) => value + anchorWeight * found.fromAnchor![i]!);
      expectWithin(gradient, expected.grad_v_analytic_weights_detached.flat(), 'gradient');
    });
  }

  test('on policy its gradient is 2 A t^2 (v - u) / (w N D), whatever beta, and 0 exactly for an advantage of 0', async () => {
    const [n, d] = [forward.v.length, forward.v[0]!.length];
    const advantages = [1.5, 0, -7]; // the last beyond A_max: rho is 0
    const gradientOf = async (beta: number): Promise<number[]> =>
      (
        await read(
          scope(device, () => {
            const rows = { ...matched(forward.v), advantages: tensor(device, advantages) };
            return {
              gradient: backward(nftLoss(rows, { beta, advantageMax: 5 }), [rows.prediction])[0]!,
            };
          }),
        )
      ).gradient!;
    const expected = forward.v.flatMap((row, i) => {
      const [t, A] = [forward.t[i]!, Math.max(advantages[i]!, -5)];
      const errors = row.map((v, k) => v - (forward.noise[i]![k]! - forward.x0[i]![k]!));
      const w = (t * errors.reduce((sum, error) => sum + Math.abs(error), 0)) / d;
      return errors.map((error) => (2 * A * t * t * error) / (w * n * d));
    });
    for (const beta of [1, 0.1, 2]) {
      const gradient = await gradientOf(beta);
      expectWithin(gradient, expected, `beta ${beta}`);
      expect(gradient.slice(d, 2 * d).every((value) => value === 0)).toBe(true);
    }
  });

  test('a row without error is divided by the least weight, not by 0', async () => {
    const found = await read(
      scope(device, () => {
        const rows = matched();
        const [target, level] = [rows.target.detach(), tensor(device, [1, 1e-10, 1])];
        const loss = nftLoss({ ...rows, prediction: target, old: target, level }, { beta: 1, advantageMax: 5 });
        return { loss };
      }),
    );
    expect(found.loss).toEqual([0]);
  });

  test('what makes no sense is refused', () => {
    scope(device, () => {
      const rows = matched();
      expect(() => nftLoss(rows, { beta: 0, advantageMax: 5 })).toThrow('expected beta and advantageMax above 0');
      expect(() => nftLoss({ ...rows, old: rows.level }, { beta: 1, advantageMax: 5 })).toThrow(
        'nftLoss: old is [3] f32, expected [3, 4] f32',
      );
      expect(() => nftLoss({ ...rows, level: rows.target }, { beta: 1, advantageMax: 5 })).toThrow(
        'nftLoss: level is [3, 4] f32, expected [3] f32',
      );
    });
  });
});

describe('advantage weighted matching', () => {
  const names: Readonly<Record<AwmWeight, string | undefined>> = {
    uniform: 'Uniform',
    t: 't',
    t2: undefined, // no trainer's recorded values have it
    huber: 'huber',
    ghuber: 'ghuber',
  };
  /** The weighted error and its derivative by the plain error, in double precision. */
  const weighted: Readonly<Record<AwmWeight, (l: number, t: number) => readonly [value: number, slope: number]>> = {
    uniform: (l) => [l, 1],
    t: (l, t) => [t * l, t],
    t2: (l, t) => [t * t * l, t * t],
    huber: (l, t) => [t * (Math.sqrt(l + 1e-10) - 1e-5), (t * 0.5) / Math.sqrt(l + 1e-10)],
    ghuber: (l, t) => [4 * t * ((l + 1e-10) ** 0.25 - 1e-10 ** 0.25), t * (l + 1e-10) ** -0.75],
  };

  for (const weight of Object.keys(names) as AwmWeight[]) {
    const name = names[weight];
    test(`weight ${weight}: log probabilities, losses and gradients, clipped and not`, async () => {
      const [n, d] = [forward.v.length, forward.v[0]!.length];
      const errorsOf = (velocity: Rows): number[][] =>
        velocity.map((row, i) => row.map((v, k) => v - (forward.noise[i]![k]! - forward.x0[i]![k]!)));
      const of = (velocity: Rows) =>
        errorsOf(velocity).map((row, i) =>
          weighted[weight](row.reduce((sum, error) => sum + error * error, 0) / d, forward.t[i]!),
        );
      const [now, before] = [of(forward.v), of(forward.v_old)];
      const ratios = now.map(([value], i) => Math.exp(before[i]![0] - value));
      for (const clip of [0.99, 0.01]) {
        const found = await read(
          scope(device, () => {
            const { prediction, old, target, level, advantages } = matched();
            const logProb = awmLogProb(prediction, target, level, weight);
            const oldLogProb = awmLogProb(old, target, level, weight);
            const { loss } = policyLoss(logProb, oldLogProb, advantages, { clip });
            return { logProb, oldLogProb, loss, gradient: backward(loss, [prediction])[0]! };
          }),
        );
        const terms = ratios.map((r, i) => {
          const A = forward.advantages[i]!;
          return { plain: -A * r, clipped: -A * Math.min(Math.max(r, 1 - clip), 1 + clip) };
        });
        const loss = terms.reduce((sum, { plain, clipped }) => sum + Math.max(plain, clipped), 0) / n;
        const gradient = errorsOf(forward.v).flatMap((row, i) => {
          const { plain, clipped } = terms[i]!;
          const slope = plain >= clipped ? (plain * -1 * now[i]![1] * 2) / (n * d) : 0;
          return row.map((error) => slope * error);
        });
        expectWithin(found.gradient!, gradient, `gradient, clip ${clip}`);
        expectWithin(found.loss!, [loss], `loss, clip ${clip}`);
        expectWithin(
          found.logProb!,
          now.map(([value]) => -value),
          'log probability',
        );
        if (name === undefined) continue;
        const expected = recorded.cases[`awm ${name}`]!;
        expectWithin(found.logProb!, expected.logProb, 'log probability');
        expectWithin(found.oldLogProb!, expected.oldLogProb, 'old log probability');
        expectWithin(found.loss!, [clip === 0.01 ? expected.loss_clip_0_01 : expected.loss_unclipped], 'loss');
      }
    });
  }

  test('DiffusionNFT on policy is that of weight t2 over w', async () => {
    const shape = [2, 3, 4, 4];
    const [clean, noise, v] = [1, 2, 3].map((seed) => random(shape, seed).data);
    const gradients = await read(
      scope(device, () => {
        const level = tensor(device, [0.7, 0.7]);
        const { target } = forwardRows(tensor(device, clean!, shape), tensor(device, noise!, shape), level);
        const prediction = tensor(device, v!, shape).requireGrad();
        const advantages = tensor(device, [1, -1]);
        const rows = { prediction, old: prediction.detach(), target, level, advantages };
        const logProb = awmLogProb(prediction, target, level, 't2');
        const { loss } = policyLoss(logProb, logProb.detach(), advantages, { clip: 0.1 });
        return {
          nft: backward(nftLoss(rows, { beta: 1, advantageMax: 5 }), [prediction])[0]!,
          awm: backward(loss, [prediction])[0]!,
        };
      }),
    );
    const half = clean!.length / 2;
    for (const row of [0, 1]) {
      const errors = Array.from({ length: half }, (_, k) => {
        const i = row * half + k;
        return Math.abs(v![i]! - (noise![i]! - clean![i]!));
      });
      const w = (0.7 * errors.reduce((sum, error) => sum + error, 0)) / half;
      const own = (values: readonly number[]): number[] => values.slice(row * half, (row + 1) * half);
      expectWithin(
        own(gradients.nft!),
        own(gradients.awm!).map((value) => value / w),
        `row ${row}`,
      );
    }
  });
});

done();
