"""Export of a system's `forward` to ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from panoptic_ros.files import written_whole
from panoptic_ros.models.model import PanopticModel

OPSET = 18


class _Outputs(nn.Module):
    """A system with its outputs as a tuple, which is what ONNX has."""

    def __init__(self, model: PanopticModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(images)
        return tuple(outputs[name] for name in self.model.output_names)


def export_onnx(model: PanopticModel, path: Path, height: int, width: int) -> None:
    """Write a system's `forward` as an ONNX model with a free batch size, checked by ONNX's own checker.

    The file has one input ``images`` (B, 3, `height`, `width`) and the outputs `PanopticModel.output_names`; its
    metadata holds the names of the labels.

    Raises
    ------
    ImportError
        If the packages ``onnx`` and ``onnxscript`` are not installed.
    ValueError
        If the size does not suit the network.
    OSError
        If the file cannot be written.
    """
    import onnx

    if min(height, width) < 1 or height % model.input_multiple or width % model.input_multiple:
        raise ValueError(f"the input's size must be a multiple of {model.input_multiple}, got {width}x{height}")
    example = torch.zeros((2, 3, height, width), device=next(model.parameters()).device)
    program = torch.onnx.export(
        _Outputs(model).eval(),
        (example,),
        input_names=["images"],
        output_names=list(model.output_names),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        dynamo=True,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    graph = program.model_proto
    labels = graph.metadata_props.add()
    labels.key, labels.value = "labels", json.dumps([label.name for label in model.labels.labels])
    onnx.checker.check_model(graph, full_check=True)
    with written_whole(path) as file:
        onnx.save(graph, str(file))
