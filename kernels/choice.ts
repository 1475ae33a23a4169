/** Which of several kernels computes a product, where that has been measured on an adapter instead of being taken from a table. */

/**
 * Products with more than one kernel, by what decides their speed. The batch is no part of it, nor an m that contains it: two
 * kernels may round differently, and a sample's value must not depend on the batch it rides in.
 */
export const shapeClasses = [
  'matmul',
  'matmul_f16_weight',
  'matmul_transposed', // of a: the gradients of weights
  'conv2d',
  'conv2d_weight_grad',
] as const;
export type ShapeClass = (typeof shapeClasses)[number];

/** Kernels by class, as they were measured to be the fastest; a class without an entry is left to the tables. */
export type KernelChoices = Readonly<Partial<Record<ShapeClass, string>>>;

/** The kernel that was chosen for a class, where it is one of those that run here. */
export function chosenKernel<Name extends string>(
  { choices = {} }: { readonly choices?: KernelChoices },
  shapeClass: ShapeClass,
  candidates: readonly Name[],
): Name | undefined {
  return candidates.find((name) => name === choices[shapeClass]);
}
