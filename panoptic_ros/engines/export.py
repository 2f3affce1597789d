"""Export of a system's `forward` to ONNX."""

from __future__ import annotations

import ast
import copy
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from panoptic_ros.engines.engine import EngineError
from panoptic_ros.engines.folding import fold
from panoptic_ros.files import written_whole
from panoptic_ros.models import ModelConfig
from panoptic_ros.models.exported import INPUT, exported_metadata
from panoptic_ros.models.model import PanopticModel

GRAPH = 2
"""Counts how often the exported graph of a network has changed, so that files in the cache are made anew."""

OPSET = 18
BATCH = "batch"
"""The name of the free first dimension."""

_SCOPES = "pkg.torch.onnx.name_scopes"  # under which torch says which modules a node is from, outermost first


class _Outputs(nn.Module):
    """A system with its outputs as a tuple, which is what ONNX has; float32 at both ends."""

    def __init__(self, model: PanopticModel) -> None:
        super().__init__()
        self.model = model
        self._dtype = next(iter(model.parameters())).dtype

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(images.to(self._dtype))
        return tuple(outputs[name].float() for name in self.model.output_names)


def need_export() -> None:
    """Say what is missing for an export.

    Raises
    ------
    EngineError
        If the packages ``onnx`` and ``onnxscript`` are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"the export to ONNX needs onnx and onnxscript: pip install 'panoptic_ros[export]' ({error})"
        ) from error


def export_onnx(model: PanopticModel, config: ModelConfig, path: Path, half: bool = False) -> None:
    """Write a system's `forward` as an ONNX model with a free batch size, checked by ONNX's own checker.

    The file has one input ``images`` (batch, 3, H, W) and the outputs `PanopticModel.output_names`, all float32.  The
    system is folded (`folding.fold`) and constants are computed.  A node is named after the module that it is from
    (`layer_names`), and the metadata holds all that is needed to run the file without another (`exported_metadata`).

    Parameters
    ----------
    model:
        The system, in evaluation mode, with float32 weights; it is not changed.
    config:
        What it was built from; has the size of the input.
    half:
        Whether weights and arithmetic are float16, as GPUs want them; `forward`'s own float32 parts stay so.

    Raises
    ------
    EngineError
        If the packages ``onnx`` and ``onnxscript`` are not installed.
    ValueError
        If the size does not suit the network.
    OSError
        If the file cannot be written.
    """
    need_export()
    import onnx

    height, width = config.input_height, config.input_width
    if min(height, width) < 1 or height % model.input_multiple or width % model.input_multiple:
        raise ValueError(f"the input's size must be a multiple of {model.input_multiple}, got {width}x{height}")
    metadata = exported_metadata(model, config, "fp16" if half else "fp32")
    network = copy.deepcopy(model).cpu().eval()
    fold(network)
    if half:
        network.half()
    example = torch.zeros((2, 3, height, width))
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of every module that a graph has no counterpart of
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what torch itself calls and will have to change
            program = torch.onnx.export(
                _Outputs(network).eval(),
                (example,),
                input_names=[INPUT],
                output_names=list(model.output_names),
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    proto = program.model_proto
    _name_nodes(proto.graph)
    for key, value in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(proto, full_check=True)
    with written_whole(path) as file:
        onnx.save(proto, str(file))


def layer_names(path: Path) -> list[str]:
    """The names of an ONNX file's nodes, ``detector.layers.3/Conv`` …, in the order of the graph."""
    import onnx

    return [node.name for node in onnx.load(str(path), load_external_data=False).graph.node]


def _name_nodes(graph: Any) -> None:
    """Name nodes after their modules, and forget the rest of what torch says of them: paths and lines of code."""
    counted: Counter[str] = Counter()
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        modules = [name for name in ast.literal_eval(scopes)[:-1] if name.startswith("model.")]
        name = f"{modules[-1].removeprefix('model.') if modules else 'forward'}/{node.op_type}"
        counted[name] += 1
        node.name = name if counted[name] == 1 else f"{name}_{counted[name]}"
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*graph.value_info, *graph.input, *graph.output):
        value.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.ClearField("metadata_props")
    graph.ClearField("metadata_props")
