/** Plans for softmax and logSoftmax along one axis, and their gradients. */
import { type DType, elementTypes, type Features, linearGrid, type Plan } from './kernel.js';
import type { AxisView } from './reduce.js';

const workgroupSize = 64;

/** Rows longer than this are shared by a workgroup: on a CPU one lane a row is faster up to here, on a GPU loads coalesce. */
const longestRowOfALane = { cpu: 2048, gpu: 32 } as const;

/** Softmax along the middle axis of x, its logarithm with `log`. */
export function planSoftmax(view: AxisView, dtype: DType, log: boolean, features: Features): Plan {
  return plan('softmax', view, dtype, log, features);
}

/** The gradient to x from y and dy. */
export function planSoftmaxGrad(view: AxisView, dtype: DType, log: boolean, features: Features): Plan {
  return plan('softmax_grad', view, dtype, log, features);
}

function plan(
  kernel: string,
  { outer, length, inner }: AxisView,
  dtype: DType,
  log: boolean,
  features: Features,
): Plan {
  const rows = inner === 1;
  const width = (rows ? length : inner) % 4 === 0 ? 4 : 1;
  const units = rows ? { length: length / width, inner } : { length, inner: inner / width };
  const shared = rows && length > longestRowOfALane[features.software ? 'cpu' : 'gpu'];
  const lanes = shared ? workgroupSize : 1;
  const count = outer * units.inner;
  const joined = rows ? width : 1;
  const { V, F, U } = elementTypes(dtype, width);
  return {
    kernel,
    variant: {
      types: { V, F, U, S: elementTypes(dtype, 1).F },
      constants: { LANES: lanes, LOG: log },
      declarations: [
        `#include "lib/fold${joined}.wgsl"`,
        ...(kernel === 'softmax' ? [`#include "lib/join${joined}.wgsl"`] : []),
      ],
    },
    params: { count, ...units },
    grid: linearGrid(Math.ceil((count * lanes) / workgroupSize)),
  };
}
