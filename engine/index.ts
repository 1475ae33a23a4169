/** The engine's public surface. */

export type { KernelChoices } from '../kernels/choice.js';
export type { DType, Features } from '../kernels/kernel.js';
export { type AdapterInfo, NoAdapterError } from './adapter.js';
export { capture, type Step } from './capture.js';
export { checkpoint } from './checkpoint.js';
export { Device, type DeviceOptions } from './device.js';
export { EMA, type EMAOptions, emaDecay } from './ema.js';
export { CheckError, OutOfMemoryError } from './errors.js';
export {
  choicesOf,
  type KernelTrial,
  measureKernels,
  parseKernels,
  storedKernels,
  storeKernels,
} from './kernel_choice.js';
export * from './layers.js';
export type { MemoryReport } from './memory.js';
export * from './module.js';
export { defineOp, dispatch } from './op.js';
export * from './ops/attention.js';
export * from './ops/conv2d.js';
export * from './ops/create.js';
export * from './ops/elementwise.js';
export * from './ops/gate.js';
export * from './ops/gaussian.js';
export * from './ops/index.js';
export * from './ops/linear.js';
export * from './ops/loss.js';
export * from './ops/matmul.js';
export * from './ops/norm.js';
export * from './ops/random.js';
export * from './ops/reduce.js';
export * from './ops/resample.js';
export * from './ops/shape.js';
export * from './ops/softmax.js';
export { upsampleConv2d } from './ops/upsample_conv2d.js';
export { AdamW, type AdamWOptions } from './optimizer.js';
export { scope } from './scope.js';
export { backward, noGrad } from './tape.js';
export { empty, scalar, Tensor, tensor } from './tensor.js';
export { moveTogether, zerosTogether } from './together.js';
