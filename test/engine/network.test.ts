import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, test } from 'vitest';
import {
  AdamW,
  Attention,
  backward,
  Conv2d,
  capture,
  GroupNorm,
  Initializer,
  LayerNorm,
  Linear,
  linear,
  mean,
  mse,
  permute,
  reshape,
  scope,
  type Tensor,
  tensor,
  upsampleNearest,
} from '../../engine/index.js';
import { disposeModule, requireGrad } from '../../engine/nn/module.js';
import { checkBatchInvariance, random, testDevice, upload } from '../check.js';

const device = await testDevice();

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** A small image network with every kind of layer: [N, 3, 8, 8] to [N, 8]. */
class SmallNetwork {
  readonly convIn: Conv2d;
  readonly norm: GroupNorm;
  readonly down: Conv2d;
  readonly tokenNorm: LayerNorm;
  readonly attention: Attention;
  readonly up: Conv2d;
  readonly head: Linear;

  constructor(init: Initializer) {
    this.convIn = Conv2d.create(init, 3, 16, 3, { padding: 1 });
    this.norm = GroupNorm.create(init, 16, { groups: 4 });
    this.down = Conv2d.create(init, 16, 16, 3, { stride: 2, padding: 1 });
    this.tokenNorm = LayerNorm.create(init, 16);
    this.attention = Attention.create(init, 16, { heads: 2 });
    this.up = Conv2d.create(init, 16, 16, 1);
    this.head = Linear.create(init, 16, 8);
  }

  forward(x: Tensor): Tensor {
    const batch = x.shape[0]!;
    const wide = this.norm.forward(this.convIn.forward(x), { silu: true });
    const tokens = permute(reshape(this.down.forward(wide), [batch, 16, 16]), [0, 2, 1]); // [N, 16 tokens, 16]
    const mixed = this.attention.forward(this.tokenNorm.forward(tokens), { residual: tokens });
    const image = reshape(permute(mixed, [0, 2, 1]), [batch, 16, 4, 4]);
    const joined = this.up.forward(upsampleNearest(image, { scale: 2 }), { residual: wide });
    return linear(mean(joined, [2, 3]), this.head.weight, this.head.bias, { activation: 'silu' });
  }
}

const network = new SmallNetwork(new Initializer(device, 7));
requireGrad(network);
afterAll(() => disposeModule(network));

describe('a small network', () => {
  test('the value of a sample, and its gradient to the input, do not depend on the batch', async () => {
    await checkBatchInvariance(device, (x) => network.forward(x), [random([3, 3, 8, 8], 1)], { batched: [0] });
  });

  test('2,000 captured training steps use no more GPU memory than the first, and RSS has no trend', async () => {
    const x = upload(device, random([4, 3, 8, 8], 2));
    const target = upload(device, random([4, 8], 3, { low: 0 }));
    const own = new SmallNetwork(new Initializer(device, 8));
    const optimizer = new AdamW(requireGrad(own), { lr: 1e-3 });
    const step = await capture(device, () => {
      const loss = mse(own.forward(x), target);
      optimizer.step(backward(loss, optimizer.parameters));
      return { loss };
    });
    step.run();
    const first = await step.outputs.loss.item();
    const memory = device.memory();
    const rss: number[] = [];
    for (let i = 1; i < 2000; i++) {
      step.run();
      if (i % 50 === 0) {
        await device.sync();
        collectGarbage(); // what waits for it is no trend
        if (i >= 400) rss.push(process.memoryUsage().rss / 1e6);
      }
    }
    expect(await step.outputs.loss.item()).toBeLessThan(0.1 * first);
    expect(device.memory()).toEqual(memory);
    expect(trend(rss), `RSS in MB: ${rss.map((mb) => mb.toFixed(0))}`).toBeLessThan(2);
    step.dispose();
    optimizer.dispose();
    disposeModule(own);
    for (const thing of [x, target]) thing.dispose();
  });

  test('eager training frees what it makes', async () => {
    const x = upload(device, random([2, 3, 8, 8], 2));
    const target = tensor(device, new Float32Array(16), [2, 8]);
    const own = new SmallNetwork(new Initializer(device, 8));
    const optimizer = new AdamW(requireGrad(own), { lr: 1e-3 });
    const train = (): void =>
      scope(device, () => optimizer.step(backward(mse(own.forward(x), target), optimizer.parameters)));
    train();
    await device.sync();
    const { liveBytes, poolBytes } = device.memory();
    for (let i = 0; i < 20; i++) train();
    await device.sync();
    expect(device.memory()).toMatchObject({ liveBytes, poolBytes });
    optimizer.dispose();
    disposeModule(own);
    for (const thing of [x, target]) thing.dispose();
  });
});

/** Growth over all samples by the least-squares line. */
function trend(values: readonly number[]): number {
  const n = values.length;
  const middle = (n - 1) / 2;
  const average = values.reduce((sum, value) => sum + value, 0) / n;
  let above = 0;
  let below = 0;
  values.forEach((value, i) => {
    above += (i - middle) * (value - average);
    below += (i - middle) ** 2;
  });
  return (above / below) * (n - 1);
}
