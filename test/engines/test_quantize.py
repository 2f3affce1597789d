"""int8: the files run on their engines, are near torch, and leave in float what was said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from small_networks import drawn_frames

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.engines import EngineError
from panoptic_ros.engines.quantize import quantize_onnx, quantize_openvino
from panoptic_ros.models.exported import open_exported
from panoptic_ros.models.exported_file import read_metadata
from panoptic_ros.pipeline import Pipeline

LAST = {
    "detector.layers.10.convolution/Conv",
    "detector.layers.16.convolution/Conv",
    "detector.layers.22.convolution/Conv",
    "pyramid.reductions.0/Conv",
    "pyramid.reductions.1/Conv",
    "pyramid.reductions.2/Conv",
    "pyramid.logits.1/Conv",
    "detail.logits/Conv",
    "detail.instances/Conv",
}
"""The convolutions whose outputs, or sums of them, are the network's, read off the cfg and the heads."""


@pytest.fixture(scope="module")
def inputs(reference: Pipeline) -> list[NDArray[np.float32]]:
    return [np.ascontiguousarray(reference.prepare([frame])[0].numpy()) for frame in drawn_frames(6)]


def near(path: Path, reference: Pipeline) -> None:
    """Hold a file's answers to torch's, and to its own noise: int8 is not float."""
    pipeline = Pipeline.load(str(path), device="cpu", threads=1)
    assert pipeline.precision == "int8"
    images, _ = reference.prepare(drawn_frames(3)[2:])
    expected = {name: value.clone() for name, value in reference.run(images).items()}
    for name, found in pipeline.run(images).items():
        apart = (found - expected[name]).abs().mean() / expected[name].abs().mean()
        assert 0 < apart < 0.15, (name, apart)
    assert pipeline(drawn_frames(1))[0].ids.shape == (90, 120)


def test_onnx_runtime_runs_what_it_has_quantised(
    exported: Path, reference: Pipeline, inputs: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    kept = quantize_onnx(exported, path, inputs, keep_float=["pyramid.branches"])
    assert {name for name in kept if name.endswith("/Conv") and not name.startswith("pyramid.branches")} == LAST
    assert any(name.startswith("pyramid.branches") for name in kept)
    graph = onnx.load(str(path)).graph
    quantised = {value for node in graph.node if node.op_type == "DequantizeLinear" for value in node.output}
    in_float = {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in quantised}
    assert in_float == {name for name in kept if name.endswith("/Conv")}
    assert read_metadata(path) == {**read_metadata(exported), "precision": "int8"}
    near(path, reference)


def test_openvino_runs_what_nncf_has_quantised(
    exported: Path, reference: Pipeline, inputs: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    path = tmp_path / "int8.xml"
    kept = quantize_openvino(exported, path, inputs)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["int8.bin", "int8.xml"]
    assert open_exported(path).precision == "int8"
    import openvino

    graph = openvino.Core().read_model(str(path))
    assert sum(node.get_type_name() == "FakeQuantize" for node in graph.get_ordered_ops()) > 10
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]
    in_float = {
        node.get_friendly_name()
        for node in convolutions
        if node.input_value(1).get_node().get_type_name() == "Constant"  # else bytes, converted and scaled
    }
    renamed = {"pyramid.reductions.0/Conv": "WithoutBiases"}  # what OpenVINO calls one whose bias is apart
    expected = {renamed.get(name, name) for name in LAST}
    assert {"WithoutBiases" if name.endswith("WithoutBiases") else name for name in in_float} == expected
    assert in_float <= set(kept)
    assert len(convolutions) > 2 * len(LAST)
    near(path, reference)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match=r"int8\.bin: \d+ bytes, expected \d+ at least"):
        Pipeline.check(str(path))
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"int8\.bin: no such file"):
        Pipeline.check(str(path))


def test_an_unknown_module_is_told(exported: Path, inputs: list[NDArray[np.float32]], tmp_path: Path) -> None:
    for quantize, suffix in ((quantize_onnx, ".onnx"), (quantize_openvino, ".xml")):
        with pytest.raises(ConfigurationError, match=r"no module 'head' to keep in float; it has detail, detector, "):
            quantize(exported, tmp_path / f"int8{suffix}", inputs, keep_float=["head"])
    assert list(tmp_path.iterdir()) == []


def test_nncf_that_is_not_installed_is_named(
    exported: Path, inputs: list[NDArray[np.float32]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "nncf", None)  # as if it were not there
    with pytest.raises(EngineError, match=r"pip install 'panoptic_ros\[int8\]'"):
        quantize_openvino(exported, tmp_path / "int8.xml", inputs)
