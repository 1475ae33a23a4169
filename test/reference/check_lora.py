"""Loads the adapters of test/fixtures/models/lora into diffusers and PEFT, the way a user does, and stores what the networks
then put out in outputs.json beside them, and in python/ the same adapters as PEFT and diffusers write them. Read by
test/models/lora_files.test.ts.

The networks are the tiny ones of test/fixtures/models, their weights and inputs by the rule of test/models/golden.ts. Every
output must also equal W + (alpha / rank) B A put into the plain network, and differ from the network without adapters.
"""
import json
import shutil
import tempfile

import diffusers
import numpy as np
import peft
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from rule import FOLDER, network, stream
from safetensors.numpy import load_file


def inputs_of(name):
    golden = json.loads((FOLDER / "golden" / f"{name}.json").read_text())
    inputs = {}
    for key, value in golden["inputs"].items():
        data, shape = value["data"], value["shape"]
        array = 2 * np.sqrt(3) * stream(data, shape) if isinstance(data, str) else np.reshape(data, shape)
        is_integer = value["dtype"].startswith("int")
        inputs[key] = torch.from_numpy(array.astype(np.int64 if is_integer else np.float32))
        if not is_integer and key != "timestep":
            inputs[key] = inputs[key].double()
    return inputs


def pipeline_of(component, model):
    """A pipeline of one network: what load_lora_weights() needs."""
    absent = ["vae", "tokenizer", "text_encoder"]
    if component == "transformer":
        absent += ["tokenizer_2", "tokenizer_3", "text_encoder_2", "text_encoder_3"]
        parts = {"transformer": model, "scheduler": diffusers.FlowMatchEulerDiscreteScheduler()}
        return StableDiffusion3Pipeline(**parts, **dict.fromkeys(absent))
    absent += ["safety_checker", "feature_extractor"]
    parts = {"unet": model, "scheduler": diffusers.DDIMScheduler(), "requires_safety_checker": False}
    return StableDiffusionPipeline(**parts, **dict.fromkeys(absent))


def fuse(model, folder):
    """The network with scale B A added to its weights, from the PEFT folder by hand."""
    config = json.loads((folder / "adapter_config.json").read_text())
    halves = load_file(folder / "adapter_model.safetensors")
    for name in config["target_modules"]:
        down, up = (torch.from_numpy(halves[f"base_model.model.{name}.lora_{half}.weight"]).double() for half in "AB")
        model.get_submodule(name).weight.data += config["lora_alpha"] / config["r"] * up @ down
    return model


def load(component, file_format, model, folder):
    if file_format == "peft":
        return peft.PeftModel.from_pretrained(model, folder)
    file = {"diffusers": "pytorch_lora_weights.safetensors", "kohya": "kohya_lora.safetensors"}[file_format]
    with tempfile.TemporaryDirectory() as alone:
        shutil.copy(folder / file, alone)
        pipeline_of(component, model).load_lora_weights(alone, weight_name=file)
    return model


def write_own(folder):
    """Files as PEFT and diffusers write them, of the same adapters on the transformer: alpha in the config, in the header."""
    source = FOLDER / "lora" / "transformer"
    model = network(SD3Transformer2DModel, "tiny_sd3_transformer").float()
    adapted = peft.PeftModel.from_pretrained(model, source, is_trainable=True)
    adapted.save_pretrained(folder / "peft")
    (folder / "peft" / "README.md").unlink()

    model = network(SD3Transformer2DModel, "tiny_sd3_transformer").float()
    model.add_adapter(peft.LoraConfig(r=4, lora_alpha=8, target_modules=adapted.peft_config["default"].target_modules))
    state = load_file(source / "adapter_model.safetensors")
    state = {key.removeprefix("base_model.model."): torch.from_numpy(value) for key, value in state.items()}
    peft.set_peft_model_state_dict(model, state)
    StableDiffusion3Pipeline.save_lora_weights(
        folder / "diffusers",
        transformer_lora_layers=peft.get_peft_model_state_dict(model),
        **_collate_lora_metadata({"transformer": model}),
    )


NETWORKS = {
    # diffusers passes over the kohya file of an SD3 transformer.
    "transformer": (SD3Transformer2DModel, "tiny_sd3_transformer", ["peft", "diffusers"]),
    "unet": (UNet2DConditionModel, "tiny_unet_conv", ["peft", "diffusers", "kohya"]),
}


@torch.no_grad()
def main():
    outputs = {}
    for component, (cls, name, formats) in NETWORKS.items():
        folder, inputs = FOLDER / "lora" / component, inputs_of(name)
        plain = network(cls, name)(**inputs).sample
        fused = fuse(network(cls, name), folder)(**inputs).sample
        outputs[component] = {}
        for file_format in formats:
            sample = load(component, file_format, network(cls, name), folder).double()(**inputs).sample
            error = ((sample - fused).abs().max() / fused.abs().max()).item()
            effect = ((sample - plain).abs().max() / plain.abs().max()).item()
            print(f"{component} {file_format}: {error:.1e} from the fused weights, {effect:.2f} from no adapter")
            assert error < 1e-6 and effect > 0.1
            outputs[component][file_format] = [float(np.float32(value)) for value in sample.flatten()]
    write_own(FOLDER / "lora" / "python")
    versions = {module.__name__: module.__version__ for module in (diffusers, peft, torch)}
    (FOLDER / "lora" / "outputs.json").write_text(json.dumps({"versions": versions, "outputs": outputs}) + "\n")


if __name__ == "__main__":
    main()
