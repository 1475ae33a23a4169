/** Scopes: what eager work makes inside one is freed at its end, except what is returned. */
import type { Device } from '../device/device.js';
import type { Storage } from '../device/memory.js';
import { check } from '../errors.js';
import { Tensor } from './tensor.js';

/** The tensors in a value: itself, or those in its lists and plain objects. */
export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  if (value && Object.getPrototypeOf(value) === Object.prototype) return Object.values(value).flatMap(tensorsIn);
  return [];
}

/**
 * Runs `body` and frees every tensor it made, except those it returns (alone, in lists or in plain objects), which
 * belong to the enclosing scope, or live until `dispose()` where there is none. Inside a captured step it only runs `body`.
 */
export function scope<R>(device: Device, body: () => R): R {
  if (device.recorder) return body();
  const { result, made } = device.collect(body);
  const kept = new Set<Storage>(tensorsIn(result).map(({ storage }) => storage));
  device.keep(made.filter((storage) => kept.has(storage)));
  for (const storage of made) if (!kept.has(storage)) device.release(storage);
  check(
    !(result instanceof Promise),
    'scope: the body returned a promise; read back after the scope, from what it returns',
  );
  return result;
}
