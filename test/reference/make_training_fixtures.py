"""Writes test/fixtures/training.safetensors: three trainings of 200 steps, with every loss, in float64.

The settings are smooth (no relu, a large eps in AdamW, so that no sign of a tiny gradient decides a step): a run in
float32 must follow the one in float64 five times closer than the 1e-4 that the test asks for. This is checked here.

Run: python test/reference/make_training_fixtures.py
"""
import json

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from fixtures import FOLDER

STEPS = 200
ALLOWED = 1e-4 / 5  # relative difference between a float32 and a float64 run


def mlp(p, x):
    """Three layers; x is [batch, 8]."""
    h = F.silu(F.linear(x, p["weight1"], p["bias1"]))
    h = torch.tanh(F.linear(h, p["weight2"], p["bias2"]))
    return F.linear(h, p["weight3"], p["bias3"])


def convnet(p, x):
    """x is [batch, 2, 8, 8]."""
    h = F.conv2d(x, p["conv1"], p["conv1Bias"], padding=1)
    h = F.silu(F.group_norm(h, 4, p["norm1"], p["norm1Bias"], 1e-5))
    h = F.conv2d(F.avg_pool2d(h, 2), p["conv2"], p["conv2Bias"], stride=2, padding=1)
    h = F.silu(F.group_norm(h, 3, p["norm2"], p["norm2Bias"], 1e-5))
    return F.linear(h.flatten(1), p["head"], p["headBias"])


def transformer(p, x):
    """One pre-norm block of 2 heads; x is [batch, tokens, 16]."""
    b, t, c = x.shape
    h = F.layer_norm(x, (c,), p["norm1"], p["norm1Bias"], 1e-5)
    q, k, v = (F.linear(h, p[name]).reshape(b, t, 2, c // 2).transpose(1, 2) for name in ("query", "key", "value"))
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
    x = x + F.linear(h, p["out"], p["outBias"])
    h = F.layer_norm(x, (c,), p["norm2"], p["norm2Bias"], 1e-5)
    return x + F.linear(F.gelu(F.linear(h, p["up"], p["upBias"])), p["down"], p["downBias"])


# network, parameter shapes, input shape of a batch, loss, AdamW
MODELS = {
    "mlp": (mlp, {"weight1": (32, 8), "bias1": (32,), "weight2": (24, 32), "bias2": (24,), "weight3": (5, 24), "bias3": (5,)},
            (16, 8), "mse", {"lr": 3e-3, "weightDecay": 0.01}),
    "convnet": (convnet, {"conv1": (8, 2, 3, 3), "conv1Bias": (8,), "norm1": (8,), "norm1Bias": (8,), "conv2": (12, 8, 3, 3),
                          "conv2Bias": (12,), "norm2": (12,), "norm2Bias": (12,), "head": (6, 48), "headBias": (6,)},
                (16, 2, 8, 8), "crossEntropy", {"lr": 1e-3, "weightDecay": 0.05}),
    "transformer": (transformer, {"norm1": (16,), "norm1Bias": (16,), "query": (16, 16), "key": (16, 16), "value": (16, 16),
                                  "out": (16, 16), "outBias": (16,), "norm2": (16,), "norm2Bias": (16,), "up": (40, 16),
                                  "upBias": (40,), "down": (16, 40), "downBias": (16,)},
                    (4, 10, 16), "mse", {"lr": 2e-3, "weightDecay": 0.01, "maxGradNorm": 0.5}),
}
SHARED = {"betas": [0.9, 0.999], "eps": 1e-4}
BATCHES = 6  # the steps go through them in turn


def initial(shapes, generator):
    """Kaiming-like weights; norms near one; biases near zero. All exact in f32."""
    made = {}
    for name, shape in shapes.items():
        values = generator.standard_normal(shape)
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
        scaled = values / np.sqrt(fan_in) if len(shape) > 1 else 0.1 * values
        made[name] = (scaled + (name in ("norm1", "norm2"))).astype(np.float32)
    return made


def train(network, weights, x, y, loss, options, dtype):
    p = {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in weights.items()}
    x, y = torch.tensor(x, dtype=dtype), torch.tensor(y.astype(np.int64) if loss == "crossEntropy" else y)
    optimizer = torch.optim.AdamW(p.values(), lr=options["lr"], betas=options["betas"], eps=options["eps"], weight_decay=options["weightDecay"])
    losses, clipped = [], 0
    for step in range(STEPS):
        output, target = network(p, x[step % BATCHES]), y[step % BATCHES]
        value = F.cross_entropy(output, target) if loss == "crossEntropy" else F.mse_loss(output, target.to(dtype))
        optimizer.zero_grad()
        value.backward()
        if "maxGradNorm" in options:
            clipped += torch.nn.utils.clip_grad_norm_(p.values(), options["maxGradNorm"]).item() > options["maxGradNorm"]
        optimizer.step()
        losses.append(value.item())
    return np.array(losses), clipped


def main():
    tensors, models = {}, {}
    for index, (name, (network, shapes, batch, loss, options)) in enumerate(MODELS.items()):
        generator = np.random.default_rng(index)
        weights = initial(shapes, generator)
        x = generator.standard_normal((BATCHES, *batch)).astype(np.float32)
        teacher = {key: torch.tensor(value, dtype=torch.float64) for key, value in initial(shapes, generator).items()}
        with torch.no_grad():
            y = torch.stack([network(teacher, torch.tensor(part, dtype=torch.float64)) for part in x]).numpy()
        y = y + 0.5 * generator.standard_normal(y.shape)  # what can't be learned keeps the loss away from 0
        y = y.argmax(-1).astype(np.uint32) if loss == "crossEntropy" else y.astype(np.float32)
        options = {**SHARED, **options}
        losses, clipped = train(network, weights, x, y, loss, options, torch.float64)
        single, _ = train(network, weights, x, y, loss, options, torch.float32)
        off = np.abs(single / losses - 1).max()
        print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {clipped} steps clipped, float32 is off by {off:.1e}")
        assert off < ALLOWED, f"{name}: float32 strays too far from float64"
        models[name] = {"parameters": list(shapes), "loss": loss, "optimizer": options}
        tensors.update({f"{name}.{key}": value for key, value in weights.items()})
        tensors.update({f"{name}.x": x, f"{name}.y": y, f"{name}.losses": losses.astype(np.float32)})
    path = FOLDER / "training.safetensors"
    save_file(tensors, path, {"models": json.dumps(models)})
    print(f"{path.name}: {path.stat().st_size:,} bytes")


main()
