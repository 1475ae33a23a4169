/** DEBUG=finite: finds the first op whose output holds a NaN or an infinity. */
import { planFinite } from '../../kernels/finite.js';
import { arrayOf, toBytes } from '../tensor/dtype.js';
import { isFloat, type Tensor } from '../tensor/tensor.js';
import type { Device } from './device.js';
import { Storage } from './memory.js';

const none = 0xffffffff;

const watches = new WeakMap<Device, FiniteWatch>();

/** Has an op's output checked on the GPU. The verdict comes at the next read back or sync(). */
export function watchFinite(x: Tensor): void {
  let watch = watches.get(x.device);
  if (!watch) {
    watch = new FiniteWatch(x.device);
    watches.set(x.device, watch);
  }
  watch.observe(x);
}

/** Watches every op's output on the GPU; the verdict comes at the next read back or sync(). Costs a pass over each output. */
class FiniteWatch {
  private readonly flags = new Storage(4, 'finite flags');
  /** One for each output watched, in order: the smallest index is the earliest op. */
  private readonly labels: string[] = [];

  constructor(private readonly device: Device) {
    device.pool.allocate(this.flags);
    device.write(this.flags, toBytes('u32', [none]));
    device.afterWait = () => this.check();
  }

  /** Adds the check of an op's output after it. */
  observe(x: Tensor): void {
    if (!isFloat(x)) return;
    const label = `${this.device.opLabel} -> ${x}`;
    const index = this.labels.push(label) - 1;
    const ranges = {
      x: x.range,
      flags: { storage: this.flags, offset: 0, bytes: 4 },
    };
    this.device.dispatch(planFinite(x.size, x.dtype, index), ranges, `finite ${label}`);
  }

  /** Throws the label of the first op that made a NaN or an infinity since the last check. */
  async check(): Promise<void> {
    const [index] = arrayOf('u32', await this.device.readBytes({ storage: this.flags, offset: 0, bytes: 4 }));
    if (index === none) return;
    this.device.write(this.flags, toBytes('u32', [none]));
    throw new Error(`a NaN or an infinity was first made by ${this.labels[index!]}`);
  }
}
