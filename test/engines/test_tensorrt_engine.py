"""TensorRT, which cannot run here: that its names exist, that its parser knows our operators, and how it fails."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from small_networks import HEIGHT, WIDTH
from torch import Tensor

from panoptic_ros.engines import EngineError, Network, RunOptions, tensorrt_engine
from panoptic_ros.engines.cache import CACHE_VARIABLE
from panoptic_ros.engines.tensorrt_engine import TensorRtEngine, build_plan, check
from panoptic_ros.models import build_model, load_model_config

GPU = RunOptions(torch.device("cuda:0"), "fp32")
CPU = RunOptions(torch.device("cpu"), "fp32")
IMAGES = torch.rand((10, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))

# github.com/onnx/onnx-tensorrt, docs/operators.md: of what it marks as supported, all that a network of ours may hold.
PARSED = """
Add AveragePool Cast Clip Concat Constant ConstantOfShape Conv ConvTranspose DequantizeLinear Div Erf Exp Expand Flatten
Floor Gather Gemm GlobalAveragePool Identity LeakyRelu MatMul Max MaxPool Min Mul Neg Pad Pow QuantizeLinear ReduceMax
ReduceMean ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Tanh Tile TopK
Transpose Unsqueeze Where
"""
OBJECTS = {"trt", "builder", "definition", "parser", "config", "profile", "engine", "context"}
"""Under which names the engine's code holds what is TensorRT's."""


def used_names() -> set[str]:
    """The attributes of TensorRT's objects in the engine's code."""
    tree = ast.parse(Path(tensorrt_engine.__file__).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root: ast.AST = node
            while isinstance(root, (ast.Attribute, ast.Call)):
                root = root.value if isinstance(root, ast.Attribute) else root.func
            if isinstance(root, ast.Name) and root.id in OBJECTS:
                names.add(node.attr)
    return names - {"__init__", "__version__"}


def test_every_name_exists_in_the_bindings() -> None:
    found = importlib.util.find_spec("tensorrt_bindings")
    if found is None or found.origin is None:
        pytest.skip("needs tensorrt-cu12-bindings, of which the names are read")
    code = (Path(found.origin).parent / "tensorrt.so").read_bytes()
    names = used_names() | {"phase_start", "step_complete", "phase_finish", "log", "deserialize_cuda_engine"}
    assert {"build_serialized_network", "execute_async_v3", "STRONGLY_TYPED", "num_errors", "set_timing_cache"} <= names
    # A name that ends another is kept as that one's end.
    assert not {name for name in names if name.encode() + b"\0" not in code}
    assert b"no_such_name_of_tensorrt\0" not in code


def test_the_parser_knows_every_operator(exported: Path) -> None:
    graph = onnx.load(str(exported)).graph
    assert {node.op_type for node in graph.node} <= set(PARSED.split())
    assert {node.domain for node in graph.node} == {""}
    for node in graph.node:
        settings = {setting.name: onnx.helper.get_attribute_value(setting) for setting in node.attribute}
        if node.op_type == "Resize":  # the same page's restrictions
            assert settings["mode"] in (b"nearest", b"linear")
            assert settings["coordinate_transformation_mode"] in (b"half_pixel", b"pytorch_half_pixel", b"asymmetric")


def test_without_its_library_or_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it were not there
    with pytest.raises(EngineError, match="engine 'tensorrt' is not installed: pip install tensorrt-cu12"):
        check("tensorrt", GPU, None)
    with pytest.raises(EngineError, match="needs an NVIDIA GPU; it was to run on cpu"):
        check("tensorrt", CPU, None)
    with pytest.raises(EngineError, match="has no precision 'bf16'; there are fp32, fp16, int8"):
        check("tensorrt", RunOptions(GPU.device, "bf16"), None)


class FakeCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return b"timings"


class FakeTensorRt:
    """Stands in for the module: parses, builds and fails as it is told."""

    __version__ = "11.4"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)

    class ILogger:
        ERROR, INTERNAL_ERROR = "error", "internal"

    class IProgressMonitor:
        pass

    def __init__(
        self, parses: bool = True, builds: bool = True, takes: Callable[[bytes], bool] = lambda _: True
    ) -> None:
        self.parses, self.builds, self.takes = parses, builds, takes
        self.shapes: tuple[Any, ...] = ()
        self.caches: list[bytes] = []

    def Builder(self, logger: Any) -> Any:  # noqa: N802 (its name)
        def build(definition: Any, config: Any) -> bytes | None:
            config.progress_monitor.phase_start("Building", None, 2)
            config.progress_monitor.phase_start("Within", "Building", 9)
            config.progress_monitor.step_complete("Within", 0)
            assert config.progress_monitor.step_complete("Building", 0)
            config.progress_monitor.phase_finish("Building")
            logger.log("warning", "a warning")
            if not self.builds:
                logger.log("error", "no implementation for /Conv_3")
            return b"plan" if self.builds else None

        def set_cache(cache: FakeCache, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            self.caches.append(cache.content)
            return self.takes(cache.content)

        config = SimpleNamespace(
            progress_monitor=None,
            add_optimization_profile=lambda profile: None,
            create_timing_cache=FakeCache,
            set_timing_cache=set_cache,
            get_timing_cache=lambda: FakeCache(b""),
        )
        profile = SimpleNamespace(set_shape=lambda *shapes: setattr(self, "shapes", shapes))
        return SimpleNamespace(
            create_network=lambda flags: flags,
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=build,
        )

    def OnnxParser(self, definition: int, logger: Any) -> Any:  # noqa: N802 (its name)
        assert definition == 2  # strongly typed
        errors = ["node 7: Frobnicate is not supported"]
        return SimpleNamespace(
            parse_from_file=lambda _: self.parses, num_errors=len(errors), get_error=errors.__getitem__
        )


def build(trt: FakeTensorRt, tmp_path: Path) -> list[str]:
    told: list[str] = []
    build_plan(trt, tmp_path / "net.onnx", tmp_path / "net.plan", (96, 128), told.append)
    return told


def test_building_tells_how_far_it_is_and_keeps_its_timings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    trt = FakeTensorRt()
    assert build(trt, tmp_path) == ["TensorRT is building, torch serves: Building 1 of 2"]
    assert (tmp_path / "net.plan").read_bytes() == b"plan"
    assert trt.shapes == ("images", (1, 3, 96, 128), (1, 3, 96, 128), (8, 3, 96, 128))
    build(trt, tmp_path)
    assert trt.caches == [b"", b"timings"]
    picky = FakeTensorRt(takes=lambda content: content == b"")
    build(picky, tmp_path)
    assert picky.caches == [b"timings", b""]  # of another GPU: begun anew


def test_building_fails_in_tensorrts_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(EngineError, match=r"net\.onnx: TensorRT 11\.4 cannot parse it: node 7: Frobnicate"):
        build(FakeTensorRt(parses=False), tmp_path)
    with pytest.raises(EngineError, match=r"cannot build it: no implementation for /Conv_3$"):
        build(FakeTensorRt(builds=False), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Surroundings:
    """A machine with TensorRT and a GPU, but for the plan, which counts its images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.gate = threading.Event()
        self.trt = FakeTensorRt()
        self.batches: list[int] = []
        self.gpu = "H200"
        monkeypatch.setenv(CACHE_VARIABLE, str(folder))
        monkeypatch.setattr(tensorrt_engine, "load_tensorrt", self._load)
        monkeypatch.setattr(
            tensorrt_engine, "cached_onnx", lambda network, precision: (folder / "net.onnx", ("exported",))
        )
        monkeypatch.setattr(tensorrt_engine, "Plan", self._plan)
        monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: self.gpu)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))

    def _load(self) -> FakeTensorRt:
        assert self.gate.wait(60)
        return self.trt

    def _plan(self, trt: Any, path: Path, device: Any, names: tuple[str, ...]) -> Callable[[Tensor], dict[str, Tensor]]:
        assert path.read_bytes() == b"plan"

        def run(images: Tensor) -> dict[str, Tensor]:
            self.batches.append(len(images))
            return {name: images.sum(dim=(1, 2, 3))[:, None] for name in names}

        return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Surroundings:
    return Surroundings(monkeypatch, tmp_path)


def network(weights: Path, exported: Path | None = None) -> Network:
    config = load_model_config(str(weights))
    return Network(build_model(config), config, exported)


def test_torch_serves_until_the_plan_is_there(weights: Path, machine: Surroundings) -> None:
    engine = TensorRtEngine(network(weights), CPU)
    assert (engine.name, engine.notes) == ("torch", ("TensorRT's plan is being built, torch serves",))
    with torch.inference_mode():
        expected = network(weights).model(IMAGES[:1])
    for name, found in engine(IMAGES[:1]).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-4)
    machine.gate.set()
    engine._thread.join(60)
    assert engine.name == "tensorrt"
    assert engine.notes[0] == "exported"
    assert engine.notes[1].endswith(".plan: made")
    outputs = engine(IMAGES)
    assert machine.batches == [8, 2]
    torch.testing.assert_close(outputs["boxes"], IMAGES.sum(dim=(1, 2, 3))[:, None])
    machine.gpu = "Orin"
    other = TensorRtEngine(network(weights), CPU)
    other._thread.join(60)
    assert "stale, made by tensorrt 11.4" in other.notes[1]
    assert "gpu H200 (9, 0)" in other.notes[1]


def test_torch_serves_on_if_building_fails(weights: Path, machine: Surroundings) -> None:
    machine.gate.set()
    machine.trt = FakeTensorRt(builds=False)
    engine = TensorRtEngine(network(weights), CPU)
    engine._thread.join(60)
    assert engine.name == "torch"
    assert "could not be built, torch serves on" in engine.notes[0]
    assert "no implementation for /Conv_3" in engine.notes[0]
    assert engine(IMAGES[:1]).keys() == set(network(weights).model.output_names)


def test_an_exported_file_is_built_at_once_or_refused(weights: Path, exported: Path, machine: Surroundings) -> None:
    machine.gate.set()
    engine = TensorRtEngine(network(weights, exported), CPU)
    assert engine.name == "tensorrt"
    engine(IMAGES[:3])
    assert machine.batches == [3]
    machine.trt, machine.gpu = FakeTensorRt(parses=False), "Orin"
    with pytest.raises(EngineError, match="Frobnicate is not supported"):
        TensorRtEngine(network(weights, exported), CPU)
