"""Writes test/fixtures/<family>.safetensors: every differentiable op against PyTorch in float64.

Run: python test/reference/make_op_fixtures.py [family ...]
"""
import sys

import torch
import torch.nn.functional as F

from fixtures import Family

ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "geluTanh": lambda x: F.gelu(x, approximate="tanh"),
    "quickGelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
}


def elementwise():
    f = Family("elementwise")
    broadcasts = [("same shape", (3, 5, 4), (3, 5, 4)), ("middle axis", (3, 1, 5), (3, 4, 5)), ("both ways", (4, 1, 7), (3, 1))]
    binary = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
    for op, compute in binary.items():
        for name, a, b in broadcasts:
            right = f.uniform(*b, low=0.5, high=2.0) if op == "div" else f.normal(*b)
            f.case(f"{op}, {name}", op, [f.normal(*a), right], compute, terms=28)
    f.case("minimum, middle axis", "minimum", [f.normal(3, 1, 5), f.normal(3, 4, 5)], torch.minimum, terms=4)
    f.case("maximum, both ways", "maximum", [f.normal(4, 1, 7), f.normal(3, 1)], torch.maximum, terms=28)
    f.case("pow, middle axis", "pow", [f.uniform(3, 1, 5, low=0.3, high=3), f.normal(3, 4, 5)], torch.pow, terms=4)
    f.case("add a number", "add", [f.normal(3, 7), 0.75], torch.add)
    f.case("sub a number", "sub", [f.normal(3, 7), 0.75], torch.sub)
    f.case("mul by a number", "mul", [f.normal(2, 3, 4), -1.5], torch.mul)
    f.case("div by a number", "div", [f.normal(2, 3, 4), 3.25], torch.div)
    f.case("pow to a number", "pow", [f.uniform(3, 7, low=0.2, high=3), 2.5], torch.pow)
    f.case("maximum with a number", "maximum", [f.normal(3, 7), 0.125], lambda a, b: torch.clamp(a, min=b))
    f.case("minimum with a number", "minimum", [f.normal(3, 7), 0.125], lambda a, b: torch.clamp(a, max=b))

    unary = {"neg": torch.neg, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos, "square": torch.square, "abs": torch.abs,
             "sigmoid": torch.sigmoid, "tanh": torch.tanh, **ACTIVATIONS}
    for op, compute in unary.items():
        f.case(op, op, [f.normal(3, 43, scale=2)], compute)
    for op, compute in {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt}.items():
        f.case(op, op, [f.uniform(3, 43, low=0.1, high=4)], compute)
    for op in ("tanh", "sigmoid", "silu", "gelu", "geluTanh", "quickGelu"):
        f.case(f"{op} far from zero", op, [f.normal(32, scale=20)], unary[op])
    f.case("clamp", "clamp", [f.normal(5, 7), -0.5, 0.75], torch.clamp)
    condition, a, b = f.integers(3, 4, 5, high=2), f.normal(3, 1, 5), f.normal(4, 1)
    f.case("where, broadcast both ways", "where", [condition, a, b], lambda c, a, b: torch.where(c != 0, a, b), terms=15)
    for op in ("greater", "less"):
        f.case(f"{op}, middle axis", op, [f.normal(3, 1, 5), f.normal(3, 4, 5)], lambda a, b, op=op: getattr(torch, op)(a, b).long())
    f.case("equal", "equal", [f.integers(3, 4, 5, high=3), f.integers(4, 1, high=3)], lambda a, b: torch.eq(a, b).long())
    f.save()


def reduce():
    f = Family("reduce")
    shapes = [("all axes", (3, 5, 7), None), ("last axis", (4, 3, 66), 2), ("middle axis", (3, 37, 8), 1), ("first axis", (19, 5), 0),
              ("outer axes", (4, 6, 5, 3), [0, 2, 3]), ("inner axes", (2, 4, 5, 6), [2, 3])]
    for name, shape, axes in shapes:
        size = torch.empty(shape).sum(axes).numel() if axes is not None else 1
        terms = torch.Size(shape).numel() // size
        dim = tuple(range(len(shape))) if axes is None else axes
        at = [axes] if axes is not None else []
        f.case(f"sum, {name}", "sum", [f.normal(*shape), *at], lambda x, *_: x.sum(dim), terms)
        f.case(f"mean, {name}", "mean", [f.normal(*shape), *at], lambda x, *_: x.mean(dim), terms)
    keep = {"keepDims": True}
    f.case("sum, axes kept", "sum", [f.normal(3, 37, 8), [0, 2], keep], lambda x, *_: x.sum((0, 2), keepdim=True), terms=24)
    f.case("mean, negative axis kept", "mean", [f.normal(3, 5, 9), -2, keep], lambda x, *_: x.mean(-2, keepdim=True), terms=5)
    for op, compute in (("max", torch.amax), ("min", torch.amin)):
        f.case(f"{op}, last axis", op, [f.normal(6, 37), 1], compute)
        f.case(f"{op}, middle axis kept", op, [f.normal(3, 9, 4), 1, keep], lambda x, *_, g=compute: g(x, 1, keepdim=True))
    var = lambda x, axes, correction=0, keepdim=False: torch.var(x, axes, correction=correction, keepdim=keepdim)
    f.case("variance, last axis", "variance", [f.normal(5, 37, shift=2), 1], var, terms=37)
    f.case("variance, kept, corrected", "variance", [f.normal(3, 9, 4), [0, 1], {"keepDims": True, "correction": 1}],
           lambda x, *_: var(x, (0, 1), 1, True), terms=27)
    f.case("logSumExp, last axis", "logSumExp", [f.normal(5, 37, scale=4), 1], torch.logsumexp, terms=37)
    f.case("logSumExp, middle axis kept", "logSumExp", [f.normal(3, 9, 4), 1, keep], lambda x, *_: torch.logsumexp(x, 1, keepdim=True), terms=9)
    f.case("cumsum, last axis", "cumsum", [f.normal(3, 37), 1], torch.cumsum, terms=37)
    f.case("cumsum, middle axis", "cumsum", [f.normal(3, 9, 4), 1], torch.cumsum, terms=9)
    f.save()


def softmax():
    f = Family("softmax")
    for op, compute in (("softmax", torch.softmax), ("logSoftmax", torch.log_softmax)):
        f.case(f"{op}, last axis", op, [f.normal(4, 3, 37, scale=3)], lambda x, g=compute: g(x, -1), terms=37)
        f.case(f"{op}, rows of 4", op, [f.normal(5, 64)], lambda x, g=compute: g(x, -1), terms=64)
        f.case(f"{op}, middle axis", op, [f.normal(3, 9, 5), 1], compute, terms=9)
        f.case(f"{op}, large values", op, [f.normal(3, 20, scale=30, shift=200)], lambda x, g=compute: g(x, -1), terms=20)
    f.save()


def matmul():
    f = Family("matmul")

    def compute(a, b, options=None):
        options = options or {}
        a = a.mT if options.get("transposeA") else a
        return a @ (b.mT if options.get("transposeB") else b)

    for ta, tb in ((False, False), (True, False), (False, True), (True, True)):
        for m, n, k in ((37, 29, 43), (24, 32, 40)):
            a = f.normal(k, m) if ta else f.normal(m, k)
            b = f.normal(n, k) if tb else f.normal(k, n)
            f.case(f"{m}x{n}x{k}{' A^T' * ta}{' B^T' * tb}", "matmul", [a, b, {"transposeA": ta, "transposeB": tb}], compute, max(m, n, k))
    batches = [("batched", (3, 5, 7), (3, 7, 6)), ("two batch axes", (2, 3, 4, 8), (2, 3, 8, 12)), ("shared b", (3, 5, 8), (8, 12)),
               ("shared a", (5, 7), (3, 7, 6)), ("batch broadcast in the middle", (2, 1, 3, 4), (2, 3, 4, 5)),
               ("batch broadcast both ways", (3, 1, 3, 4), (1, 2, 4, 5)), ("one row", (1, 65), (65, 9)), ("one column", (9, 65), (65, 1))]
    for name, a, b in batches:
        f.case(name, "matmul", [f.normal(*a), f.normal(*b)], compute, terms=max(65 if 65 in a else 24, *a))
    f.case("shared b, transposed", "matmul", [f.normal(3, 8, 5), f.normal(12, 8), {"transposeA": True, "transposeB": True}], compute, terms=24)
    f.case("f16 weight", "matmul", [f.normal(9, 24), f.normal(24, 20, dtype="f16")], compute, terms=24)
    f.save()


def linear():
    f = Family("linear")

    def compute(x, weight, bias=None, options=None):
        options = options or {}
        y = F.linear(x, weight, bias)
        y = ACTIVATIONS[options["activation"]](y) if "activation" in options else y
        if "parts" in options:
            y = torch.stack(y.chunk(options["parts"], -1))
        y = y * options["gate"] if "gate" in options else y
        return y + options["residual"] if "residual" in options else y

    f.case("no bias", "linear", [f.normal(7, 24), f.normal(20, 24)], compute, terms=24)
    f.case("bias, odd sizes", "linear", [f.normal(3, 5, 37), f.normal(29, 37), f.normal(29)], compute, terms=37)
    for name in ACTIVATIONS:
        f.case(name, "linear", [f.normal(3, 5, 24), f.normal(20, 24, scale=0.3), f.normal(20), {"activation": name}], compute, terms=24)
    f.case("residual", "linear", [f.normal(3, 5, 24), f.normal(20, 24), f.normal(20), {"residual": f.normal(3, 5, 20)}], compute, terms=24)
    f.case("activation, no bias, residual", "linear",
           [f.normal(7, 13), f.normal(9, 13, scale=0.3), None, {"activation": "geluTanh", "residual": f.normal(7, 9)}], compute, terms=13)
    f.case("f16 weight", "linear", [f.normal(6, 24), f.normal(20, 24, dtype="f16"), f.normal(20)], compute, terms=24)
    f.case("f16 weight, odd sizes, residual", "linear",
           [f.normal(5, 23), f.normal(9, 23, dtype="f16"), f.normal(9), {"activation": "silu", "residual": f.normal(5, 9)}], compute, terms=23)
    f.case("gate", "linear", [f.normal(5, 3, 24), f.normal(20, 24), f.normal(20), {"gate": f.normal(3, 20)}], compute, terms=24)
    f.case("gate, odd sizes, residual", "linear",
           [f.normal(9, 2, 13), f.normal(7, 13), None, {"gate": f.normal(2, 7), "residual": f.normal(9, 2, 7)}], compute, terms=18)
    f.case("parts", "linear", [f.normal(5, 24), f.normal(36, 24), f.normal(36), {"parts": 3}], compute, terms=24)
    f.case("parts, residual", "linear", [f.normal(2, 3, 8), f.normal(16, 8), f.normal(16), {"parts": 2, "residual": f.normal(2, 2, 3, 8)}], compute, terms=8)
    f.case("parts of odd width, activation", "linear", [f.normal(5, 9), f.normal(15, 9, scale=0.3), f.normal(15), {"parts": 3, "activation": "silu"}], compute, terms=9)
    f.save()


def conv2d():
    f = Family("conv2d")

    def compute(x, weight, bias, options=None):
        options = options or {}
        padding = options.get("padding", 0)
        top, bottom, left, right = [padding] * 4 if isinstance(padding, int) else padding
        y = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, options.get("stride", 1))
        return y + options["residual"] if "residual" in options else y

    # name, x, output channels, kernel, bias, options
    cases = [
        ("1x1", (2, 8, 5, 6), 12, 1, True, {}),
        ("1x1, stride 2", (1, 6, 7, 5), 5, 1, True, {"stride": 2}),
        ("3x3", (2, 8, 8, 8), 12, 3, True, {"padding": 1}),
        ("3x3, no padding, no bias, odd sizes", (2, 5, 7, 9), 7, 3, False, {}),
        ("3x3, stride 2", (2, 8, 8, 8), 8, 3, True, {"stride": 2, "padding": 1}),
        ("3x3, stride 2, odd sizes", (1, 3, 9, 7), 6, 3, True, {"stride": 2, "padding": 1}),
        ("3x3, stride 2, padded below and right", (1, 4, 8, 6), 4, 3, True, {"stride": 2, "padding": [0, 1, 0, 1]}),
        ("3x3, padded unevenly", (2, 3, 6, 5), 5, 3, True, {"padding": [2, 0, 1, 3]}),
        ("5x5", (1, 3, 9, 8), 6, 5, True, {"padding": 2}),
        ("2x2, stride 2", (2, 4, 8, 6), 10, 2, True, {"stride": 2}),
        ("3x3, many channels", (1, 36, 5, 5), 33, 3, True, {"padding": 1}),
        ("3x1 kernel", (1, 4, 6, 5), 3, (3, 1), True, {"padding": [1, 1, 0, 0]}),
    ]
    for name, x, out, kernel, bias, options in cases:
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        terms = max(x[1], out) * kh * kw
        terms = max(terms, x[0] * x[2] * x[3])
        args = [f.normal(*x), f.normal(out, x[1], kh, kw, scale=0.5), f.normal(out) if bias else None, options]
        f.case(name, "conv2d", args, compute, terms)
    f.case("3x3, residual", "conv2d", [f.normal(2, 6, 5, 7), f.normal(4, 6, 3, 3), f.normal(4), {"padding": 1, "residual": f.normal(2, 4, 5, 7)}], compute, terms=70)
    f.case("f16 weight", "conv2d", [f.normal(1, 8, 6, 6), f.normal(8, 8, 3, 3, dtype="f16"), f.normal(8), {"padding": 1}], compute, terms=72)
    f.case("f16 weight, odd sizes", "conv2d", [f.normal(1, 5, 5, 7), f.normal(3, 5, 3, 3, dtype="f16"), f.normal(3), {"padding": 1}], compute, terms=45)
    f.save()


def resample():
    f = Family("resample")
    f.case("nearest, twice as large", "upsampleNearest", [f.normal(2, 3, 4, 5), {"scale": 2}],
           lambda x, o: F.interpolate(x, scale_factor=o["scale"]), terms=4)
    f.case("nearest, to a size", "upsampleNearest", [f.normal(1, 3, 3, 5), {"size": [7, 8]}],
           lambda x, o: F.interpolate(x, size=o["size"]), terms=6)
    f.case("average pool by 2", "avgPool2d", [f.normal(2, 3, 6, 8), 2], F.avg_pool2d, terms=4)
    f.case("average pool by 3", "avgPool2d", [f.normal(1, 3, 6, 9), 3], F.avg_pool2d, terms=9)
    f.case("every second pixel", "stridedDownsample", [f.normal(2, 3, 6, 8), 2], lambda x, k: x[..., ::k, ::k])

    def patchify(x, p):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, p * p * c)

    def unpatchify(x, o):
        n, p, c, h, w = x.shape[0], o["patch"], o["channels"], o["height"], o["width"]
        return x.reshape(n, h // p, w // p, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)

    f.case("patchify", "patchify", [f.normal(2, 3, 4, 6), 2], patchify)
    f.case("unpatchify", "unpatchify", [f.normal(2, 6, 12), {"patch": 2, "channels": 3, "height": 4, "width": 6}], unpatchify)
    f.save()


def norm():
    f = Family("norm")

    def group_norm(x, weight, bias, o):
        y = F.group_norm(x, o["groups"], weight, bias, o.get("eps", 1e-5))
        return F.silu(y) if o.get("silu") else y

    for name, shape, options in [
        ("groups of 2", (2, 8, 4, 4), {"groups": 4}), ("odd pixels", (2, 6, 5, 3), {"groups": 2}), ("one channel a group", (2, 5, 3, 7), {"groups": 5}),
        ("one group", (1, 6, 4, 3), {"groups": 1, "eps": 1e-6}), ("silu", (2, 8, 4, 4), {"groups": 2, "silu": True}),
        ("silu, one channel a group, odd pixels", (3, 3, 5, 7), {"groups": 3, "silu": True}), ("three axes", (2, 8, 12), {"groups": 4}),
        ("long groups", (1, 8, 12, 12), {"groups": 2}),
    ]:
        c = shape[1]
        terms = torch.Size(shape).numel() // min(shape[0] * options["groups"], c)
        args = [f.normal(*shape, scale=2, shift=1), f.normal(c, scale=0.5, shift=1), f.normal(c, scale=0.5), options]
        f.case(f"group norm, {name}", "groupNorm", args, group_norm, terms)

    def layer_norm(x, weight=None, bias=None, o=None):
        o = o or {}
        y = F.layer_norm(x, x.shape[-1:], weight, bias, o.get("eps", 1e-5))
        y = y * (1 + o["scale"]) if "scale" in o else y
        return y + o["shift"] if "shift" in o else y

    x = lambda *shape: f.normal(*shape, scale=2, shift=1)
    f.case("layer norm, affine", "layerNorm", [x(3, 5, 32), f.normal(32), f.normal(32)], layer_norm, terms=32)
    f.case("layer norm, affine, odd width", "layerNorm", [x(9, 37), f.normal(37), f.normal(37), {"eps": 1e-6}], layer_norm, terms=37)
    f.case("layer norm, weight alone", "layerNorm", [x(4, 20), f.normal(20), None], layer_norm, terms=20)
    f.case("layer norm, no affine", "layerNorm", [x(2, 3, 24), None, None, {"eps": 1e-6}], layer_norm, terms=24)
    for width in (24, 21):
        options = {"eps": 1e-6, "scale": f.normal(2, width, scale=0.5), "shift": f.normal(2, width)}
        f.case(f"layer norm, modulated, width {width}", "layerNorm", [x(5, 2, width), None, None, options], layer_norm, terms=width)
    options = {"scale": f.normal(2, 16, scale=0.5), "shift": f.normal(2, 16)}
    f.case("layer norm, affine and modulated", "layerNorm", [x(5, 2, 16), f.normal(16), f.normal(16), options], layer_norm, terms=16)

    rms = lambda x, weight=None, o=None: F.rms_norm(x, x.shape[-1:], weight, (o or {}).get("eps", 1e-6))
    f.case("rms norm", "rmsNorm", [x(3, 5, 32), f.normal(32, shift=1)], rms, terms=32)
    f.case("rms norm, odd width, eps", "rmsNorm", [x(9, 37), f.normal(37, shift=1), {"eps": 1e-3}], rms, terms=37)
    f.case("rms norm, no weight", "rmsNorm", [x(4, 20), None], rms, terms=20)
    f.save()


def attention():
    f = Family("attention")

    def compute(q, k, v, o=None):
        o = o or {}
        scores = q @ k.mT * o.get("scale", q.shape[-1] ** -0.5)
        scores = scores + o["bias"] if "bias" in o else scores
        if o.get("causal"):
            keep = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
            scores = scores.masked_fill(~keep, -torch.inf)
        return scores.softmax(-1) @ v

    qkv = lambda b, h, tq, tk, d: [f.normal(b, h, tq, d), f.normal(b, h, tk, d), f.normal(b, h, tk, d)]
    for d in (8, 40, 64, 80, 160):
        f.case(f"self, head dim {d}", "attention", qkv(1, 2, 9, 9, d), compute, terms=d)
    f.case("self, more tokens", "attention", qkv(2, 2, 37, 37, 16), compute, terms=37)
    f.case("cross, head dim 8", "attention", qkv(2, 2, 17, 11, 8), compute, terms=17)
    f.case("cross, head dim 40", "attention", qkv(1, 2, 6, 19, 40), compute, terms=40)
    f.case("causal", "attention", [*qkv(2, 2, 19, 19, 8), {"causal": True}], compute, terms=19)
    f.case("own scale", "attention", [*qkv(1, 2, 7, 7, 8), {"scale": 1.0}], compute, terms=8)
    for name, shape in (("shared", (1, 2, 7, 9)), ("a key mask", (2, 1, 1, 9)), ("full", (2, 2, 7, 9))):
        f.case(f"bias, {name}", "attention", [*qkv(2, 2, 7, 9, 8), {"bias": f.normal(*shape, grad=False)}], compute, terms=9)
    f.save()


def shape():
    f = Family("shape")
    f.case("reshape", "reshape", [f.normal(2, 3, 4), [4, 6]], torch.reshape)
    f.case("permute, 4 axes", "permute", [f.normal(2, 3, 4, 5), [0, 2, 3, 1]], torch.permute)
    f.case("permute, 3 axes", "permute", [f.normal(3, 4, 5), [2, 0, 1]], torch.permute)
    f.case("transpose", "transpose", [f.normal(3, 5, 7), 1, 2], torch.transpose)
    f.case("transpose, heads", "transpose", [f.normal(2, 5, 3, 4), 1, 2], torch.transpose)
    f.case("expand in the middle", "expand", [f.normal(3, 1, 5), [2, 3, 4, 5]], lambda x, s: x.expand(s), terms=8)
    f.case("concat, middle axis", "concat", [[f.normal(2, 3, 5), f.normal(2, 1, 5), f.normal(2, 4, 5)], 1], torch.cat)
    f.case("concat, last axis", "concat", [[f.normal(3, 8), f.normal(3, 4)], 1], torch.cat)
    f.case("concat of a tensor with itself", "concat", [[x := f.normal(2, 5), x], 0], torch.cat)
    f.case("split, middle axis", "split", [f.normal(2, 8, 5), [3, 1, 4], 1], torch.split)
    f.case("split, last axis", "split", [f.normal(3, 12), [4, 8], 1], torch.split)
    f.case("split into views", "splitViews", [f.normal(9, 64), [2, 1, 6]], torch.split)
    f.case("split into views, where memory can't be bound", "splitViews", [f.normal(8, 5), [3, 1, 4]], torch.split)
    f.case("slice, middle axis", "slice", [f.normal(3, 9, 4), 1, 2, 7], lambda x, _, a, b: x[:, a:b])
    f.case("slice, last axis", "slice", [f.normal(3, 9), -1, 3, 8], lambda x, _, a, b: x[..., a:b])
    f.case("pad", "pad", [f.normal(2, 3, 4), [[0, 0], [1, 2], [3, 0]], 0.5], lambda x, p, v: F.pad(x, [3, 0, 1, 2], value=v))
    f.case("embedding", "embedding", [f.integers(2, 7, high=5), f.normal(5, 12)], lambda ids, t: F.embedding(ids, t), terms=8)
    f.case("embedding, odd width", "embedding", [f.integers(9, high=6), f.normal(6, 7)], lambda ids, t: F.embedding(ids, t), terms=8)
    f.case("embedding, f16 table", "embedding", [f.integers(3, 4, high=5), f.normal(5, 8, dtype="f16")], lambda ids, t: F.embedding(ids, t))
    f.case("indexSelect, repeated rows", "indexSelect", [f.normal(5, 3, 4), f.integers(7, high=5)], lambda x, i: x[i], terms=4)
    f.save()


def loss():
    f = Family("loss")
    f.case("mse", "mse", [f.normal(3, 7, 5), f.normal(3, 7, 5)], F.mse_loss, terms=105)
    f.case("cross entropy", "crossEntropy", [f.normal(9, 13, scale=2), f.integers(9, high=13)], F.cross_entropy, terms=13)
    f.case("cross entropy, rows of 4", "crossEntropy", [f.normal(6, 20, scale=2), f.integers(6, high=20)], F.cross_entropy, terms=20)

    def contrastive(logits):
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.mT, labels)) / 2

    f.case("contrastive", "contrastive", [f.normal(7, 7, scale=3)], contrastive, terms=14)
    f.save()


def optimizer():
    """AdamW and EMA: `adamW(parameters, one list of gradients a step, options)`, `ema(parameters, their later values, options)`."""
    f = Family("optimizer")

    def adamw(parameters, steps, o):
        own = [p.detach().clone().requires_grad_() for p in parameters]
        optimizer = torch.optim.AdamW(own, lr=o["lr"], betas=o["betas"], eps=o["eps"], weight_decay=o["weightDecay"])
        for gradients in steps:
            for p, gradient in zip(own, gradients):
                p.grad = gradient.detach().clone()
            if "maxGradNorm" in o:
                torch.nn.utils.clip_grad_norm_(own, o["maxGradNorm"])
            optimizer.step()
        return own

    shapes = [(5, 8), (7,), (3, 2, 3)]
    base = {"lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weightDecay": 0.01}
    for name, extra in (("no clipping", {}), ("clipped", {"maxGradNorm": 1.0}), ("below the clipping norm", {"maxGradNorm": 1e3}),
                        ("other betas, strong decay", {"betas": [0.5, 0.9], "eps": 1e-3, "weightDecay": 0.5, "maxGradNorm": 2.0})):
        parameters = [f.normal(*s, grad=False) for s in shapes]
        steps = [[f.normal(*s, grad=False) for s in shapes] for _ in range(5)]
        f.case(f"adamw, {name}", "adamW", [parameters, steps, {**base, **extra}], adamw, terms=65, outputs_only=True)

    def ema(parameters, steps, o):
        average = [p.clone() for p in parameters]
        for values in steps:
            average = [o["decay"] * a + (1 - o["decay"]) * v for a, v in zip(average, values)]
        return average

    parameters, steps = [f.normal(*s, grad=False) for s in shapes], [[f.normal(*s, grad=False) for s in shapes] for _ in range(4)]
    f.case("ema", "ema", [parameters, steps, {"decay": 0.9}], ema, terms=5, outputs_only=True)
    f.save()


FAMILIES = [elementwise, reduce, softmax, matmul, linear, conv2d, resample, norm, attention, shape, loss, optimizer]

if __name__ == "__main__":
    for family in FAMILIES:
        if len(sys.argv) == 1 or family.__name__ in sys.argv[1:]:
            family()
