/** `winnow plan --probe`: arithmetic, time and memory of a run's parts, found by loading the model and running each part. */
import { forwardFlops } from '../../../engine/device/flops.js';
import {
  backward,
  capture,
  mean,
  noGrad,
  type Step,
  square,
  type Tensor,
  tensor,
  zeros,
} from '../../../engine/index.js';
import type { RunConfig } from '../../config.js';
import type { AtomicCosts } from '../../cost.js';
import { isForward, keepsPredictions } from '../../learning/losses.js';
import type { GenerativeModel } from '../../model.js';
import { CombinedReward, waitsForScores } from '../../rewards/reward.js';
import { equalChunks } from '../../rollout/chunks.js';
import { decodedAtOnce } from '../../rollout/pictures.js';
import { survivorsOf } from '../../rollout/stages.js';
import { callSizeOf, groupsInTurn, samplesAtOnce } from '../../rollout/turns.js';
import { guided } from '../../sampling/sampler.js';
import { microBatchOf } from '../../shards/shards.js';
import { Trainer } from '../../trainer.js';
import { openDevice } from '../device.js';
import { loadPolicy } from '../policy.js';

export interface Probe {
  /** The adapter's name. */
  readonly device: string;
  /** TFLOP of a network call with its guidance, and of a decode without the reward's own network. */
  readonly costs: AtomicCosts;
  /** Seconds of one network call, one decode, and one trained step of a trajectory. */
  readonly seconds: { readonly call: number; readonly decode: number; readonly trained: number };
  /** Bytes that the model's weights take, and what training takes besides: state, activations, trajectories. */
  readonly memory: { readonly model: number; readonly training: number };
}

const repeats = 3; // real steps of each part; the first one compiles and is not timed

/** In place of the rewards one that computes nothing, and is waited for if any of them is: turns that wait take memory. */
const rewardLike = ({ reward }: RunConfig): CombinedReward => {
  const none = { name: 'none', waited: waitsForScores(reward), score: async () => [] };
  return new CombinedReward([{ weight: 1, reward: none }]);
};

/** Loads the model, captures the whole training, and times real steps. Rewards are left out. Takes seconds to minutes. */
export async function probe(config: RunConfig, name?: string): Promise<Probe> {
  const device = await openDevice({ device: name });
  try {
    const model = await loadPolicy(device, config);
    const used = (): number => device.memory().liveBytes + device.memory().plannedBytes;
    const weights = used();
    const trainer = await Trainer.create(model, rewardLike(config), config);
    const memory = { model: weights, training: used() - weights };
    trainer.dispose();
    return { device: device.info.device, memory, ...(await measureParts(model, config)) };
  } finally {
    device.close();
  }
}

async function measureParts(model: GenerativeModel, config: RunConfig): Promise<Pick<Probe, 'costs' | 'seconds'>> {
  const { sampler, grpo } = config;
  const rows = microBatchOf(config);
  const { device, trainable, latentShape } = model;
  const scale = sampler.guidance;
  // As many samples as the last steps of a rollout have in one call, and in one decode.
  const size = callSizeOf(latentShape, config);
  const survivors = Math.max(...groupsInTurn(grpo.groups_per_update, size)) * survivorsOf(size.stages);
  const { size: called } = equalChunks(survivors, samplesAtOnce(size));
  const { size: decoded } = equalChunks(survivors, decodedAtOnce(latentShape));
  /** Latents, timestep and conditions of a batch. */
  const inputs = (batch: number) => ({
    latents: zeros(device, [batch, ...latentShape]),
    timestep: tensor(device, Array(batch).fill(500)),
    condition: model.encode(Array(batch).fill('')),
    unconditional: model.encode(Array(batch).fill('')),
  });
  const predict = ({ latents, timestep, condition, unconditional }: ReturnType<typeof inputs>): Tensor =>
    guided(model.predict, latents, timestep, condition, {
      scale,
      unconditional,
      detached: sampler.detach_unconditional,
    });
  const [one, many, micro] = [inputs(1), inputs(called), inputs(rows)];

  const single = await capture(device, () => noGrad(() => predict(one)));
  const picture = await capture(device, () => noGrad(() => model.decode(one.latents)));
  const costs = { network: forwardFlops(single.dispatches) / 1e12, decode: forwardFlops(picture.dispatches) / 1e12 };
  single.dispose();
  picture.dispose();
  const latents = zeros(device, [decoded, ...latentShape]);
  const decode = await secondsOf(model, await capture(device, () => noGrad(() => model.decode(latents))));
  const call = await secondsOf(model, await capture(device, () => noGrad(() => predict(many))));
  const learning = await capture(device, () => {
    const trained = (): Tensor =>
      isForward(grpo.loss) ? model.predict(micro.latents, micro.timestep, micro.condition) : predict(micro);
    const prediction = trained();
    // A copy of the weights costs what a network without its adapter does.
    const reference = grpo.kl > 0 && (model.reference?.(() => noGrad(trained)) ?? noGrad(trained));
    const kept = keepsPredictions(grpo) && noGrad(trained);
    const gradients = backward(mean(square(prediction)), [...trainable.values()]);
    return { gradients, ...(reference && { reference }), ...(kept && { kept }) };
  });
  const trained = await secondsOf(model, learning);
  return {
    costs,
    seconds: { call: call / called, decode: decode / decoded, trained: trained / rows },
  };
}

/** The median time of a step's runs after the first; the step is disposed of. */
async function secondsOf({ device }: GenerativeModel, step: Step<unknown>): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run <= repeats; run++) {
    const start = performance.now();
    step.run();
    await device.sync();
    if (run > 0) times.push((performance.now() - start) / 1000);
  }
  step.dispose();
  return times.sort((a, b) => a - b)[repeats >> 1]!;
}
