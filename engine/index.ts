/** The engine's public surface. */
export type { DType, Features } from '../kernels/kernel.js';
export { type AdapterInfo, NoAdapterError } from './adapter.js';
export { capture, type Step } from './capture.js';
export { checkpoint } from './checkpoint.js';
export { Device, type DeviceOptions } from './device.js';
export { EMA, type EMAOptions, emaDecay } from './ema.js';
export { CheckError } from './errors.js';
export type { MemoryReport } from './memory.js';
export { defineOp, dispatch } from './op.js';
export * from './ops/elementwise.js';
export * from './ops/norm.js';
export { AdamW, type AdamWOptions } from './optimizer.js';
export { scope } from './scope.js';
export { backward, noGrad } from './tape.js';
export { empty, scalar, Tensor, tensor } from './tensor.js';
