"""Draws with the embedded generators in diffusers, from fixed latents.

    python make_embedded_fixtures.py

Writes ../fixtures/embedded/{scenes-flow,scenes-diffusion}.safetensors: latents, and the pictures as diffusers makes them
(float32 run of the f16 files, bytes [N, 64, 64, 3]); the prompts stand in the metadata, one a line.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from safetensors.torch import save_file

root = Path(__file__).parent.parent.parent
target = root / "test" / "fixtures" / "embedded"
prompts = [
    "a red circle above a blue square",
    "three small green triangles",
    "a large white ring",
    "a yellow cross, a purple diamond and a small cyan circle",
]
steps = 12
guidance = 3.0


def main():
    target.mkdir(exist_ok=True)
    absent = {"text_encoder_3": None, "tokenizer_3": None, "image_encoder": None, "feature_extractor": None}
    models = {
        "scenes-flow": (StableDiffusion3Pipeline, absent, {"max_sequence_length": 0}),
        "scenes-diffusion": (StableDiffusionPipeline, {}, {}),
    }
    for name, (kind, missing, arguments) in models.items():
        if not (root / "models" / "embedded" / name).exists():
            continue
        pipeline = kind.from_pretrained(root / "models" / "embedded" / name, torch_dtype=torch.float32, **missing)
        latents = torch.randn(len(prompts), 4, 16, 16, generator=torch.Generator().manual_seed(11))
        images = pipeline(
            prompts, latents=latents, num_inference_steps=steps, guidance_scale=guidance, output_type="np", height=64, width=64,
            **arguments,
        ).images  # fmt: skip
        pictures = torch.from_numpy((images * 255).round().astype("uint8"))
        metadata = {"prompts": "\n".join(prompts), "steps": str(steps), "guidance": str(guidance)}
        save_file({"latents": latents, "pictures": pictures.contiguous()}, target / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
