"""What Pillow and transformers make of pictures: golden values for the rewards, and tiny checkpoints for their networks.

    python make_reward_fixtures.py

They go to ../fixtures/rewards. `pictures.json`: JPEG files of some sizes and qualities by length and hash, and resized and
cropped pictures. Folders of random networks, each with expected.json, what it makes of the pictures and texts in float64:
`clip` (transformers' layout, f16), `hpsv2` (OpenCLIP's layout, as torch.save writes it) and `aesthetic` (the first's image
encoder and a head).
"""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

fixtures = Path(__file__).parent.parent / "fixtures"
target = fixtures / "rewards"
texts = ["a red circle", "two blue squares above the green star, photographed"]


def stream(name, count):
    """The numbers of test/models/rule.ts."""
    state = 2166136261
    for byte in name.encode():
        state = ((state ^ byte) * 16777619) % 2**32
    out = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 8) / 16777216 - 0.5)
    return np.array(out)


def picture(name, width, height):
    """test/grpo/rewards/pictures.ts, pictureByRule."""
    y, x = np.mgrid[:height, :width]
    levels = np.stack([(7 * x + 3 * y) % 256, 40 + 50 * (x % 4), 255 * ((x // 6 + y // 9) % 2)], -1)
    noise = np.floor(80 * stream(name, levels.size)).astype(int).reshape(levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def jpegs():
    for width, height in [(16, 16), (64, 64), (53, 37), (17, 9), (1, 1), (32, 40)]:
        for quality in (95, 60):
            file = io.BytesIO()
            Image.fromarray(picture("jpeg", width, height)).save(file, "JPEG", quality=quality)
            data = file.getvalue()
            sha256 = hashlib.sha256(data).hexdigest()
            yield {"width": width, "height": height, "quality": quality, "bytes": len(data), "sha256": sha256}


def float_resize(image, height, width):
    """Resize of torchvision 0.17 and later for a float tensor [0, 1]: [3, height, width]."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].to(torch.float32) / 255
    return torch.nn.functional.interpolate(tensor, (height, width), mode="bicubic", antialias=True)[0]


def resizes():
    for width, height, side in [(64, 48, 14), (48, 64, 13), (40, 40, 14), (10, 15, 14), (14, 14, 14)]:
        image = picture("resize", width, height)
        processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        plain = processor(Image.fromarray(image), do_rescale=False, do_normalize=False, return_tensors="np")
        short, long = sorted((width, height))
        other = int(side * long / short)
        size = (side, other) if height <= width else (other, side)
        resized = float_resize(image, *size)
        top, left = (int(round((n - side) / 2)) for n in size)
        floats = resized[:, top : top + side, left : left + side]
        yield {
            "width": width, "height": height, "side": side,
            "pillow": plain["pixel_values"][0].astype(np.uint8).tobytes().hex(),
            "floats": [round(value, 6) for value in floats.flatten().tolist()],
        }  # fmt: skip


def tiny_config(tokenizer, activation):
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "hidden_act": activation}
    return CLIPConfig(
        projection_dim=12,
        text_config={
            **tower, "num_attention_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**tower, "num_attention_heads": 4, "image_size": 28, "patch_size": 7},
    )  # fmt: skip


def random_clip(tokenizer, activation, seed):
    """Weights large enough that pictures and texts differ, as f16 holds them."""
    torch.manual_seed(seed)
    model = CLIPModel(tiny_config(tokenizer, activation)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                weight.normal_(0, weight[0].numel() ** -0.5 if "embedding" not in name else 0.5)
        model.logit_scale.fill_(4.6)
    return model.half()


def copy_tokenizer(folder, name="clip"):
    for file in (fixtures / "tokenizers" / name).iterdir():
        shutil.copy(file, folder)


def pictures():
    return [picture(f"reward {i}", width, height) for i, (width, height) in enumerate([(64, 64), (40, 52), (28, 28)])]


@torch.no_grad()
def unit_features(model, pixels, tokenizer):
    """Unit vectors of pictures and texts, float64."""
    model = model.double()
    tokens = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    output = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels.double())
    return output.image_embeds, output.text_embeds


def write(folder, **values):
    """expected.json, in nine digits."""
    rounded = {key: np.asarray(value, dtype=np.float64).round(9).tolist() for key, value in values.items()}
    (folder / "expected.json").write_text(json.dumps({"texts": texts, **rounded}, indent=1) + "\n")


def fresh(name):
    folder = target / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def clip_folder():
    """Also the folder of PickScore, which is a CLIP with its own factor, and of the aesthetic head."""
    tokenizer = CLIPTokenizer.from_pretrained(fixtures / "tokenizers" / "clip")
    model = random_clip(tokenizer, "quick_gelu", 1)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    folder = fresh("clip")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    copy_tokenizer(folder)
    pixels = processor([Image.fromarray(image) for image in pictures()], return_tensors="pt").pixel_values
    images, words = unit_features(model, pixels, tokenizer)
    cosines = images @ words.T
    scale = model.logit_scale.detach().exp()

    head = torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in [(12, 10), (10, 8), (8, 6), (6, 4), (4, 1)]])
    names = ["layers.0", "layers.2", "layers.4", "layers.6", "layers.7"]  # between them is dropout alone
    state = {f"{name}.{key}": value for name, layer in zip(names, head) for key, value in layer.state_dict().items()}
    # The biases in one storage, as tensors that share one are saved.
    biases = [name for name in state if name.endswith("bias")]
    shared = torch.cat([state[name] for name in biases]).split([state[name].numel() for name in biases])
    torch.save({**state, **dict(zip(biases, shared))}, folder / "aesthetic.pth")
    with torch.no_grad():
        aesthetic = head.double()(images)[:, 0]
    write(folder, cosines=cosines, scaled=scale * cosines, aesthetic=aesthetic)


def open_clip_names(state, layers):
    """The weights of transformers' CLIPModel under OpenCLIP's names, in its layout."""
    out = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "ln_final.weight": state["text_model.final_layer_norm.weight"],
        "ln_final.bias": state["text_model.final_layer_norm.bias"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,  # a view: not contiguous in the file
    }
    for end in ("weight", "bias"):
        out[f"visual.ln_pre.{end}"] = state[f"vision_model.pre_layrnorm.{end}"]
        out[f"visual.ln_post.{end}"] = state[f"vision_model.post_layernorm.{end}"]
    for here, there in (("", "text_model"), ("visual.", "vision_model")):
        for i in range(layers):
            new, old = f"{here}transformer.resblocks.{i}", f"{there}.encoder.layers.{i}"
            for end in ("weight", "bias"):
                parts = [state[f"{old}.self_attn.{name}_proj.{end}"] for name in "qkv"]
                out[f"{new}.attn.in_proj_{end}"] = torch.cat(parts)
                out[f"{new}.attn.out_proj.{end}"] = state[f"{old}.self_attn.out_proj.{end}"]
                out[f"{new}.ln_1.{end}"] = state[f"{old}.layer_norm1.{end}"]
                out[f"{new}.ln_2.{end}"] = state[f"{old}.layer_norm2.{end}"]
                out[f"{new}.mlp.c_fc.{end}"] = state[f"{old}.mlp.fc1.{end}"]
                out[f"{new}.mlp.c_proj.{end}"] = state[f"{old}.mlp.fc2.{end}"]
    return out


def hpsv2_folder():
    tokenizer = CLIPTokenizer.from_pretrained(fixtures / "tokenizers" / "clip_pad_zero")
    model = random_clip(tokenizer, "gelu", 2)
    folder = fresh("hpsv2")
    copy_tokenizer(folder, "clip_pad_zero")
    state = open_clip_names(model.state_dict(), 2)
    torch.save({"epoch": 3, "name": "tiny", "state_dict": state, "optimizer": {"lr": 0.1}}, folder / "HPS_v2.1_compressed.pt")
    model_cfg = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 28, "layers": 2, "width": 16, "head_width": 4, "mlp_ratio": 2.0, "patch_size": 7},
        "text_cfg": {
            "context_length": 77, "vocab_size": len(tokenizer), "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0,
        },
    }  # fmt: skip
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}, indent=1) + "\n")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    pixels = []
    for image in pictures():
        height, width = image.shape[:2]
        short, long = sorted((width, height))
        size = (28, int(28 * long / short)) if height <= width else (int(28 * long / short), 28)
        resized = float_resize(image, *size)
        top, left = (int(round((n - 28) / 2)) for n in size)
        pixels.append((resized[:, top : top + 28, left : left + 28] - mean) / std)
    images, words = unit_features(model, torch.stack(pixels), tokenizer)
    write(folder, cosines=images @ words.T, first_rows=state["visual.proj"][:2])


def main():
    target.mkdir(exist_ok=True)
    found = {"jpegs": list(jpegs()), "resizes": list(resizes())}
    (target / "pictures.json").write_text(json.dumps(found) + "\n")
    clip_folder()
    hpsv2_folder()


if __name__ == "__main__":
    main()
