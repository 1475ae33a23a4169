/** AdamW in double precision, in PyTorch's order of operations, with clip_grad_norm_ before it. */
export interface AdamWReference {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly maxGradNorm?: number;
}

/** Changes `parameters` in place by one list of gradients after the other; returns the norms before clipping. */
export function adamW(
  parameters: readonly Float64Array[],
  steps: readonly (readonly ArrayLike<number>[])[],
  { lr, betas: [beta1, beta2], eps, weightDecay, maxGradNorm }: AdamWReference,
): number[] {
  const m = parameters.map(({ length }) => new Float64Array(length));
  const v = parameters.map(({ length }) => new Float64Array(length));
  return steps.map((gradients, step) => {
    let squares = 0;
    for (const gradient of gradients) for (let i = 0; i < gradient.length; i++) squares += gradient[i]! ** 2;
    const norm = Math.sqrt(squares);
    const clip = maxGradNorm === undefined ? 1 : Math.min(1, maxGradNorm / (norm + 1e-6));
    parameters.forEach((p, k) => {
      for (let i = 0; i < p.length; i++) {
        const g = clip * gradients[k]![i]!;
        m[k]![i] = beta1 * m[k]![i]! + (1 - beta1) * g;
        v[k]![i] = beta2 * v[k]![i]! + (1 - beta2) * g * g;
        const mean = m[k]![i]! / (1 - beta1 ** (step + 1));
        const root = Math.sqrt(v[k]![i]! / (1 - beta2 ** (step + 1)));
        p[i] = p[i]! * (1 - lr * weightDecay) - (lr * mean) / (root + eps);
      }
    });
    return norm;
  });
}
