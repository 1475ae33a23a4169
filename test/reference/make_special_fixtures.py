"""Writes test/fixtures/special.safetensors: what PyTorch makes of NaN, infinities, zeros with a sign, subnormals, the ends of
f32 and f16 and numbers outside a function's domain, in float32, values and gradients. Read by test/engine/special*.test.ts.

A GPU may take subnormal numbers for zeros. So every result is stored twice, for the inputs as they are and with their
subnormals replaced by zeros of the same sign; `flushed` maps the key of the one to that of the other, where they differ.

Run: python test/reference/make_special_fixtures.py
"""
import json

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from fixtures import FOLDER

torch.set_default_dtype(torch.float32)
NAN, INF, MAX, TINY = float("nan"), float("inf"), 3.4028234663852886e38, 1.1754943508222875e-38
KINDS = {"f32": np.float32, "f16": np.float16, "u32": np.uint32, "i32": np.int32}

SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, TINY, -TINY, MAX, -MAX, 1.0, -1.0, 0.5,
           -2.0, 100.0, -100.0, 1e10, -1e10, 1e-10, 3.0, -3.0, 20.0, -20.0, 65504.0, -1e-10]
PAIRED = [NAN, INF, -INF, 0.0, -0.0, 1e-40, TINY, MAX, -MAX, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, 1e30]
HALVES = [NAN, INF, -INF, 0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 65504.0, -65504.0, 1.0, -1.0, 0.5, -2.0, 100.0, 1e-3]


def flush(x, dtype="f32"):
    """x with its subnormals as zeros."""
    smallest = {"f32": TINY, "f16": 6.103515625e-05}[dtype]
    return np.where(np.abs(x) < smallest, np.copysign(np.zeros_like(x), x), x)


class Input:
    def __init__(self, values, dtype="f32", grad=True):
        with np.errstate(over="ignore"):
            self.stored = np.asarray(values, np.float64).astype(KINDS[dtype])
        self.dtype, self.wants_grad = dtype, grad and dtype in ("f32", "f16")

    def value(self, flushed):
        if self.dtype == "u32":
            return torch.from_numpy(self.stored.astype(np.int64))
        stored = flush(self.stored, self.dtype) if flushed else self.stored
        return torch.from_numpy(stored.astype(np.float32)).requires_grad_(self.wants_grad)


cases, tensors, flushed_keys = [], {}, {}


def case(name, op, args, compute, out="f32", gradients=True, terms=1, file="elementwise"):
    """`compute` gets the args' values and returns a tensor; gradients are those of its sum."""
    inputs = [arg for arg in args if isinstance(arg, Input)] + [
        value for arg in args if isinstance(arg, dict) for value in arg.values() if isinstance(value, Input)]
    at = f"{len(cases)}"
    keys = {id(arg): f"{at}.{i}" for i, arg in enumerate(inputs)}
    for arg in inputs:
        tensors[keys[id(arg)]] = arg.stored

    def described(arg):
        if isinstance(arg, Input):
            return {"tensor": keys[id(arg)]}
        return {k: described(v) for k, v in arg.items()} if isinstance(arg, dict) else arg

    def run(flushed):
        found = {id(arg): arg.value(flushed) for arg in inputs}
        def values(arg):
            if isinstance(arg, Input):
                return found[id(arg)]
            return {k: values(v) for k, v in arg.items()} if isinstance(arg, dict) else arg
        result = compute(*[values(arg) for arg in args])
        with np.errstate(over="ignore", invalid="ignore"):
            results = {f"{at}.out": result.detach().numpy().astype(KINDS[out])}
            wanted = [arg for arg in inputs if arg.wants_grad] if gradients and result.requires_grad else []
            # The seed is of the output's type, and so are gradients of their inputs'.
            found_gradients = torch.autograd.grad(result, [found[id(arg)] for arg in wanted], torch.ones_like(result)) if wanted else []
            for arg, gradient in zip(wanted, found_gradients):
                results[f"{keys[id(arg)]}.grad"] = gradient.numpy().astype(KINDS[arg.dtype])
        return results

    plain, other = run(False), run(True)
    for key, value in plain.items():
        tensors[key] = value
        if value.tobytes() != other[key].tobytes():
            tensors[f"{key}.flushed"] = other[key]
            flushed_keys[key] = f"{key}.flushed"
    cases.append({"name": name, "op": op, "args": [described(arg) for arg in args], "outputs": [f"{at}.out"], "seeds": [],
                  "gradients": {keys[id(arg)]: f"{keys[id(arg)]}.grad" for arg in inputs if f"{keys[id(arg)]}.grad" in plain},
                  "terms": terms, "file": file})


def wide(compute):
    """In float64: PyTorch's erf in float32 is 1 + erf for negative x, which cancels, and its vectors are wrong at infinity."""
    return lambda x: compute(x.double()).float()


UNARY = {"neg": torch.neg, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos,
         "square": torch.square, "abs": torch.abs, "floor": torch.floor, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu,
         "silu": F.silu, "gelu": wide(F.gelu), "geluTanh": wide(lambda x: F.gelu(x, approximate="tanh")),
         "quickGelu": lambda x: x * torch.sigmoid(1.702 * x)}


def elementwise():
    for op, compute in UNARY.items():
        # sin and cos are made for |x| up to 1e4.
        numbers = [x for x in SPECIAL if not 1e4 < abs(x) < INF] if op in ("sin", "cos") else SPECIAL
        numbers = numbers[: len(numbers) // 4 * 4]
        grad = op != "floor"
        case(f"{op}, in fours", op, [Input(numbers, grad=grad)], compute)
        case(f"{op}, one by one", op, [Input(numbers[:-1], grad=grad)], compute)
        case(f"{op} of f16", op, [Input(HALVES, "f16", grad)], compute, out="f16")
    a, b = np.meshgrid(PAIRED, PAIRED, indexing="ij")
    column = np.array(PAIRED)[:, None]
    binary = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "minimum": torch.minimum, "maximum": torch.maximum,
              "pow": torch.pow}
    for op, compute in binary.items():
        case(f"{op}, in fours", op, [Input(a.ravel()), Input(b.ravel())], compute)
        case(f"{op}, one by one", op, [Input(a.ravel()[:-1]), Input(b.ravel()[:-1])], compute)
        case(f"{op}, broadcast", op, [Input(column, grad=False), Input(PAIRED, grad=False)], compute)
        case(f"{op} of f16", op, [Input(np.repeat(HALVES, 16), "f16"), Input(np.tile(HALVES, 16), "f16")], compute, out="f16")
    for op, compute in {"greater": torch.gt, "less": torch.lt, "equal": torch.eq}.items():
        for name, x, y in (("in fours", a.ravel(), b.ravel()), ("one by one", a.ravel()[:-1], b.ravel()[:-1]), ("broadcast", column, PAIRED)):
            case(f"{op}, {name}", op, [Input(x, grad=False), Input(y, grad=False)], compute, out="u32")
        case(f"{op} a number", op, [Input(SPECIAL, grad=False), 0.5], compute, out="u32")
    for p in (0.5, 1 / 3, 2, 3, -1, -2, 0, 1, -0.5, 100):
        p = float(np.float32(p))
        case(f"pow to {p}", "pow", [Input(SPECIAL), p], lambda x, p: torch.pow(x, torch.full_like(x, p)))  # of a number PyTorch takes the root: -inf^0.5 is NaN, in C inf
    numbers = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
    for op, compute in numbers.items():
        for p in (0.0, -2.0, 1e30):
            case(f"{op} and {p}", op, [Input(SPECIAL), p], compute)
    for p in (0.0, 0.5, -MAX):
        case(f"maximum with {p}", "maximum", [Input(SPECIAL), p], lambda x, p: torch.maximum(x, torch.tensor(p)))
        case(f"minimum with {p}", "minimum", [Input(SPECIAL), p], lambda x, p: torch.minimum(x, torch.tensor(p)))
    # At the limits themselves the gradient differs among PyTorch's versions; ours passes.
    for low, high in ((-0.5, 0.75), (0.001, 0.9), (-MAX, MAX)):
        grad = high < MAX
        case(f"clamp to {low} and {high}", "clamp", [Input(SPECIAL, grad=grad), low, high], torch.clamp)
        case(f"clamp to {low} and {high}, one by one", "clamp", [Input(SPECIAL[:-1], grad=grad), low, high], torch.clamp)
    condition = Input(np.arange(256) % 2, "u32")
    case("where", "where", [condition, Input(a.ravel()), Input(b.ravel())], lambda c, a, b: torch.where(c != 0, a, b))
    edges = [65504.0, 65519.0, 65520.0, -65519.996, -65520.0, 1e6, 2.98e-8, 2.9802322387695312e-8, 2.9802326e-8, 6e-8, 6.0e-5, 6.1e-5,
             1.00048828125, 1.0004884, 1.00146484375, 2049.0]
    case("cast to f16", "cast", [Input(SPECIAL + edges), "f16"], lambda x, _: x, out="f16")
    case("cast to f16, one by one", "cast", [Input(SPECIAL + edges[:-1]), "f16"], lambda x, _: x, out="f16")
    case("cast from f16", "cast", [Input(HALVES, "f16"), "f32"], lambda x, _: x)
    whole = [0.0, -0.0, 1.9, -1.9, 1e-40, 0.99999994, -0.5, 16777215.0, 2147483520.0, -2147483648.0, 1e-45, 100.5]
    case("cast to i32", "cast", [Input(whole, grad=False), "i32"], lambda x, _: x.to(torch.int32), out="i32")
    case("cast to u32", "cast", [Input([abs(x) for x in whole], grad=False), "u32"], lambda x, _: x.to(torch.int64), out="u32")


def rows_of(length, huge=True):
    """Rows of ordinary numbers in which something stands at the beginning, in the middle, at the end, or everywhere."""
    generator = np.random.default_rng(length)
    rows = []
    for values in ([NAN], [INF], [-INF], [INF, -INF], [NAN, -INF], [MAX], [-MAX], [1e-40]):
        if not huge and abs(values[0]) == MAX:
            continue
        for first in (0, length // 2 - 1, length - len(values)):
            row = generator.standard_normal(length)
            row[first : first + len(values)] = values
            rows.append(row)
    for everywhere in (NAN, INF, -INF, MAX, -MAX, -3.4e38, 0.0, 1e-40, TINY):
        if huge or not 1e18 < abs(everywhere) < INF:
            rows.append(np.full(length, everywhere))
    rows.append(np.where(np.arange(length) % 2 == 0, -INF, 1.0))
    rows.append(np.where(np.arange(length) % 2 == 0, 1e18, -1e18))
    rows.append(generator.standard_normal(length) * 1e-20)
    return np.stack(rows)


def reduction():
    var = lambda x, axis: torch.var(x, axis, correction=0)
    reductions = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "variance": var, "logSumExp": torch.logsumexp,
                  "softmax": torch.softmax, "logSoftmax": torch.log_softmax}
    for op, compute in reductions.items():
        huge = op != "variance"  # squares and sums must have their place in f32
        for length in (8, 7, 76):
            rows = rows_of(length, huge)
            case(f"{op}, rows of {length}", op, [Input(rows), 1], compute, terms=length, file="reduce")
        columns = rows_of(9, huge).T
        fours = columns.shape[1] // 4 * 4
        case(f"{op}, columns", op, [Input(columns[:, :fours]), 0], compute, terms=9, file="reduce")
        case(f"{op}, columns one by one", op, [Input(columns[:, 1:fours]), 0], compute, terms=9, file="reduce")
    case("cumsum", "cumsum", [Input(rows_of(7)), 1], torch.cumsum, terms=7, file="reduce")


def norm():
    for columns in (8, 7, 76):
        rows = rows_of(columns, huge=False)
        rms = lambda x, w, _: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * w
        weight = lambda shift: Input(np.linspace(0.5, 1.5, columns) + shift, grad=False)
        case(f"layerNorm, rows of {columns}", "layerNorm", [Input(rows), weight(0), weight(-1)],
             lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b), terms=columns, file="norm")
        case(f"rmsNorm, rows of {columns}", "rmsNorm", [Input(rows), weight(0), {}], rms, terms=columns, file="norm")
    for silu in (False, True):
        x = rows_of(16, huge=False).reshape(-1, 4, 4)
        scale = Input([0.5, 1.0, 1.5, 2.0], grad=False)
        shift = Input([0.1, 0.2, 0.3, 0.4], grad=False)
        case(f"groupNorm{', silu' * silu}", "groupNorm", [Input(x), scale, shift, {"groups": 2, "silu": silu}],
             lambda x, w, b, o: (F.silu if o["silu"] else lambda y: y)(F.group_norm(x, 2, w, b)), terms=8, file="norm")


def loss():
    case("mse", "mse", [Input([1, MAX, 2.0]), Input([0, -MAX, 1.0])], F.mse_loss, terms=3, file="norm")
    case("mse with NaN", "mse", [Input([1, NAN, 2.0]), Input([0, 1.0, 1.0])], F.mse_loss, terms=3, file="norm")
    case("mse with infinity", "mse", [Input([1, INF, 2.0]), Input([0, 1.0, 1.0])], F.mse_loss, terms=3, file="norm")
    entropy = lambda x, y: F.cross_entropy(x, y)
    for name, row in {"a class ruled out": [0, -INF, 1, 2], "the label ruled out": [-INF, 0, 1, 2], "NaN": [0, NAN, 1, 2], "infinity": [0, INF, 1, 2],
                      "large numbers": [MAX, 1, -MAX, 0], "equal numbers": [-MAX] * 4}.items():
        case(f"crossEntropy with {name}", "crossEntropy", [Input([row, [1, 2, 3, 4]]), Input([0, 2], "u32")], entropy, terms=4, file="norm")


def products():
    generator = np.random.default_rng(5)
    normal = lambda *shape: generator.standard_normal(shape)

    def attend(q, k, v, o):
        # The formula: PyTorch's fused kernels give 0 for rows of NaN, and lose the sum beside a maximum of -3.4e38.
        scores = q @ k.mT / q.shape[-1] ** 0.5
        return torch.softmax(scores + o["bias"] if "bias" in o else scores, -1) @ v

    def put(x, at, value):
        x = x.copy()
        x[at] = value
        return x

    for keys, width in ((3, 3), (13, 8), (70, 4)):
        q, k, v = normal(1, 2, 5, width), normal(1, 2, keys, width), normal(1, 2, keys, width)
        biases = {"the lowest number on every key": np.full((1, 1, 5, keys), -MAX), "-3.4e38 on every key": np.full((1, 1, 5, keys), -3.4e38),
                  "the lowest number on every key of a row": put(np.zeros((1, 1, 5, keys)), (0, 0, 2), -MAX),
                  "the lowest number on some keys": put(np.zeros((1, 1, 1, keys)), (0, 0, 0, slice(1, None, 2)), -MAX),
                  "-infinity on some keys": put(np.zeros((1, 1, 1, keys)), (0, 0, 0, slice(1, None, 2)), -INF),
                  "-infinity on every key of a row": put(np.zeros((1, 1, 5, keys)), (0, 0, 2), -INF),
                  "-infinity on the first keys": put(np.zeros((1, 1, 1, keys)), (0, 0, 0, slice(0, keys - 1)), -INF),
                  "the largest number on a key": put(np.zeros((1, 1, 1, keys)), (0, 0, 0, 1), MAX),
                  "NaN on a key": put(np.zeros((1, 1, 5, keys)), (0, 0, 3, 1), NAN)}
        for name, bias in biases.items():
            case(f"attention over {keys} keys, {name}", "attention", [Input(q), Input(k), Input(v), {"bias": Input(bias, grad=False)}], attend, terms=keys, file="products")
        places = {"query": ((0, 0, 1, 0), (0,)), "key": ((0, 1, 1, 2), (1,)), "value": ((0, 1, keys - 1, 1), (2,))}
        for name, (at, (which,)) in places.items():
            for special in (NAN, MAX) if name == "value" else (NAN, INF, -INF, MAX):
                given = [put(x, at, special) if i == which else x for i, x in enumerate((q, k, v))]
                case(f"attention over {keys} keys, {special} in a {name}", "attention", [*map(Input, given), {}], attend, terms=keys, file="products")
    for m, n, k in ((5, 7, 9), (8, 12, 16)):
        for special in (NAN, INF, MAX):
            a, b = put(normal(m, k), (1, 2), special), normal(k, n)
            case(f"matmul {m}x{n}x{k} with {special}", "matmul", [Input(a), Input(b)], torch.matmul, terms=k, file="products")
            case(f"matmul {m}x{n}x{k} with {special} at the end of b", "matmul", [Input(normal(m, k)), Input(put(b, (k - 1, n - 1), special))], torch.matmul, terms=k, file="products")
    for special in (NAN, INF):
        x, w = put(normal(1, 3, 5, 5), (0, 1, 2, 2), special), normal(4, 3, 3, 3)
        case(f"conv2d with {special}", "conv2d", [Input(x), Input(w, grad=False), None, {"padding": 1}], lambda x, w, _, o: F.conv2d(x, w, padding=1), terms=27, file="products")


for make in (elementwise, reduction, norm, loss, products):
    make()
path = FOLDER / "special.safetensors"
tensors = {key: np.array(value, order="C") for key, value in tensors.items()}
save_file(tensors, path, {"cases": json.dumps(cases, separators=(",", ":")), "flushed": json.dumps(flushed_keys, separators=(",", ":"))})
print(f"{path.name}: {len(cases)} cases, {path.stat().st_size:,} bytes")
