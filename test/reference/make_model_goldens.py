"""Outputs and gradients of the tiny models as diffusers, transformers and PEFT compute them, for test/models/golden.ts.

    .venv/bin/python test/reference/make_model_goldens.py [name...]

Inputs stay those of the file in test/fixtures/models/golden; a string stands for a stream of test/reference/rule.py. The rest
is computed in float64 and stored as float32:
    out       the outputs
    loss      the sum over loss_terms of sum(out * r), r = 2 * stream("r." + term)
    grad_in   gradients of the loss to the inputs
    grad      of each weight's gradient the L2 norm, the sum, the first and the second element, and the projection on
              2 * stream("p." + name), which sees every element
    error32   how far the same run in float32 is off: an output's and an input gradient's largest difference, relative to the
              largest value; the largest L2 norm of a weight gradient's difference, relative to the gradient's norm
A model whose outputs or gradients are not those stored before, beyond 1e-6, is refused: it is no longer the same model.
"""
import json
import sys

import diffusers
import numpy as np
import peft
import torch
import transformers
from rule import FOLDER, config, fill, stream, weight

torch.set_num_threads(1)


def clip_outputs(model, input_ids, pixel_values):
    found = model(input_ids=input_ids, pixel_values=pixel_values)
    return {
        "image_embeds_norm": found.image_embeds,
        "text_embeds_norm": found.text_embeds,
        "logits_per_text": found.logits_per_text,
    }


def text_outputs(model, input_ids):
    found = model(input_ids, output_hidden_states=True)
    return {
        "hidden_m2": found.hidden_states[-2],
        "last_hidden_state": found.last_hidden_state,
        "text_embeds": found.text_embeds,
    }


def vae_outputs(model, image, z):
    return {"moments": model._encode(image), "decoded": model._decode(z).sample}


def sample(model, **inputs):
    return {"sample": model(**inputs).sample}


def encoded(model, input_ids):
    return {"last_hidden_state": model(input_ids).last_hidden_state}


def adapted(model):
    """SD3 with the adapters of flow_grpo's eight targets, by the rule; the rest is frozen."""
    targets = ["add_k_proj", "add_q_proj", "add_v_proj", "to_add_out", "to_k", "to_out.0", "to_q", "to_v"]
    options = peft.LoraConfig(r=4, lora_alpha=8, target_modules=[f"attn.{name}" for name in targets])
    found = peft.get_peft_model(model, options)
    for name, value in found.named_parameters():
        if value.requires_grad:
            value.data = torch.from_numpy(weight(plain(name), value.shape).astype(np.float32))
    return found


def plain(name):
    """A weight's name in files: without the name of its adapter."""
    return name.replace(".default.", ".")


# Of each file: the class, and what makes a dictionary of outputs of a model and its inputs.
MODELS = {
    "tiny_clip_full": (transformers.CLIPModel, clip_outputs),
    "tiny_clip_text_gelu": (transformers.CLIPTextModelWithProjection, text_outputs),
    "tiny_clip_text_quickgelu": (transformers.CLIPTextModelWithProjection, text_outputs),
    "tiny_dit": (diffusers.DiTTransformer2DModel, sample),
    "tiny_sd3_lora": (diffusers.SD3Transformer2DModel, sample),
    "tiny_sd3_transformer": (diffusers.SD3Transformer2DModel, sample),
    "tiny_sd3_transformer_noqk": (diffusers.SD3Transformer2DModel, sample),
    "tiny_t5": (transformers.T5EncoderModel, encoded),
    "tiny_unet_conv": (diffusers.UNet2DConditionModel, sample),
    "tiny_unet_conv_odd": (diffusers.UNet2DConditionModel, sample),
    "tiny_unet_linear": (diffusers.UNet2DConditionModel, sample),
    "tiny_unet_linear_odd": (diffusers.UNet2DConditionModel, sample),
    "tiny_vae16": (diffusers.AutoencoderKL, vae_outputs),
    "tiny_vae4": (diffusers.AutoencoderKL, vae_outputs),
}


def build(name):
    cls, _ = MODELS[name]
    lora = name == "tiny_sd3_lora"
    values = config("tiny_sd3_transformer" if lora else name.removesuffix("_odd"))
    if cls.__module__.startswith("diffusers"):
        model = cls.from_config(values)
    else:
        model = cls(cls.config_class(**values))
    fill(model)
    return (adapted(model) if lora else model).eval()


def load(file):
    return json.loads((FOLDER / "golden" / f"{file}.json").read_text())


def inputs_of(golden, dtype):
    made = {}
    for name, entry in golden["inputs"].items():
        data = entry["data"]
        values = 2 * np.sqrt(3) * stream(data, entry["shape"]) if isinstance(data, str) else np.array(data)
        if entry["dtype"].startswith("int"):
            made[name] = torch.tensor(values.reshape(entry["shape"]), dtype=torch.int64)
        else:
            made[name] = torch.from_numpy(values.astype(np.float32).reshape(entry["shape"])).to(dtype)
    return made


def run(name, dtype):
    """Outputs, and gradients to inputs and weights, in float64 or float32."""
    golden = load("tiny_sd3_transformer" if name == "tiny_sd3_lora" else name)
    model = build(name).to(dtype)
    inputs = inputs_of(golden, dtype)
    for value in inputs.values():
        value.requires_grad_(value.is_floating_point() and value.dim() > 1)
    out = MODELS[name][1](model, **inputs)
    loss = sum((out[k] * torch.from_numpy(2 * stream(f"r.{k}", out[k].shape)).to(dtype)).sum() for k in golden["loss_terms"])
    loss.backward()
    grad = {plain(key): value.grad.double().numpy() for key, value in model.named_parameters() if value.grad is not None}
    grad_in = {key: value.grad.double().numpy() for key, value in inputs.items() if value.grad is not None}
    return {key: value.detach().double().numpy() for key, value in out.items()}, grad, grad_in, loss.item()


def off(actual, expected):
    """The largest difference, relative to the largest value."""
    return float(np.abs(np.ravel(actual) - np.ravel(expected)).max() / np.abs(expected).max())


def short(value):
    return float(f"{value:.3g}")


def rounded(values):
    return [float(value) for value in np.ravel(values).astype(np.float32)]


def vanishes(name, gradient):
    """Zero but for rounding: the bias of keys, which softmax does not see."""
    return np.linalg.norm(gradient) < 1e-12 and name.endswith(".bias")


for name in sys.argv[1:] or MODELS:
    golden = load(name)
    lora = name == "tiny_sd3_lora"
    out, grad, grad_in, loss = run(name, torch.float64)
    out32, grad32, grad_in32, _ = run(name, torch.float32)
    before = {"sample": golden["out"]} if lora else golden["out"]
    assert out.keys() == before.keys() and grad.keys() == golden["grad"].keys(), (grad.keys() ^ golden["grad"].keys())
    worst = max(off(before[key]["data"], value) for key, value in out.items())
    for key, value in grad.items():
        if vanishes(key, value):
            continue
        difference = abs(np.linalg.norm(value) - golden["grad"][key][0]) / max(np.linalg.norm(value), 1e-6)
        worst = max(worst, difference)
    for key, value in golden.get("grad_in", {}).items():
        worst = max(worst, off(value, grad_in[key]))
    print(f"{name}: {worst:.1e} from what was stored")
    assert worst < 1e-6, "another model"
    outputs = {key: {"shape": list(value.shape), "data": rounded(value)} for key, value in out.items()}
    golden["out"] = outputs["sample"] if lora else outputs
    golden["loss"] = loss
    if not lora:
        golden["grad_in"] = {key: rounded(grad_in[key]) for key in golden["grad_in"]}
    for key in golden["grad"]:
        flat = grad[key].ravel()
        parts = [np.linalg.norm(flat), flat.sum(), flat[0], flat[min(1, flat.size - 1)], flat @ (2 * stream(f"p.{key}", flat.shape))]
        golden["grad"][key] = [float(part) for part in parts]  # a single element is its own second
    golden.pop("err32", None)
    golden["error32"] = {
        "out": {key: short(off(out32[key], out[key])) for key in out},
        "grad_in": {key: short(off(grad_in32[key], grad_in[key])) for key in golden.get("grad_in", {})},
        "grad": short(
            max(
                np.linalg.norm(grad32[key] - value) / max(np.linalg.norm(value), 1e-6)
                for key, value in grad.items()
                if not vanishes(key, value)
            )
        ),
    }
    print("   ", golden["error32"])
    golden["_note"] = "made by test/reference/make_model_goldens.py"
    (FOLDER / "golden" / f"{name}.json").write_text(json.dumps(golden))
