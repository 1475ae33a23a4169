"""Writes what diffusers' schedulers take, visit and step to, and what its pipelines draw with changed schedulers.

    python make_scheduler_fixtures.py

Into ../fixtures/schedulers:
- signatures.json: the arguments of the schedulers' constructors with their defaults;
- diffusion.json: timesteps, products of alphas and steps of DDIMScheduler for many configs;
- flow.json: levels and timesteps of FlowMatchEulerDiscreteScheduler for many configs;
- pictures.json, pictures.safetensors: pictures (float64 runs, values in [0, 1]) of the folders in ../fixtures/pipelines with
  scheduler_config.json changed as each case says, from the latents that are stored beside them.
"""

import inspect
import json
import math
import shutil
import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

fixtures = Path(__file__).parent.parent / "fixtures"
target = fixtures / "schedulers"

classes = [
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "DEISMultistepScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "LMSDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
]  # fmt: skip

sd = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False, "steps_offset": 1}
predictions = ["epsilon", "v_prediction", "sample"]
spacings = ["leading", "trailing", "linspace"]
short = {"num_train_timesteps": 40, "trained_betas": [round(0.002 + 0.0005 * i, 4) for i in range(40)]}


def write(name, value):
    """JSON with an object a line in its list, so that a change can be read."""
    value = json.loads(json.dumps(value).replace("-Infinity", '"-Infinity"'))
    if isinstance(value, list):
        text = "[\n" + ",\n".join(json.dumps(each) for each in value) + "\n]\n"
    else:
        text = json.dumps(value, indent=2) + "\n"
    (target / name).write_text(text)


def signatures():
    def of(name):
        make = inspect.unwrap(getattr(diffusers, name).__init__)
        parameters = list(inspect.signature(make).parameters.values())[1:]
        return {each.name: each.default for each in parameters}

    write("signatures.json", {name: of(name) for name in classes})


def diffusion():
    configs = [
        {**sd, "prediction_type": prediction, "timestep_spacing": spacing} for prediction in predictions for spacing in spacings
    ]
    configs += [
        {},
        {**sd, "set_alpha_to_one": True},
        {**sd, "beta_schedule": "linear"},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 500, "timestep_spacing": "trailing"},
        {"num_train_timesteps": 317, "timestep_spacing": "linspace", "beta_schedule": "squaredcos_cap_v2"},
        {"num_train_timesteps": 317, "steps_offset": 3},
        short,
        {**short, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
        *({**sd, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": p} for p in predictions[1:]),
        {"rescale_betas_zero_snr": True, "timestep_spacing": "linspace", "prediction_type": "v_prediction"},
        {**sd, "rescale_betas_zero_snr": True},
    ]
    cases = []
    for config in configs:
        scheduler = DDIMScheduler(**config, clip_sample=False)
        count = scheduler.config.num_train_timesteps
        visited = {}
        for steps in [1, 4, 6, 7, 16, 28, 40]:
            scheduler.set_timesteps(steps)
            visited[str(steps)] = scheduler.timesteps.tolist()
        at = sorted({round(i * (count - 1) / 7) for i in range(8)})
        alphas = {str(t): scheduler.alphas_cumprod[t].item() for t in at}
        scheduler.set_timesteps(6)
        # The f32 products as they are, but steps in float64: in f32 1 - alpha / alpha_prev loses digits.
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
        scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
        generator = torch.Generator().manual_seed(3)
        steps = []
        for i, timestep in enumerate(scheduler.timesteps.tolist()):
            x, output, noise = torch.randn(3, 3, generator=generator, dtype=torch.float64)
            eta = [0.0, 1.0, 0.4][i % 3]
            previous = timestep - count // 6
            alpha_next = scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
            result = scheduler.step(output, timestep, x, eta=eta, variance_noise=noise)
            steps.append({
                "timestep": timestep, "alpha": scheduler.alphas_cumprod[timestep].item(), "alpha_next": alpha_next.item(), "eta": eta, "x": x.tolist(), "output": output.tolist(), "noise": noise.tolist(),
                "next": result.prev_sample.tolist(), "clean": result.pred_original_sample.tolist(),
            })  # fmt: skip
        cases.append({"config": config, "visited": visited, "alphas": alphas, "steps": steps})
    write("diffusion.json", cases)


def flow():
    configs = [
        {},
        {"shift": 3.0},
        {"shift": 3.0, "num_train_timesteps": 500},
        {"shift": 3.0, "shift_terminal": 0.1},
        {"shift": 3.0, "use_karras_sigmas": True},
        {"shift": 3.0, "use_exponential_sigmas": True},
        {"shift": 3.0, "use_beta_sigmas": True},
        {"shift": 3.0, "use_beta_sigmas": True, "shift_terminal": 0.02},
        {"use_dynamic_shifting": True},
        {"use_dynamic_shifting": True, "shift": 3.0, "time_shift_type": "linear"},
        {"use_dynamic_shifting": True, "base_shift": 0.3, "max_shift": 2.0, "base_image_seq_len": 64, "max_image_seq_len": 1024},
        {"use_dynamic_shifting": True, "shift_terminal": 0.02, "use_karras_sigmas": True, "num_train_timesteps": 250},
    ]
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

    cases = []
    for config in configs:
        for tokens in [16, 1024] if config.get("use_dynamic_shifting") else [16]:
            scheduler = FlowMatchEulerDiscreteScheduler(**config)
            used = scheduler.config
            mu = calculate_shift(tokens, used.base_image_seq_len, used.max_image_seq_len, used.base_shift, used.max_shift)
            levels = {}
            for steps in [2, 6, 17]:
                scheduler.set_timesteps(steps, mu=mu if used.use_dynamic_shifting else None)
                levels[str(steps)] = {"sigmas": scheduler.sigmas.tolist(), "timesteps": scheduler.timesteps.tolist()}
            cases.append({"config": config, "tokens": tokens, "levels": levels})
    write("flow.json", cases)


absent = {
    "sd1": {"safety_checker": None},
    "sd3": {"text_encoder_3": None, "tokenizer_3": None},
    "dit": {},
}


def picture(folder, kind, latents, steps, guidance):
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float64, **absent[kind])
    pipeline.set_progress_bar_config(disable=True)
    given = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "np"}
    if kind == "dit":  # draws its own latents
        images = pipeline([0], generator=torch.Generator().manual_seed(7), **given).images
    else:
        more = {"max_sequence_length": 5} if kind == "sd3" else {}
        images = pipeline(["a red circle"], latents=latents.double(), height=16, width=16, **given, **more).images
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32).contiguous()


def pictures():
    cases = []

    def case(kind, steps=5, guidance=3, without=(), **changes):
        cases.append({"kind": kind, "steps": steps, "guidance": guidance, "changes": changes, "without": list(without)})

    for prediction in predictions:
        for spacing in spacings:
            for kind in ["sd1", "dit"]:
                for steps, guidance in [(4, 1), (6, 3)]:
                    case(kind, steps, guidance, prediction_type=prediction, timestep_spacing=spacing)
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    for prediction in predictions[1:]:
        for kind in ["sd1", "dit"]:
            case(kind, **zero, prediction_type=prediction)
    case("sd1", rescale_betas_zero_snr=True)
    case("sd1", beta_schedule="squaredcos_cap_v2")
    case("sd1", beta_schedule="linear")
    case("sd1", num_train_timesteps=500)
    case("sd1", **short, timestep_spacing="linspace")
    case("sd1", set_alpha_to_one=True)
    case("sd1", steps_offset=0, clip_sample=True)
    case("sd1", without=["steps_offset", "clip_sample", "set_alpha_to_one", "timestep_spacing", "prediction_type"])
    for prediction in predictions:
        case("dit", clip_sample=True, prediction_type=prediction)
    case("dit", clip_sample=True, clip_sample_range=0.5, timestep_spacing="linspace", set_alpha_to_one=False)
    case("dit", without=["clip_sample", "beta_schedule", "beta_start", "beta_end"])
    case("sd3", num_train_timesteps=500)
    case("sd3", use_dynamic_shifting=True)
    case("sd3", use_dynamic_shifting=True, time_shift_type="linear", base_shift=2.0, max_shift=3.0)
    case("sd3", shift_terminal=0.1)
    for spacing in ["karras", "exponential", "beta"]:
        case("sd3", **{f"use_{spacing}_sigmas": True})
    case("sd3", without=["shift"])

    latents = {kind: load_file(fixtures / "pipelines" / kind / "expected.safetensors")["latents"][:1] for kind in ["sd1", "sd3"]}
    latents["dit"] = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7), dtype=torch.float64).float()
    tensors = {f"latents.{kind}": each.contiguous() for kind, each in latents.items()}
    with tempfile.TemporaryDirectory() as temporary:
        for i, each in enumerate(cases):
            folder = Path(temporary) / str(i)
            shutil.copytree(fixtures / "pipelines" / each["kind"], folder)
            path = folder / "scheduler" / "scheduler_config.json"
            config = {key: value for key, value in json.loads(path.read_text()).items() if key not in each["without"]}
            path.write_text(json.dumps({**config, **each["changes"]}))
            tensors[f"picture.{i}"] = picture(folder, each["kind"], latents[each["kind"]], each["steps"], each["guidance"])
            assert math.isfinite(tensors[f"picture.{i}"].sum().item()), each
    write("pictures.json", cases)
    save_file(tensors, target / "pictures.safetensors")


if __name__ == "__main__":
    target.mkdir(exist_ok=True)
    signatures()
    diffusion()
    flow()
    pictures()
