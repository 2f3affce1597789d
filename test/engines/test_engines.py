"""Engines: the same answers as torch, their cache, and what is said where they cannot run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import HEIGHT, WIDTH, drawn_frames, real_frames, write_network

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.engines import ENGINES, EngineError, Network, RunOptions, installed
from panoptic_ros.engines.cache import CACHE_VARIABLE, cached_file
from panoptic_ros.engines.onnx_engine import OnnxEngine
from panoptic_ros.engines.openvino_engine import COMPILED_SIZES, OpenVinoEngine
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.pipeline import Pipeline

OTHERS = ("onnxruntime", "openvino")


@pytest.mark.parametrize("engine", OTHERS)
def test_an_engine_gives_torchs_answers_on_real_frames(
    weights: Path, exported: Path, reference: Pipeline, shared_data: Path, engine: str
) -> None:
    frames = real_frames(shared_data, 3)
    pipeline = Pipeline.load(str(weights), device="cpu", engine=engine, threads=1)
    assert (pipeline.engine_name, pipeline.precision, pipeline.notes) == (engine, "fp32", ())  # found in the cache
    for batch in (frames, frames[:1], frames):
        images, _ = reference.prepare(batch)
        expected = {name: value.clone() for name, value in reference.run(images).items()}
        for name, found in pipeline.run(images).items():
            np.testing.assert_allclose(found.numpy(), expected[name].numpy(), rtol=1e-4, atol=1e-3, err_msg=name)
    for ours, theirs in zip(pipeline(frames), reference(frames), strict=True):
        assert np.mean(ours.ids != theirs.ids) < 1e-3
        assert len(theirs.segments) > 1


@pytest.mark.parametrize("engine", OTHERS)
def test_an_exported_file_needs_no_other(exported: Path, reference: Pipeline, engine: str) -> None:
    pipeline = Pipeline.load(str(exported), device="cpu", engine=engine)
    assert pipeline.trained
    assert pipeline.labels == reference.labels
    assert pipeline.options == reference.options
    for ours, theirs in zip(pipeline(drawn_frames(2)), reference(drawn_frames(2)), strict=True):
        assert np.mean(ours.ids != theirs.ids) < 1e-3


def test_an_exported_file_chooses_its_engine(exported: Path) -> None:
    assert Pipeline.load(str(exported), device="cpu").engine_name == "onnxruntime"
    with pytest.raises(EngineError, match=r"runs with onnxruntime or openvino or .*, not with 'torch'"):
        Pipeline.check(str(exported), engine="torch")
    with pytest.raises(EngineError, match="was exported in fp32, precision 'int8' was asked for"):
        Pipeline.check(str(exported), precision="int8")
    with pytest.raises(ConfigurationError, match=r"holds its weights; other\.safetensors cannot be put into it"):
        Pipeline.check(str(exported), weights="other.safetensors")


def test_a_file_for_another_label_set_or_size_is_refused(exported: Path, tmp_path: Path) -> None:
    Pipeline.check(str(write_network(tmp_path)), str(exported))
    with pytest.raises(ConfigurationError, match=r"for the 19 labels of 'cityscapes', but .* has the 11 of 'camvid'"):
        Pipeline.check(str(write_network(tmp_path, labels="camvid")), str(exported))
    with pytest.raises(ConfigurationError, match=r"for an input of 128x96, but .* has 160x96"):
        Pipeline.check(str(write_network(tmp_path, width=160)), str(exported))


@pytest.mark.parametrize("engine", OTHERS)
def test_another_size_than_the_graphs_is_refused(exported: Path, engine: str) -> None:
    pipeline = Pipeline.load(str(exported), device="cpu", engine=engine)
    with pytest.raises(ValueError, match=rf"\(batch, 3, {HEIGHT}, {WIDTH}\), got \(1, 3, 64, 64\)"):
        pipeline.run(torch.zeros((1, 3, 64, 64)))


def test_threads_reach_the_engines(exported: Path) -> None:
    config = load_model_config(str(exported))
    network = Network(build_model(config), config, exported)
    options = RunOptions(torch.device("cpu"), "fp32", threads=1)
    assert OnnxEngine(network, options)._session.get_session_options().intra_op_num_threads == 1
    compiled = OpenVinoEngine(network, options)._requests[1].get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_openvino_keeps_so_many_compiled_graphs(exported: Path) -> None:
    config = load_model_config(str(exported))
    engine = OpenVinoEngine(Network(build_model(config), config, exported), RunOptions(torch.device("cpu"), "fp32", 1))
    for batch in (*range(1, COMPILED_SIZES + 1), 1, COMPILED_SIZES + 1):
        outputs = engine(torch.zeros((batch, 3, HEIGHT, WIDTH)))
        assert {len(value) for value in outputs.values()} == {batch}
    assert sorted(engine._requests) == [1, *range(3, COMPILED_SIZES + 2)]


def test_openvino_does_not_report_home() -> None:
    """Its tools take a stand-in for the module that would."""
    from panoptic_ros.engines.openvino_engine import load_openvino

    load_openvino()
    tools = pytest.importorskip("openvino.tools.ovc.telemetry_utils")
    assert tools.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize(
    ("module", "engine", "said"),
    [
        ("onnxruntime", "onnxruntime", r"pip install 'panoptic_ros\[onnxruntime\]'"),
        ("openvino", "openvino", r"pip install 'panoptic_ros\[openvino\]'"),
        ("onnxscript", "onnxruntime", r"pip install 'panoptic_ros\[export\]'"),
    ],
)
def test_what_is_not_installed_is_named(
    weights: Path, monkeypatch: pytest.MonkeyPatch, module: str, engine: str, said: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    for use in (Pipeline.check, Pipeline.load):
        with pytest.raises(EngineError, match=said):
            use(str(weights), device="cpu", engine=engine)
    if module == engine:
        assert "pip install" in installed()[engine]
    assert installed()["torch"] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"engine": "onnxruntime", "precision": "bf16"}, "has no precision 'bf16'"),
        ({"engine": "onnxruntime", "precision": "fp16"}, "needs a GPU; on the CPU use fp32 or int8"),
        ({"engine": "onnxruntime_tensorrt"}, "needs an NVIDIA GPU"),
        ({"engine": "openvino", "device": "xpu:7"}, r"device 'xpu:7' is OpenVINO's GPU\.7, which is not here"),
        ({"engine": "torch", "device": "xpu"}, "runs on cpu and cuda, not on xpu"),
        ({"engine": "openvino", "precision": "int8"}, "panoptic-ros export --engine openvino --int8 --calibration"),
    ],
)
def test_what_does_not_go_together_is_told(weights: Path, arguments: dict[str, str], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Pipeline.check(str(weights), **{"device": "cpu", **arguments})


def test_a_graph_that_is_another_than_it_says_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(str(exported))
    del graph.graph.output[0]
    path = tmp_path / "fewer.onnx"
    onnx.save(graph, str(path))
    for engine in OTHERS:
        with pytest.raises(EngineError, match=r"fewer\.onnx: has no outputs boxes"):
            Pipeline.load(str(path), device="cpu", engine=engine)


def test_a_broken_graph_is_told_in_the_engines_words(exported: Path, tmp_path: Path) -> None:
    import onnx

    graph = onnx.load(str(exported))
    graph.graph.node[0].op_type = "Convolute"
    path = tmp_path / "broken.onnx"
    onnx.save(graph, str(path))
    for engine, said in (("onnxruntime", "ONNX Runtime .* cannot run it"), ("openvino", "OpenVINO .* cannot")):
        with pytest.raises(EngineError, match=rf"broken\.onnx: {said}"):
            Pipeline.load(str(path), device="cpu", engine=engine)


class Maker:
    """Writes a file, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, path: Path) -> None:
        self.made += 1
        path.write_bytes(b"a network" * 100)


def test_the_cache_makes_anew_what_is_not_what_it_was(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "new" / "folder"))
    config = load_model_config(str(weights))
    network, maker, versions = Network(build_model(config), config), Maker(), {"torch": "1"}

    def get(made_by: dict[str, str]) -> tuple[Path, str]:
        path, notes = cached_file(network, "fp32", ".onnx", made_by, maker)
        assert path.read_bytes() == b"a network" * 100
        return path, " ".join(notes)

    path, said = get(versions)
    assert (said, maker.made) == (f"{path}: made", 1)
    assert get(versions) == (path, "")
    record = path.with_name(f"{path.name}.json")
    assert sorted(path.parent.iterdir()) == sorted([path, record])
    path.write_bytes(b"a network" * 50)
    assert "truncated, 450 of 900 bytes: made anew" in get(versions)[1]
    path.write_bytes(b"another!!" * 100)
    assert "not what was written: made anew" in get(versions)[1]
    record.write_text("{")
    assert "without a readable record" in get(versions)[1]
    record.unlink()
    assert "without a readable record" in get(versions)[1]
    assert "stale, made by torch 1: made anew" in get({"torch": "2"})[1]
    assert get({"torch": "2"})[1] == ""
    assert json.loads(record.read_text())["made_by"] == {"torch": "2"}
    assert maker.made == 6


def test_other_weights_are_another_file(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    config = load_model_config(str(weights))
    model = build_model(config)
    first, _ = cached_file(Network(model, config), "fp32", ".onnx", {}, Maker())
    with torch.no_grad():
        next(model.parameters())[0] += 1e-6
    second, _ = cached_file(Network(model, config), "fp32", ".onnx", {}, Maker())
    third, _ = cached_file(Network(model, config), "fp16", ".onnx", {}, Maker())
    assert len({first, second, third}) == 3


def test_a_cache_that_cannot_be_written_is_told(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    config = load_model_config(str(weights))
    with pytest.raises(EngineError, match=rf"{tmp_path}/file: cannot be written to .*; set {CACHE_VARIABLE}"):
        cached_file(Network(build_model(config), config), "fp32", ".onnx", {}, Maker())


def test_every_engine_says_what_it_is() -> None:
    """Names in the registry are those that an engine goes by."""
    assert next(iter(ENGINES)) == "torch"
    assert set(installed()) == set(ENGINES)
