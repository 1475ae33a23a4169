"""What TensorBoard's own loader reads of event files that winnow wrote, as JSON: tags with steps and values.

    python test/reference/check_tensorboard.py                # the fixture, into its read_by_tensorboard.json
    python test/reference/check_tensorboard.py RUN/tb         # counts of a run's folder
"""

import base64
import json
import sys
from pathlib import Path

import tensorboard
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

fixture = Path(__file__).parents[1] / "fixtures" / "tensorboard"


def read(folder):
    """Values by tag, in the order of steps; files are read in the order of their names, and starts take steps back."""
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    tags = {}
    for tag in accumulator.Tags()["tensors"]:
        plugin = accumulator.SummaryMetadata(tag).plugin_data.plugin_name
        tags[tag] = [
            {"step": event.step, **value_of(plugin, tensor_util.make_ndarray(event.tensor_proto))}
            for event in accumulator.Tensors(tag)
        ]
    return tags


def value_of(plugin, tensor):
    if plugin == "scalars":
        return {"scalar": float(tensor)}
    if plugin == "histograms":
        return {"histogram": tensor.tolist()}
    if plugin == "images":
        width, height, *pictures = tensor.tolist()
        return {"image": [int(width), int(height), *(base64.b64encode(each).decode() for each in pictures)]}
    if plugin == "text":
        return {"text": tensor.tolist()[0].decode()}
    raise ValueError(f"unknown plugin {plugin}")


if len(sys.argv) > 1:
    for tag, values in sorted(read(sys.argv[1]).items()):
        kind = [key for key in values[0] if key != "step"][0]
        print(f"{kind:10} {tag:32} {len(values):4} steps {[value['step'] for value in values][:12]}")
else:
    found = {"version": tensorboard.__version__, **read(fixture)}
    (fixture / "read_by_tensorboard.json").write_text(json.dumps(found, ensure_ascii=False) + "\n")
