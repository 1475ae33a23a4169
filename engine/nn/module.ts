/**
 * Parameters of nested objects. A module is any object whose fields are tensors, modules, or lists of modules; nothing
 * is inherited. Names are PyTorch's: fields in snake_case, joined by dots, lists by index: `to_out.0.weight`.
 */
import { check } from '../errors.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Every tensor in `module`, by its name, in the order of the fields. */
export function namedParameters(module: object, prefix = ''): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const [field, value] of Object.entries(module)) {
    const name = prefix + snakeCase(field);
    if (value instanceof Tensor) found.set(name, value);
    else if (isModule(value))
      for (const [inner, tensor] of namedParameters(value, `${name}.`)) found.set(inner, tensor);
  }
  return found;
}

const isModule = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !ArrayBuffer.isView(value) && !('gpu' in value);

/** Every tensor in `module`, in the order of its names; each once, also where several fields hold it. */
export function parameters(module: object): Tensor[] {
  return [...new Set(namedParameters(module).values())];
}

/** Marks every float parameter as one whose gradient is wanted, and returns them. */
export function requireGrad(module: object): Tensor[] {
  return parameters(module).map((tensor) => tensor.requireGrad());
}

/** Frees every parameter. */
export function disposeModule(module: object): void {
  for (const tensor of parameters(module)) tensor.dispose();
}

/** Values of one parameter, as read from a file or kept in a checkpoint. */
export interface ParameterValues {
  readonly shape: Shape;
  readonly values: ArrayLike<number>;
}

/** Reads back every parameter. */
export async function stateDict(module: object): Promise<Map<string, ParameterValues>> {
  const state = new Map<string, ParameterValues>();
  for (const [name, tensor] of namedParameters(module))
    state.set(name, { shape: tensor.shape, values: await tensor.data() });
  return state;
}

/** Overwrites every parameter. Names and shapes must match exactly; nothing is written unless all do. */
export function loadStateDict(module: object, state: ReadonlyMap<string, ParameterValues>): void {
  const own = namedParameters(module);
  const problems: string[] = [];
  for (const name of state.keys()) if (!own.has(name)) problems.push(`${name} is not a parameter of the module`);
  for (const [name, tensor] of own) {
    const given = state.get(name);
    if (!given) problems.push(`${name} ${formatShape(tensor.shape)} is missing`);
    else if (!sameShape(given.shape, tensor.shape)) {
      problems.push(`${name} is ${formatShape(given.shape)}, expected ${formatShape(tensor.shape)}`);
    } else if (given.values.length !== tensor.size) {
      problems.push(`${name} has ${given.values.length} values, expected ${tensor.size}`);
    }
  }
  const shown = problems.slice(0, 5).join('; ');
  check(
    problems.length === 0,
    `loadStateDict: ${shown}${problems.length > 5 ? `; and ${problems.length - 5} more` : ''}`,
  );
  for (const [name, tensor] of own) tensor.write(state.get(name)!.values);
}
