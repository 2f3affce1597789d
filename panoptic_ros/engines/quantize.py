"""Post-training quantisation of an exported network to int8: ONNX Runtime's for its own engine, NNCF for OpenVINO.

Ranges of activations are taken from frames, which should be as the robot sees them.  What follows a network's last
convolutions, and these themselves, stays in float: boxes, class probabilities and the classes' logits are read from
there in full precision, and the convolutions are a small part of the work.  So do products with a constant matrix on
the left, which pool and interpolate.  Further modules can be named.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.engines.engine import EngineError
from panoptic_ros.engines.openvino_engine import load_openvino
from panoptic_ros.files import written_whole
from panoptic_ros.models.exported import INPUT, PRECISION_KEY
from panoptic_ros.models.exported_file import OPENVINO_SECTION, read_metadata

_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def quantize_onnx(
    source: Path,
    path: Path,
    inputs: Sequence[NDArray[np.float32]],
    keep_float: Sequence[str] = (),
    symmetric: bool = False,
) -> tuple[str, ...]:
    """Quantise an exported ONNX file for ONNX Runtime or TensorRT.

    Parameters
    ----------
    source, path:
        The float32 file, and the one to write.
    inputs:
        What to calibrate with: (1, 3, H, W) each, as the network is given them.
    keep_float:
        Modules that stay in float beside the last convolutions, ``pyramid`` or ``detector.layers.3`` for instance.
    symmetric:
        Whether activations are signed bytes around zero, which is all that TensorRT takes.

    Returns
    -------
    The names of the nodes that stay in float.

    Raises
    ------
    EngineError
        If ONNX Runtime or onnx is not installed.
    ConfigurationError
        If there is no such module.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise EngineError(
            "int8 for ONNX Runtime needs onnx and onnxruntime: pip install 'panoptic_ros[onnxruntime]'"
        ) from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives one input after another."""

        def __init__(self) -> None:
            self._left = iter(inputs)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            found = next(self._left, None)
            return None if found is None else {INPUT: found}

    proto = onnx.load(str(source))
    metadata = {entry.key: entry.value for entry in proto.metadata_props} | {PRECISION_KEY: "int8"}
    kept = (
        _last_onnx(proto.graph)
        | _left_onnx(proto.graph)
        | _named([node.name for node in proto.graph.node], keep_float, source)
    )
    with written_whole(path) as file, _quiet():
        quantize_static(
            proto,
            str(file),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            extra_options={"ActivationSymmetric": symmetric},
        )
        made = onnx.load(str(file))
        onnx.helper.set_model_props(made, metadata)
        onnx.save(made, str(file))
    return tuple(sorted(kept))


def write_openvino(source: Path, path: Path, half: bool = False) -> None:
    """Write an exported ONNX file as OpenVINO's ``.xml`` and ``.bin``.

    Parameters
    ----------
    half:
        Whether the weights are stored in half precision; what is computed in is chosen where it runs.

    Raises
    ------
    EngineError
        If OpenVINO is not installed.
    """
    openvino = load_openvino()
    _save_openvino(openvino.Core().read_model(str(source)), source, path, half, {})


def quantize_openvino(
    source: Path, path: Path, inputs: Sequence[NDArray[np.float32]], keep_float: Sequence[str] = ()
) -> tuple[str, ...]:
    """Quantise an exported ONNX file with NNCF into OpenVINO's ``.xml`` and ``.bin``; see `quantize_onnx`."""
    openvino = load_openvino()
    try:
        with _quiet():
            import nncf
    except ImportError as error:
        raise EngineError("int8 for OpenVINO needs nncf: pip install 'panoptic_ros[int8]'") from error
    graph = openvino.Core().read_model(str(source))
    ends = ("Constant", "Parameter", "Result")
    names = [node.get_friendly_name() for node in graph.get_ordered_ops() if node.get_type_name() not in ends]
    kept = _last_openvino(graph) | _left_openvino(graph) | _named(names, keep_float, source)
    with _quiet():
        made = nncf.quantize(
            graph,
            nncf.Dataset(list(inputs)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
        )
    _save_openvino(made, source, path, False, {PRECISION_KEY: "int8"})
    return tuple(sorted(kept))


def _save_openvino(graph: Any, source: Path, path: Path, half: bool, changed: Mapping[str, str]) -> None:
    if path.suffix != ".xml":
        raise ConfigurationError(f"{path}: OpenVINO's files end in .xml")
    for key, value in {**read_metadata(source), **changed}.items():
        graph.set_rt_info(value, [OPENVINO_SECTION, key])
    # Under names of their own until both are whole; the .xml, which is looked for, appears last.
    with written_whole(path) as file, written_whole(path.with_suffix(".bin")) as weights:
        text = file.with_suffix(".xml")
        try:
            load_openvino().save_model(graph, str(text), compress_to_fp16=half)
            text.with_suffix(".bin").replace(weights)
            text.replace(file)
        finally:
            text.unlink(missing_ok=True)
            text.with_suffix(".bin").unlink(missing_ok=True)


def _last_onnx(graph: Any) -> set[str]:
    """The nodes from a graph's outputs up to the first that have weights, these included."""
    makers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    left = [makers[output.name] for output in graph.output if output.name in makers]
    while left:
        node = left.pop()
        if node.name not in found:
            found.add(node.name)
            if node.op_type not in _WEIGHTED:
                left += [makers[name] for name in node.input if name in makers]
    return found


def _last_openvino(graph: Any) -> set[str]:
    """As `_last_onnx`, of OpenVINO's graph."""
    found: set[str] = set()
    left = [result.input_value(0).get_node() for result in graph.get_results()]
    while left:
        node = left.pop()
        kind = node.get_type_name()
        if kind in ("Constant", "Parameter") or node.get_friendly_name() in found:
            continue
        found.add(node.get_friendly_name())
        if kind not in ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"):
            left += [value.get_node() for value in node.input_values()]
    return found


def _left_onnx(graph: Any) -> set[str]:
    """The products with a constant on the left, which average and interpolate: little work, much to lose."""
    constants = {tensor.name for tensor in graph.initializer}
    return {node.name for node in graph.node if node.op_type == "MatMul" and node.input[0] in constants}


def _left_openvino(graph: Any) -> set[str]:
    """As `_left_onnx`; OpenVINO's CPU plugin cannot compile such products with a scale for each row either."""
    products = (node for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul")
    return {
        node.get_friendly_name() for node in products if node.input_value(0).get_node().get_type_name() == "Constant"
    }


def _named(names: Sequence[str], modules: Sequence[str], source: Path) -> set[str]:
    """The nodes of some modules, and of those inside them."""
    found: set[str] = set()
    for module in modules:
        own = {name for name in names if name.startswith((f"{module}/", f"{module}."))}
        if not own:
            there = sorted({name.partition("/")[0].partition(".")[0] for name in names if "/" in name})
            raise ConfigurationError(f"{source}: has no module {module!r} to keep in float; it has {', '.join(there)}")
        found |= own
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the tools print on their way."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of all loggers: torch's own write where stderr was when they were made
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
