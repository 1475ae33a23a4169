/** Ops: a function from tensors to its value and its pullback, with the checks and the bookkeeping around it. */
import type { Plan } from '../../kernels/kernel.js';
import type { Device } from '../device/device.js';
import type { BufferRange } from '../device/encoder.js';
import { watchFinite } from '../device/finite.js';
import { CheckError, check, withPrefix } from '../errors.js';
import { formatShape } from './shape.js';
import { isGradEnabled, nextNodeId, noGrad } from './tape.js';
import { type Node, Tensor, type Thunk } from './tensor.js';

type Gradients<R> = R extends Tensor ? Tensor : readonly (Tensor | undefined)[];

/** Maps the output's gradient (for several outputs: a list, undefined where none arrived) to one thunk for each argument. */
export type Pullback<R> = (dy: Gradients<R>) => readonly (Thunk | undefined)[];

/**
 * Defines an op. `forward` gets the arguments, checks them, dispatches, and returns the output (or a list of outputs)
 * and, where there is a gradient, the pullback. An argument may be a list of tensors; it counts as that many
 * arguments in the pullback's answer. What the pullback mentions is what is saved.
 *
 * Ops called inside do not record themselves: the pullback answers for them.
 * Every check that fails inside is thrown with the op's name, and frees what the op had made.
 */
export function defineOp<A extends readonly unknown[], R extends Tensor | readonly Tensor[]>(
  name: string,
  forward: (...args: A) => readonly [R, Pullback<R>?],
): (...args: A) => R {
  return (...args) => {
    const inputs = args.flat();
    const tensors = inputs.filter((input) => input instanceof Tensor);
    const device = tensors[0]?.device;
    if (!device) throw new CheckError(`${name}: expected a tensor, found ${args.map(String).join(', ') || 'nothing'}`);
    const outer = device.opLabel;
    try {
      for (const tensor of tensors)
        check(!tensor.disposed, () => `an input was disposed: ${tensor} (${tensor.storage.label})`);
      check(
        tensors.every((tensor) => tensor.device === device),
        'the inputs are on different devices',
      );
      device.opLabel = outer || `${name} ${tensors.map(({ shape }) => formatShape(shape)).join(' ')}`;
      const { result, made } = device.collect(() => noGrad(() => forward(...args)));
      return finish(name, device, inputs, result, made);
    } catch (error) {
      if (!(error instanceof CheckError) || outer) throw error;
      throw withPrefix(name, error);
    } finally {
      device.opLabel = outer;
    }
  };
}

function finish<R extends Tensor | readonly Tensor[]>(
  name: string,
  device: Device,
  inputs: readonly unknown[],
  [output, pullback]: readonly [R, Pullback<R>?],
  made: BufferRange['storage'][],
): R {
  const outputs: readonly Tensor[] = output instanceof Tensor ? [output] : output;
  if (outputs.some((tensor) => inputs.includes(tensor)))
    throw new Error(`${name} returned one of its inputs; ops return new tensors`);
  if (device.checksFinite) for (const tensor of outputs) watchFinite(tensor);
  const kept = new Set(outputs.map(({ storage }) => storage));
  const saved = made.filter((storage) => !kept.has(storage));
  device.keep(made.filter((storage) => kept.has(storage)));
  const records = isGradEnabled() && inputs.some((input) => input instanceof Tensor && input.requiresGrad);
  if (!records) {
    for (const storage of saved) device.release(storage);
    return output;
  }
  device.keep(saved);
  const single = output instanceof Tensor;
  const node: Node = {
    id: nextNodeId(),
    name,
    inputs,
    outputs,
    pullback: pullback && ((dys) => pullback((single ? dys[0] : dys) as Gradients<R>)),
    saved,
    consumed: false,
  };
  for (const tensor of outputs) {
    tensor.node = node;
    tensor.requiresGrad = true;
  }
  return output;
}

/** For what several thunks of a pullback need: made when the first of them asks. */
export function once<R>(make: () => R): () => R {
  let made: R | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** Runs a plan over tensors by binding name; null where an optional input is absent. A view binds its part alone. */
export function dispatch(plan: Plan, buffers: Readonly<Record<string, Tensor | null>>): void {
  let device: Device | undefined;
  const ranges: Record<string, BufferRange | null> = {};
  for (const name in buffers) {
    const tensor = buffers[name];
    device ??= tensor?.device;
    ranges[name] = tensor?.range ?? null;
  }
  if (!device) throw new Error(`${plan.kernel}: a dispatch without tensors`);
  device.dispatch(plan, ranges, device.opLabel);
}
