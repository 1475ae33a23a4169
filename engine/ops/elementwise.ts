/** Elementwise ops. Each is a row: its expression in WGSL (kernels/lib/elementwise.wgsl) and that of its gradients. */
import { planAccumulate } from '../../kernels/accumulate.js';
import { planElementwise } from '../../kernels/elementwise.js';
import type { DType } from '../../kernels/kernel.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { broadcastShapes, formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { setAddGradients } from '../tensor/tape.js';
import { emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';
import { sumTo } from './sum_to.js';

const bindings = ['a', 'b', 'c'] as const;

interface Row {
  /** WGSL of a, b, c (the inputs), params.p and params.q. */
  readonly expression: string;
  /** Default: the first input's shape and dtype. */
  readonly shape?: Shape;
  readonly dtype?: DType | undefined;
  readonly p?: number;
  readonly q?: number;
}

/** Runs one elementwise kernel over inputs that broadcast to the row's shape. */
function elementwise(inputs: readonly Tensor[], { expression, shape, dtype, p = 0, q = 0 }: Row): Tensor {
  const y = emptyLike(inputs[0]!, shape, dtype);
  const buffers = Object.fromEntries(bindings.map((name, i) => [name, inputs[i] ?? null]));
  dispatch(planElementwise(inputs, { expression, output: y, p, q }), { ...buffers, y });
  return y;
}

function checkFloat(...inputs: readonly Tensor[]): void {
  for (const x of inputs) check(isFloat(x), () => `expected f32 or f16, found ${x}`);
}

/** A float function of one tensor; `gradient` is an expression of a = x and b = dy, or absent where there is none. */
function unary(name: string, expression: string, gradient?: string): (x: Tensor) => Tensor {
  return defineOp(name, (x: Tensor) => {
    checkFloat(x);
    const y = elementwise([x], { expression });
    return gradient ? [y, (dy) => [() => elementwise([x, dy], { expression: gradient })]] : [y];
  });
}

/** -x. x is f32 or f16, as in all functions of one tensor here, and the result is of its shape and dtype. */
export const neg = unary('neg', '-a', '-b');
/** e to the power x; infinity above 88.7, where f32 ends. */
export const exp = unary('exp', 'exponential(a)', 'exponential_grad(a, b)');
/** Natural logarithm of x: -infinity at 0, NaN below. */
export const log = unary('log', 'logarithm(a)', 'log_grad(a, b)');
/** Square root of x >= 0. */
export const sqrt = unary('sqrt', 'sqrt(a)', 'sqrt_grad(a, b)');
/** 1 / sqrt(x). */
export const rsqrt = unary('rsqrt', 'reciprocal_sqrt(a)', 'reciprocal_sqrt_grad(a, b)');
/** Sine of x in radians, for |x| up to 1e4. */
export const sin = unary('sin', 'sine(a)', 'sin_grad(a, b)');
/** Cosine of x in radians, for |x| up to 1e4. */
export const cos = unary('cos', 'cosine(a)', 'cos_grad(a, b)');
/** x^2. */
export const square = unary('square', 'square(a)', 'square_grad(a, b)');
/** |x|, with gradient 0 at 0. */
export const abs = unary('abs', 'abs(a)', 'abs_grad(a, b)');
/** The largest integer that is not above x. It has no gradient. */
export const floor = unary('floor', 'floor(a)');
/** 1 / (1 + exp(-x)). */
export const sigmoid = unary('sigmoid', 'sigmoid(a)', 'sigmoid_grad(a, b)');
/** Hyperbolic tangent. */
export const tanh = unary('tanh', 'tanh_safe(a)', 'tanh_grad(a, b)');
/** max(x, 0), NaN where x is. */
export const relu = unary('relu', 'relu(a)', 'relu_grad(a, b)');
/** x sigmoid(x). */
export const silu = unary('silu', 'silu(a)', 'silu_grad(a, b)');
/** x times the normal distribution's cdf: PyTorch's default gelu. */
export const gelu = unary('gelu', 'gelu(a)', 'gelu_grad(a, b)');
/** gelu by tanh: PyTorch's approximate='tanh'. */
export const geluTanh = unary('geluTanh', 'gelu_tanh(a)', 'gelu_tanh_grad(a, b)');
/** x sigmoid(1.702 x): CLIP's. */
export const quickGelu = unary('quickGelu', 'quick_gelu(a)', 'quick_gelu_grad(a, b)');

/** @internal x where it is finite or NaN, 0 in place of an infinity. It has no gradient. */
export const finiteOrZero = unary('finiteOrZero', 'infinity_as_zero(a)');

/** x limited to [low, high], NaN where x is; the gradient passes where low <= x <= high. */
export const clamp = defineOp('clamp', (x: Tensor, low: number, high: number) => {
  checkFloat(x);
  check(low <= high, `expected low <= high, found ${low} and ${high}`);
  const limits = { p: low, q: high };
  return [
    elementwise([x], { expression: 'limited(a, FA(params.p), FA(params.q))', ...limits }),
    (dy) => [() => elementwise([x, dy], { expression: 'clamp_grad(a, b, F(params.p), F(params.q))', ...limits })],
  ];
});

/** The values as another type: f32 to f16 rounds to nearest even, float to integer truncates. Between floats it has a gradient. */
export const cast = defineOp('cast', (x: Tensor, dtype: DType) => {
  check(dtype !== 'f16' || x.device.features.f16, 'this adapter has no shader-f16');
  const y = elementwise([x], { expression: 'FY(a)', dtype });
  if (!isFloat(x) || !isFloat(y)) return [y];
  return [y, (dy) => [() => elementwise([dy], { expression: 'FY(a)', dtype: x.dtype })]];
});

/** x as `dtype`: itself where it is already. */
export const inDtype = (x: Tensor, dtype: DType): Tensor => (x.dtype === dtype ? x : cast(x, dtype));

/** Gradients of a binary op as expressions of a, b and c = dy; 'c' alone is dy itself. */
interface BinaryGradients {
  readonly a: string;
  readonly b: string;
}

interface BinaryOptions {
  readonly gradients?: BinaryGradients;
  /** Defined for f32 and f16 only. */
  readonly floatOnly?: boolean;
  /** The expression for integers, where it is another. */
  readonly integers?: string;
  /** Element type of the result, where it is not that of the inputs. */
  readonly dtype?: DType;
}

/** A function of two tensors that broadcast, or of a tensor and a number. */
function binary(
  name: string,
  expression: string,
  options: BinaryOptions = {},
): (a: Tensor, b: Tensor | number) => Tensor {
  const { gradients, floatOnly = false, integers = expression, dtype } = options;
  const expressionOf = (a: Tensor): string => (isFloat(a) ? expression : integers);
  const withTensor = defineOp(name, (a: Tensor, b: Tensor) => {
    check(a.dtype === b.dtype, () => `the dtypes differ: a is ${a}, b is ${b}`);
    if (floatOnly) checkFloat(a, b);
    const y = elementwise([a, b], { expression: expressionOf(a), shape: broadcastShapes(a.shape, b.shape), dtype });
    if (!gradients || !isFloat(a)) return [y];
    const gradient = (dy: Tensor, of: string): Tensor =>
      of === 'c' ? dy : elementwise([a, b, dy], { expression: of, shape: dy.shape });
    return [
      y,
      (dy) => [() => sumTo(gradient(dy, gradients.a), a.shape), () => sumTo(gradient(dy, gradients.b), b.shape)],
    ];
  });
  // The same expressions with b as params.p, so that dy becomes the second input.
  const numberFor = (text: string, type: string, element: string): string =>
    text.replace(/\bb\b/g, `${type}(${element}(params.p))`).replace(/\bc\b/g, 'b');
  const withNumber = defineOp(name, (a: Tensor, p: number) => {
    check(Number.isFinite(p), `expected a finite number, found ${p}`);
    if (floatOnly) checkFloat(a);
    check(isFloat(a) || Number.isInteger(p), () => `expected an integer beside ${a}, found ${p}`);
    const y = elementwise([a], { expression: numberFor(expressionOf(a), 'FA', 'SA'), p, dtype });
    if (!gradients || !isFloat(a)) return [y];
    const gradient = numberFor(gradients.a, 'F', 'f32');
    return [y, (dy) => [() => (gradient === 'b' ? dy : elementwise([a, dy], { expression: gradient, p }))]];
  });
  return (a, b) => (typeof b === 'number' ? withNumber(a, b) : withTensor(a, b));
}

/** a + b, which broadcast, or a number b; of one dtype, as in all functions of two tensors here. */
export const add = binary('add', 'a + b', { gradients: { a: 'c', b: 'c' } });
/** a - b, which broadcast, or a number b. */
export const sub = binary('sub', 'a - b', { gradients: { a: 'c', b: '-c' } });
/** a b, element by element; they broadcast, or b is a number. */
export const mul = binary('mul', 'a * b', { gradients: { a: 'c * b', b: 'c * a' } });
/** a / b, which broadcast, or a number b; f32 or f16. */
export const div = binary('div', 'a / b', { gradients: { a: 'c / b', b: 'divide_grad_b(a, b, c)' }, floatOnly: true });
/** The smaller of both, NaN where either is. At a tie the gradient is shared equally. */
export const minimum = binary('minimum', 'smaller(a, b)', {
  gradients: { a: 'minimum_grad(a, b, c)', b: 'minimum_grad(b, a, c)' },
  integers: 'min(a, b)',
});
/** The larger of both, NaN where either is. At a tie the gradient is shared equally. */
export const maximum = binary('maximum', 'larger(a, b)', {
  gradients: { a: 'maximum_grad(a, b, c)', b: 'maximum_grad(b, a, c)' },
  integers: 'max(a, b)',
});
/** a to the power b, as in C: NaN for negative a unless b is an integer. The gradient to b is NaN for negative a. */
export const pow = binary('pow', 'power(a, b)', {
  gradients: { a: 'power_grad_a(a, b, c)', b: 'power_grad_b(a, b, c)' },
  floatOnly: true,
});
/** 1 where a > b, else 0, as u32. */
export const greater = binary('greater', 'select(FY(0u), FY(1u), a > b)', { dtype: 'u32' });
/** 1 where a < b, else 0, as u32. */
export const less = binary('less', 'select(FY(0u), FY(1u), a < b)', { dtype: 'u32' });
/** 1 where a equals b, else 0, as u32. */
export const equal = binary('equal', 'select(FY(0u), FY(1u), a == b)', { dtype: 'u32' });

/** a where the condition (u32) is not 0, else b; all three broadcast. */
export const where = defineOp('where', (condition: Tensor, a: Tensor, b: Tensor) => {
  check(condition.dtype === 'u32', () => `expected a condition of u32, found ${condition}`);
  check(a.dtype === b.dtype, () => `the dtypes differ: a is ${a}, b is ${b}`);
  const { dtype } = a;
  const shape = broadcastShapes(condition.shape, broadcastShapes(a.shape, b.shape));
  const masked = (dy: Tensor, expression: string): Tensor => elementwise([condition, dy], { expression, shape, dtype });
  return [
    elementwise([condition, a, b], { expression: 'select(c, b, a != FA(0u))', shape, dtype }),
    (dy) => [
      undefined,
      () => sumTo(masked(dy, 'select(FB(0), b, a != FA(0u))'), a.shape),
      () => sumTo(masked(dy, 'select(b, FB(0), a != FA(0u))'), b.shape),
    ],
  ];
});

/** x repeated to `shape`, which it must broadcast to. */
export const expand = defineOp('expand', (x: Tensor, shape: Shape) => {
  check(
    sameShape(broadcastShapes(x.shape, shape), shape),
    () => `${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`,
  );
  return [elementwise([x], { expression: 'a', shape }), (dy) => [() => sumTo(dy, x.shape)]];
});

/**
 * Overwrites `target` with the values of `source`, of the same shape and dtype: how a captured step hands its state to
 * its next run. It is not recorded: a target that needs a gradient is refused.
 */
export function assign(target: Tensor, source: Tensor): void {
  check(!target.requiresGrad, () => `assign: ${target} needs a gradient; it can't be overwritten`);
  check(
    sameShape(target.shape, source.shape) && target.dtype === source.dtype,
    () => `assign: the target is ${target}, the source ${source}`,
  );
  dispatch(planElementwise([source], { expression: 'a', output: target }), { a: source, b: null, c: null, y: target });
}

/** Adds `part` to `total` in place, both f32 of one shape: how gradients gather over micro-batches. It is not recorded. */
export function accumulate(total: Tensor, part: Tensor): void {
  check(!total.requiresGrad, () => `accumulate: ${total} needs a gradient; it can't be overwritten`);
  check(
    sameShape(total.shape, part.shape) && total.dtype === 'f32' && part.dtype === 'f32',
    () => `accumulate: the total is ${total}, the part ${part}; expected f32 of one shape`,
  );
  dispatch(planAccumulate(total.size), { total, part });
}

setAddGradients((a, b) => elementwise([a, b], { expression: 'a + b' }));
