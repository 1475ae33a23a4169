/** Reverse-mode differentiation: the nodes behind tensors, backward(), noGrad() and withGrad(). */
import { CheckError, check, withPrefix } from '../errors.js';
import { formatShape, sameShape } from './shape.js';
import { type Node, Tensor, tensor } from './tensor.js';

let gradEnabled = true;
let nextId = 0;

export const nextNodeId = (): number => nextId++;

/** Whether ops record themselves for backward(). */
export const isGradEnabled = (): boolean => gradEnabled;

/** Runs `body` without recording anything for backward(). */
export function noGrad<R>(body: () => R): R {
  return withGrad(false, body);
}

/** Runs `body` with recording for backward() on or off. */
export function withGrad<R>(enabled: boolean, body: () => R): R {
  const before = gradEnabled;
  gradEnabled = enabled;
  try {
    return body();
  } finally {
    gradEnabled = before;
  }
}

/** Sums gradients. Set by ops/elementwise, so that the tape itself knows no kernel. */
let addGradients: (a: Tensor, b: Tensor) => Tensor = () => {
  throw new Error('tape: ops/elementwise.ts is not loaded');
};
export function setAddGradients(add: (a: Tensor, b: Tensor) => Tensor): void {
  addGradients = add;
}

/** Options of backward. */
export interface BackwardOptions {
  /** The gradient of the output, of its shape. Needed unless the output is one element, whose gradient is 1. */
  readonly seed?: Tensor;
}

/**
 * Gradients of `output` with respect to `wrt`, in that order; each has the shape and dtype of its tensor.
 * Only paths that lead to `wrt` are computed. The tape behind `output` is used up.
 * Throws when a tensor is not reached, when an op on the path has no gradient, or when the tape was used before.
 */
export function backward(output: Tensor, wrt: readonly Tensor[], { seed }: BackwardOptions = {}): Tensor[] {
  const { device } = output;
  try {
    check(
      output.size === 1 || seed !== undefined,
      `expected a loss of one element, found ${output}; give a seed for others`,
    );
    check(!seed || sameShape(seed.shape, output.shape), () => `the seed is ${seed}, the output ${output}`);
    const order = pathsTo(output, new Set(wrt));
    const { result, made } = device.collect(() =>
      noGrad(() => propagate(order, output, seed ?? tensor(device, [1], output.shape, output.dtype), wrt)),
    );
    const survivors = new Set(result.map(({ storage }) => storage));
    device.keep(made.filter((storage) => survivors.has(storage)));
    for (const storage of made) if (!survivors.has(storage)) device.release(storage);
    return result;
  } catch (error) {
    if (error instanceof CheckError) throw withPrefix('backward', error);
    throw error;
  }
}

/** The nodes on paths from `output` to `wrt`, latest first. Checks each before any work is done. */
function pathsTo(output: Tensor, wrt: ReadonlySet<Tensor>): Node[] {
  const leads = new Map<Node, boolean>();
  const stack: Node[] = output.node ? [output.node] : [];
  while (stack.length > 0) {
    const node = stack.at(-1)!;
    if (leads.has(node)) {
      stack.pop();
      continue;
    }
    const parents = tensorsOf(node.inputs).flatMap(({ node: parent }) => (parent ? [parent] : []));
    const open = parents.filter((parent) => !leads.has(parent));
    if (open.length > 0) {
      stack.push(...open);
      continue;
    }
    leads.set(
      node,
      tensorsOf(node.inputs).some((input) => leadsTo(input, wrt, leads)),
    );
    stack.pop();
  }
  const order = [...leads]
    .filter(([, does]) => does)
    .map(([node]) => node)
    .sort((a, b) => b.id - a.id);
  for (const [i, node] of order.entries()) {
    check(!node.consumed, `the tape of ${node.name} was used by an earlier backward(); run the forward again`);
    check(node.pullback !== undefined, () => {
      const through = order[i - 1];
      return `${node.name} has no gradient${through ? ` (reached through ${through.name})` : ''}`;
    });
  }
  return order;
}

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor;
const tensorsOf = (inputs: readonly unknown[]): Tensor[] => inputs.filter(isTensor);

function leadsTo(input: Tensor, wrt: ReadonlySet<Tensor>, leads: ReadonlyMap<Node, boolean>): boolean {
  return wrt.has(input) || (input.node !== undefined && leads.get(input.node) === true);
}

function propagate(order: readonly Node[], output: Tensor, seed: Tensor, wrt: readonly Tensor[]): Tensor[] {
  const wanted = new Set(wrt);
  const onPath = new Map(order.map((node) => [node, true]));
  const gradients = new Map<Tensor, Tensor>([[output, seed]]);
  for (const node of order) {
    node.consumed = true;
    const dys = node.outputs.map((tensor) => gradients.get(tensor));
    for (const tensor of node.outputs) if (!wanted.has(tensor)) gradients.delete(tensor);
    if (dys.every((dy) => dy === undefined)) continue;
    const label = `gradient of ${node.name} ${node.outputs.map(({ shape }) => formatShape(shape)).join(' ')}`;
    output.device.withLabel(label, () => {
      const thunks = node.pullback!(dys);
      node.inputs.forEach((input, i) => {
        if (!isTensor(input) || !leadsTo(input, wanted, onPath)) return;
        const thunk = thunks[i];
        check(thunk !== undefined, `${node.name} has no gradient for its input ${i} (${input})`);
        const gradient = thunk();
        check(
          sameShape(gradient.shape, input.shape) && gradient.dtype === input.dtype,
          `${node.name} gave a gradient of ${gradient} for its input ${i} of ${input}`,
        );
        const before = gradients.get(input);
        gradients.set(input, before ? addGradients(before, gradient) : gradient);
      });
    });
    for (const storage of node.saved) output.device.release(storage);
  }
  return wrt.map((tensor, i) => {
    const gradient = gradients.get(tensor);
    check(
      gradient !== undefined,
      () => `tensor ${i} of those asked for, ${formatShape(tensor.shape)}, is not reached from the loss`,
    );
    return gradient;
  });
}
