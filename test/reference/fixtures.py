"""Cases for test/engine/pytorch.test.ts: inputs, and what PyTorch makes of them in float64.

A fixture is a safetensors file. Its metadata `cases` is a JSON list of
    {name, op, args, outputs, seeds, gradients, terms}
args stand in the order of the op's TypeScript signature, a tensor as {"tensor": key}. outputs are keys of expected values;
seeds are keys of the gradients given to them; gradients maps the key of an input to the key of the expected
gradient of sum(output * seed). terms is the length of the longest sum behind a value: the tolerance grows with its root.
"""
import json
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent.parent / "fixtures"
torch.set_default_dtype(torch.float64)


class Input:
    """A tensor argument: values that the GPU's type represents exactly, so that both sides see the same numbers."""

    def __init__(self, values, dtype="f32", grad=None):
        kind = {"f32": np.float32, "f16": np.float16, "u32": np.uint32}[dtype]
        self.stored = np.asarray(values).astype(kind)
        self.wants_grad = dtype == "f32" if grad is None else grad
        if dtype == "u32":
            self.value = torch.from_numpy(self.stored.astype(np.int64))
        else:
            self.value = torch.from_numpy(self.stored.astype(np.float64)).requires_grad_(self.wants_grad)


class Family:
    """The cases of one fixture file. Every case draws from a generator of its own, so adding one leaves the rest."""

    def __init__(self, name):
        self.name, self.cases, self.tensors = name, [], {}
        self.reseed()

    def reseed(self):
        self.generator = np.random.default_rng([crc32(self.name.encode()), len(self.cases)])

    def normal(self, *shape, scale=1.0, shift=0.0, dtype="f32", grad=None):
        return Input(self.generator.standard_normal(shape) * scale + shift, dtype, grad)

    def uniform(self, *shape, low=0.0, high=1.0, dtype="f32", grad=None):
        return Input(self.generator.uniform(low, high, shape), dtype, grad)

    def integers(self, *shape, high):
        return Input(self.generator.integers(0, high, shape), "u32")

    def case(self, name, op, args, compute, terms=1, outputs_only=False):
        """Adds a case. `compute` gets the values of `args` (tensors for inputs) and returns a tensor or a list of them."""
        inputs = []

        def describe(arg, where):
            if isinstance(arg, Input):
                known = [key for key, other in inputs if other is arg]
                if known:
                    return {"tensor": known[0]}
                key = f"{self.name}.{len(self.cases)}.{where}"
                self.tensors[key] = arg.stored
                inputs.append((key, arg))
                return {"tensor": key}
            if isinstance(arg, (list, tuple)):
                return [describe(item, f"{where}.{i}") for i, item in enumerate(arg)]
            if isinstance(arg, dict):
                return {k: describe(v, k) for k, v in arg.items()}
            return arg

        described = [describe(arg, str(i)) for i, arg in enumerate(args)]
        result = compute(*[values(arg) for arg in args])
        results = [result] if isinstance(result, torch.Tensor) else list(result)
        prefix = f"{self.name}.{len(self.cases)}"
        entry = {"name": name, "op": op, "args": described, "outputs": [], "seeds": [], "gradients": {}, "terms": terms}
        total = 0
        for i, output in enumerate(results):
            key = f"{prefix}.out{i}"
            integer = not output.is_floating_point()
            self.tensors[key] = output.detach().numpy().astype(np.uint32 if integer else np.float32)
            entry["outputs"].append(key)
            if integer or outputs_only:
                continue
            seed = self.normal(*output.shape, grad=False)
            self.tensors[f"{prefix}.seed{i}"] = seed.stored
            entry["seeds"].append(f"{prefix}.seed{i}")
            total = total + (output * seed.value).sum()
        wanted = [(key, arg) for key, arg in inputs if arg.wants_grad] if entry["seeds"] else []
        if wanted:
            for (key, _), gradient in zip(wanted, torch.autograd.grad(total, [arg.value for _, arg in wanted])):
                self.tensors[f"{key}.grad"] = gradient.numpy().astype(np.float32)
                entry["gradients"][key] = f"{key}.grad"
        self.cases.append(entry)
        self.reseed()

    def save(self):
        for key, value in self.tensors.items():
            assert value.dtype == np.uint32 or np.isfinite(value).all(), key
        tensors = {key: np.array(value, order="C") for key, value in self.tensors.items()}
        path = FOLDER / f"{self.name}.safetensors"
        save_file(tensors, path, {"cases": json.dumps(self.cases, separators=(",", ":"))})
        print(f"{path.name}: {len(self.cases)} cases, {path.stat().st_size:,} bytes")


def values(arg):
    """The argument as PyTorch sees it."""
    if isinstance(arg, Input):
        return arg.value
    if isinstance(arg, (list, tuple)):
        return [values(item) for item in arg]
    if isinstance(arg, dict):
        return {key: values(value) for key, value in arg.items()}
    return arg
