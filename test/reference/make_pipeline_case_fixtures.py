"""What diffusers makes with the tiny folders of ../fixtures/pipelines in other ways than their expected.safetensors.

    python make_pipeline_case_fixtures.py

Writes cases.safetensors into sd1 and sd3, all from float64 runs: pictures that are not square, under a negative prompt
(`latents`, `image`); the conditions of encode_prompt() for two prompts, with the negative ones (`prompt_embeds`, of sd3 also
`pooled_prompt_embeds`); and of sd1's autoencoder the moments of a picture whose sides are no multiple of its factor
(`picture`, `moments`).
"""

from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline
from safetensors.torch import save_file

target = Path(__file__).parent.parent / "fixtures" / "pipelines"
prompts, negative = ["a red circle", "the blue cat"], "a small green square"
height, width = 16, 24


def save(folder, tensors):
    tensors = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / "cases.safetensors")


def draw(pipeline, latents, **more):
    out = pipeline(
        prompts, negative_prompt=[negative] * 2, latents=latents, num_inference_steps=4, guidance_scale=3.0,
        output_type="np", height=height, width=width, **more,
    )  # fmt: skip
    return torch.from_numpy(out.images).permute(0, 3, 1, 2)


def main():
    torch.manual_seed(1)
    latents = torch.randn(2, 4, height // 2, width // 2, dtype=torch.float64)

    pipeline = StableDiffusionPipeline.from_pretrained(target / "sd1", torch_dtype=torch.float64)
    embeds, none = pipeline.encode_prompt(prompts, "cpu", 1, True, [negative] * 2)
    picture = torch.rand(1, 3, 17, 23, dtype=torch.float64) * 2 - 1
    moments = pipeline.vae.encode(picture).latent_dist.parameters
    save(target / "sd1", {
        "latents": latents, "image": draw(pipeline, latents), "prompt_embeds": embeds, "negative_prompt_embeds": none[:1],
        "picture": picture, "moments": moments,
    })  # fmt: skip

    pipeline = StableDiffusion3Pipeline.from_pretrained(
        target / "sd3", torch_dtype=torch.float64, text_encoder_3=None, tokenizer_3=None
    )
    embeds, none, pooled, none_pooled = pipeline.encode_prompt(
        prompts, None, None, negative_prompt=[negative] * 2, max_sequence_length=5, device="cpu"
    )
    save(target / "sd3", {
        "latents": latents, "image": draw(pipeline, latents, max_sequence_length=5),
        "prompt_embeds": embeds, "negative_prompt_embeds": none[:1],
        "pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": none_pooled[:1],
    })  # fmt: skip


if __name__ == "__main__":
    main()
