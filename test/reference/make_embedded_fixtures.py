"""Draws with the embedded generators in diffusers, from fixed latents, and scores the pictures by the embedded rewards.

    python make_embedded_fixtures.py

Writes ../fixtures/embedded/{scenes-flow,scenes-diffusion}.safetensors: latents, and the pictures as diffusers makes them
(float32 run of the f16 files, bytes [N, 32, 32, 3]); the prompts stand in the metadata, one a line. And rewards.json: of the
pictures of scenes-flow the scores of each reward's folder for every prompt, by transformers' CLIPModel in float64.
"""

import json
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

root = Path(__file__).parent.parent.parent
target = root / "test" / "fixtures" / "embedded"
embedded = root / "models" / "embedded"
prompts = ["a red circle on blue", "an orange ring on green", "a white cross on purple", "a cyan diamond on yellow"]
steps = 12
guidance = 2.0


def draw():
    absent = {"text_encoder_3": None, "tokenizer_3": None, "image_encoder": None, "feature_extractor": None}
    models = {
        "scenes-flow": (StableDiffusion3Pipeline, absent, {"max_sequence_length": 0}),
        "scenes-diffusion": (StableDiffusionPipeline, {}, {}),
    }
    for name, (kind, missing, arguments) in models.items():
        pipeline = kind.from_pretrained(embedded / name, torch_dtype=torch.float32, **missing)
        latents = torch.randn(len(prompts), 4, 8, 8, generator=torch.Generator().manual_seed(11))
        images = pipeline(
            prompts, latents=latents, num_inference_steps=steps, guidance_scale=guidance, output_type="np", height=32, width=32,
            **arguments,
        ).images  # fmt: skip
        pictures = torch.from_numpy((images * 255).round().astype("uint8"))
        metadata = {"prompts": "\n".join(prompts), "steps": str(steps), "guidance": str(guidance)}
        save_file({"latents": latents, "pictures": pictures.contiguous()}, target / f"{name}.safetensors", metadata)


def open_clip_as_transformers(folder):
    """A CLIPModel of an OpenCLIP checkpoint: its names and layout undone."""
    cfg = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    text, vision = cfg["text_cfg"], cfg["vision_cfg"]
    act = "quick_gelu" if cfg.get("quick_gelu") else "gelu"

    def tower(part, heads):
        width = part["width"]
        return {
            "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": part["layers"],
            "num_attention_heads": heads, "hidden_act": act,
        }  # fmt: skip

    model = CLIPModel(CLIPConfig(
        projection_dim=cfg["embed_dim"],
        text_config={
            **tower(text, text["heads"]), "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"], "eos_token_id": 2,
        },
        vision_config={
            **tower(vision, vision["width"] // vision["head_width"]), "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
        },
    ))  # fmt: skip
    found = load_file(folder / "HPS_v2.1_compressed.safetensors")
    state = {
        "logit_scale": found["logit_scale"],
        "text_projection.weight": found["text_projection"].T,
        "text_model.embeddings.position_embedding.weight": found["positional_embedding"],
        "text_model.embeddings.token_embedding.weight": found["token_embedding.weight"],
        "vision_model.embeddings.class_embedding": found["visual.class_embedding"],
        "vision_model.embeddings.position_embedding.weight": found["visual.positional_embedding"],
        "vision_model.embeddings.patch_embedding.weight": found["visual.conv1.weight"],
        "visual_projection.weight": found["visual.proj"].T,
    }
    for end in ("weight", "bias"):
        state[f"text_model.final_layer_norm.{end}"] = found[f"ln_final.{end}"]
        state[f"vision_model.pre_layrnorm.{end}"] = found[f"visual.ln_pre.{end}"]
        state[f"vision_model.post_layernorm.{end}"] = found[f"visual.ln_post.{end}"]
        for here, there, part in (("", "text_model", text), ("visual.", "vision_model", vision)):
            for i in range(part["layers"]):
                old, new = f"{here}transformer.resblocks.{i}", f"{there}.encoder.layers.{i}"
                for name, rows in zip("qkv", found[f"{old}.attn.in_proj_{end}"].chunk(3)):
                    state[f"{new}.self_attn.{name}_proj.{end}"] = rows
                state[f"{new}.self_attn.out_proj.{end}"] = found[f"{old}.attn.out_proj.{end}"]
                for ours, theirs in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    state[f"{new}.{theirs}.{end}"] = found[f"{old}.{ours}.{end}"]
    left = set(model.state_dict()) - set(state)
    assert all("position_ids" in name for name in left), left
    model.load_state_dict(state, strict=False)
    return model


@torch.no_grad()
def score():
    pictures = load_file(target / "scenes-flow.safetensors")["pictures"]
    values = pictures.permute(0, 3, 1, 2).double() / 255
    constants = {
        "half": ([0.5] * 3, [0.5] * 3),
        "clip": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    }

    def features(folder, model, constant):
        mean, std = (torch.tensor(part, dtype=torch.float64)[:, None, None] for part in constants[constant])
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        tokens = tokenizer(prompts, padding="max_length", max_length=7, return_tensors="pt")
        output = model.double().eval()(input_ids=tokens.input_ids, pixel_values=(values - mean) / std)
        return output.image_embeds, output.text_embeds, model.logit_scale.exp()

    found = {}
    for name in ("scenes-clip", "scenes-pick"):
        images, words, scale = features(embedded / name, CLIPModel.from_pretrained(embedded / name), "half")
        found[name] = images @ words.T * (scale if name == "scenes-pick" else 1)
    folder = embedded / "scenes-hps"
    images, words, _ = features(folder, open_clip_as_transformers(folder), "clip")
    found["scenes-hps"] = images @ words.T
    folder = embedded / "scenes-aesthetic"
    model = CLIPModel.from_pretrained(folder).double().eval()
    head = load_file(folder / "aesthetic-linearMSE.safetensors")
    x = model.vision_model(pixel_values=2 * values - 1).pooler_output
    x = model.visual_projection(x)
    x = x / x.norm(dim=-1, keepdim=True)
    for layer in ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7"):
        x = x @ head[f"{layer}.weight"].double().T + head[f"{layer}.bias"].double()
    found["scenes-aesthetic"] = x.expand(-1, len(prompts))
    rounded = {name: scores.numpy().round(9).tolist() for name, scores in found.items()}
    (target / "rewards.json").write_text(json.dumps({"prompts": prompts, "scores": rounded}, indent=1) + "\n")


if __name__ == "__main__":
    target.mkdir(exist_ok=True)
    draw()
    score()
