"""From a frame to its `PanopticSegmentation`: the plain PyTorch module beside our engines, in the same rounds.

*eager* is the network as it was trained and as PyTorch runs it without more ado: float32, batch norms and the Pyramid
Pooling Module by themselves, channels first.  The engine *torch* has them folded, and channels last.  The preparation
and the fusion are the same code.  int8 files are those that ``benchmarks/engines.py`` leaves in OUT, and are left out
where there are none.

``python benchmarks/eager.py [MODEL] [WxH] [ROUNDS] [THREADS] [OUT]``
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import torch
from timing import measure, report
from torch import Tensor

from panoptic_ros.benchmarking.frames import drawn_street
from panoptic_ros.configuration import parse_size
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.weights import load_weights
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.resources import DEFAULT_MODEL, weights_of

ENGINES = ("torch", "onnxruntime", "openvino")


class Eager:
    """A network as PyTorch runs it; see `panoptic_ros.engines.engine.Engine`."""

    name = "eager"
    device = torch.device("cpu")
    precision = "fp32"
    notes: tuple[str, ...] = ()

    def __init__(self, model: PanopticModel) -> None:
        self._model = model

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return self._model(images.contiguous())


def eager(model: str, size: tuple[int, int]) -> Pipeline:
    """The plain network in the pipeline that the engines have."""
    config = replace(load_model_config(model), input_height=size[0], input_width=size[1])
    network = build_model(config)
    if weights := weights_of(model, ""):
        load_weights(network, Path(weights))
    return Pipeline(model, config, network, Eager(network))


def main(
    model: str = DEFAULT_MODEL, size: str = "640x384", rounds: int = 30, threads: int = 2, out: str = "out/bench"
) -> dict[str, dict[str, float]]:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    extent = parse_size(size, "WxH") or (384, 640)
    pipelines = {"eager fp32": eager(model, extent)}
    for engine in ENGINES:
        pipelines[f"{engine} fp32"] = Pipeline.load(model, device="cpu", engine=engine, threads=threads, size=extent)
    for suffix, engine in ((".xml", "openvino"), (".onnx", "onnxruntime")):
        file = Path(out) / f"{Path(model).stem}_{size}_int8{suffix}"
        if file.is_file():
            pipelines[f"{engine} int8"] = Pipeline.load(str(file), device="cpu", engine=engine, threads=threads)
    frame = drawn_street()
    times = measure({name: lambda run=run: run([frame]) for name, run in pipelines.items()}, repeats=rounds)
    height, width = frame.shape[:2]
    return report(f"{model} at {size}, a frame of {width}x{height} to its result, {threads} threads", times)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*given[:2], *map(int, given[2:4]), *given[4:])
