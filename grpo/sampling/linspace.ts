/** Evenly spaced numbers, as NumPy and PyTorch round them. */

/** `count` numbers from `first` to `last`, both included; the first alone for a count of 1. */
export function linspace(first: number, last: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (count === 1 ? first : first + ((last - first) * i) / (count - 1)));
}

/** The same in f32, counted from the nearer end as PyTorch does. */
export function linspaceF32(first: number, last: number, count: number): number[] {
  const { fround } = Math;
  if (count === 1) return [fround(first)];
  const step = fround(fround(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    i < count / 2 ? fround(fround(first) + fround(step * i)) : fround(fround(last) - fround(step * (count - 1 - i))),
  );
}

/** The nearest whole number, of two equally near the even one: NumPy's round. */
export function roundHalfEven(value: number): number {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
