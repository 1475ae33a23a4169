/**
 * The engine's public surface, `winnow/engine`: devices, tensors and their ops, gradients, captured steps, layers and
 * optimizers, safetensors files, and what an op of one's own is made of.
 */

export type { KernelChoices } from '../kernels/choice.js';
export { type DType, elementTypes, type Features, linearGrid, type Plan, type Variant } from '../kernels/kernel.js';
export { capture, type Step } from './device/capture.js';
export { Device, type DeviceOptions } from './device/device.js';
export type { MemoryReport } from './device/memory.js';
export { type Kernel, type KernelPlan, loadKernel } from './device/own_kernel.js';
export { type AdapterInfo, type AdapterOptions, NoAdapterError } from './driver/adapter.js';
export { CheckError, check, EnvironmentError, FileError, OutOfMemoryError } from './errors.js';
export { EMA, type EMAOptions, emaDecay } from './nn/ema.js';
export * from './nn/layers.js';
export * from './nn/module.js';
export { AdamW, type AdamWOptions } from './nn/optimizer.js';
export * from './ops/attention.js';
export * from './ops/create.js';
export * from './ops/elementwise.js';
export * from './ops/gate.js';
export * from './ops/gaussian.js';
export * from './ops/index.js';
export * from './ops/loss.js';
export * from './ops/norm.js';
export * from './ops/products/conv2d.js';
export * from './ops/products/linear.js';
export * from './ops/products/matmul.js';
export { upsampleConv2d } from './ops/products/upsample_conv2d.js';
export * from './ops/random.js';
export * from './ops/reduce.js';
export * from './ops/resample.js';
export * from './ops/shape.js';
export * from './ops/softmax.js';
export {
  type FileDType,
  type FileEntry,
  type FileTensor,
  type FileValues,
  openSafetensors,
  SafetensorsFile,
  valuesOf,
  writeSafetensors,
} from './safetensors.js';
export { defineOp, dispatch, once, type Pullback } from './tensor/op.js';
export { recompute } from './tensor/recompute.js';
export { scope } from './tensor/scope.js';
export { formatShape, type Shape, sameShape } from './tensor/shape.js';
export { type BackwardOptions, backward, noGrad } from './tensor/tape.js';
export { declare, empty, emptyLike, scalar, Tensor, type Thunk, tensor } from './tensor/tensor.js';
export { moveTogether, readTogether, writeTogether, zerosTogether } from './tensor/together.js';
export {
  choicesOf,
  type KernelTrial,
  measureKernels,
  parseKernels,
  storedKernels,
  storeKernels,
} from './tuning/kernel_choice.js';
