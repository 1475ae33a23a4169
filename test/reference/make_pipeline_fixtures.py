"""Writes three tiny model folders as diffusers saves them, and what diffusers draws with them from fixed latents.

    python make_pipeline_fixtures.py

They go to ../fixtures/pipelines: sd1, sd3 (without T5) and dit, each with expected.safetensors: latents, image (float64
run, values in [0, 1]) for two prompts. Weights are random; f16 folders, so that both sides read the same numbers.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

fixtures = Path(__file__).parent.parent / "fixtures"
target = fixtures / "pipelines"
prompts = ["a red circle", "the blue cat"]


def tokenizer(name="clip"):
    return CLIPTokenizer.from_pretrained(fixtures / "tokenizers" / name)


def config(name):
    values = json.loads((fixtures / "models" / "configs" / f"{name}.json").read_text())
    return {key: value for key, value in values.items() if not key.startswith("_")}


def text_config(tok, width, activation):
    return CLIPTextConfig(
        vocab_size=len(tok), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=77, hidden_act=activation, projection_dim=width,
        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id,
    )  # fmt: skip


def rounded(pipeline, folder, **absent):
    """Saves in f16 and reads back, so that the reference runs on what the folder holds."""
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(folder)
    return type(pipeline).from_pretrained(folder, torch_dtype=torch.float64, **absent)


def finish(folder, latents, images):
    image = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32).contiguous()
    save_file({"latents": latents.to(torch.float32).contiguous(), "image": image}, folder / "expected.safetensors")


def main():
    torch.manual_seed(0)
    steps = 6

    tok = tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(**config("tiny_vae4")),
        text_encoder=CLIPTextModel(text_config(tok, 12, "quick_gelu")),
        tokenizer=tok,
        unet=UNet2DConditionModel(**config("tiny_unet_conv")),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1,
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline = rounded(pipeline, target / "sd1")
    latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    out = pipeline(prompts, latents=latents, num_inference_steps=steps, guidance_scale=3.0, output_type="np", height=16, width=16)
    finish(target / "sd1", latents, out.images)

    tok2 = tokenizer("clip_pad_zero")
    pipeline = StableDiffusion3Pipeline(
        vae=AutoencoderKL(**{**config("tiny_vae16"), "latent_channels": 4}),
        text_encoder=CLIPTextModelWithProjection(text_config(tok, 8, "quick_gelu")),
        tokenizer=tok,
        text_encoder_2=CLIPTextModelWithProjection(text_config(tok2, 12, "gelu")),
        tokenizer_2=tok2,
        text_encoder_3=None, tokenizer_3=None,
        transformer=SD3Transformer2DModel(**config("tiny_sd3_transformer")),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip
    pipeline = rounded(pipeline, target / "sd3", text_encoder_3=None, tokenizer_3=None)
    latents = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    out = pipeline(
        prompts, latents=latents, num_inference_steps=steps, guidance_scale=3.0, output_type="np", height=16, width=16,
        max_sequence_length=5,
    )  # fmt: skip
    finish(target / "sd3", latents, out.images)

    pipeline = DiTPipeline(
        transformer=DiTTransformer2DModel(**{**config("tiny_dit"), "num_embeds_ada_norm": 1000}),
        vae=AutoencoderKL(**config("tiny_vae4")),
        scheduler=DDIMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear", clip_sample=False),
    )  # fmt: skip
    pipeline = rounded(pipeline, target / "dit")
    # DiTPipeline draws its own latents, in the dtype of the network: the same ones by the same generator.
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64)
    out = pipeline(
        [0, 3], generator=torch.Generator().manual_seed(7), num_inference_steps=steps, guidance_scale=3.0, output_type="np",
    )  # fmt: skip
    finish(target / "dit", latents, out.images)


if __name__ == "__main__":
    main()
