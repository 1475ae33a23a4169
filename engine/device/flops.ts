/** Arithmetic of a step's dispatches: of matrix products, convolutions and attention, where nearly all of it is. */
import type { Plan } from '../../kernels/kernel.js';

/**
 * Floating-point operations of the forward kernels among the dispatches, a multiply and an add being two. Backward kernels,
 * sums and elementwise work count nothing. A convolution's channels are counted as stored, in fours.
 */
export const forwardFlops = (dispatches: readonly { readonly plan: Plan }[]): number =>
  dispatches.reduce((sum, { plan }) => sum + flopsOf(plan), 0);

function flopsOf({ kernel, params: p, variant }: Plan): number {
  switch (kernel) {
    case 'matmul_subgroup':
    case 'matmul_tiled':
    case 'matmul_subgroup_matrix':
      return 2 * p.m! * p.n! * p.k! * p.batch!;
    case 'conv2d_subgroup':
    case 'conv2d_tiled':
    case 'conv2d_subgroup_matrix': {
      if (variant.constants?.TRANSPOSED) return 0; // the input's gradient
      const samples = p.workgroups! / (p.pixel_tiles! * p.column_tiles!);
      const taps = p.kernel_height! * p.kernel_width! * 4 * p.depth4!;
      return 2 * samples * p.result_height! * p.result_width! * p.columns! * taps;
    }
    case 'attention':
    case 'attention_subgroup_matrix':
      return 4 * p.head_dim! * p.queries! * p.keys! * (p.workgroups! / p.blocks!);
    default:
      return 0;
  }
}
