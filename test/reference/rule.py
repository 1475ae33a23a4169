"""The rule by which the weights and inputs of the tiny models are made, as in test/models/rule.ts, and the models themselves."""
import json
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent.parent / "fixtures" / "models"
PLAIN = (
    "token_embedding.weight", "position_embedding.weight", "embedding_table.weight", "shared.weight", "embed_tokens.weight",
    "relative_attention_bias.weight", "class_embedding", "word_embeddings.weight", "position_embeddings.weight", "cls_token",
    "pos_embed",
)  # fmt: skip


def stream(name, shape):
    """Numbers in [-0.5, 0.5) that a name stands for."""
    state = 2166136261
    for byte in name.encode():
        state = ((state ^ byte) * 16777619) & 0xFFFFFFFF
    values = np.empty(int(np.prod(shape)))
    for i in range(values.size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = (state >> 8) / 16777216 - 0.5
    return values.reshape(shape)


def weight(name, shape):
    """The value of a weight, by its name in the state dict."""
    if name == "logit_scale":
        return np.full(shape, 2.6592)
    if name == "encoder.embed_tokens.weight":  # T5 has its table under two names
        name = "shared.weight"
    u = stream(name, shape)
    if name.endswith(PLAIN):
        return u
    if len(shape) >= 2:
        return 2 * u * np.sqrt(3 / np.prod(shape[1:]))
    return 1 + 0.2 * u if name.endswith("weight") else 0.2 * u


def fill(model):
    """Gives a model its weights by the rule, rounded to float32; tables that are computed stay as they are."""
    computed = ("pos_embed.pos_embed", "position_ids")
    state = {
        key: value if key.endswith(computed) else torch.from_numpy(weight(key, value.shape).astype(np.float32))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def config(name):
    """The config.json of a tiny model, without our own notes."""
    values = json.loads((FOLDER / "configs" / f"{name}.json").read_text())
    return {key: value for key, value in values.items() if key[:1] != "_" or key == "_class_name"}


def network(cls, name):
    """A tiny network of diffusers in float64, its weights rounded to float32 first."""
    return fill(cls.from_config(config(name))).double().eval()
