"""``panoptic-ros export``: the file, the comparison, and arguments that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from panoptic_ros.commands.main import app
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import save_weights
from panoptic_ros.pipeline import Pipeline

_MODEL = """
system: yolo_panoptic
labels: camvid
input_height: 64
input_width: 96
network: {cfg: small.cfg, taps: [1, 3, 5]}
"""
_CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
_HEAD = "[convolutional]\nfilters=39\nactivation=linear\n[yolo]\nmask=0,1,2\nanchors=6,8, 10,20, 16,12\nclasses=8\n"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A semantic network, whose export takes least."""
    folder = tmp_path_factory.mktemp("network")
    convolutions = "".join(_CONVOLUTION.format(stride) for stride in (2, 2, 1, 2, 1, 2))
    (folder / "small.cfg").write_text(f"[net]\nwidth=96\nheight=64\n{convolutions}{_HEAD}")
    (folder / "small.yaml").write_text(_MODEL)
    config = load_model_config(str(folder / "small.yaml"))
    model = build_model(config)
    model.untrained = frozenset()
    save_weights(model, folder / "small.safetensors", config)
    return folder / "small.safetensors"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(5):
        coarse = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (140, 100), interpolation=cv2.INTER_CUBIC))
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.split())


def test_int8_for_openvino_with_its_comparison(weights: Path, pictures: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.xml", tmp_path / "report.json"
    status, said = run(
        *("--model", weights, "--engine", "openvino", "--out", out, "--int8", "--calibration", pictures),
        *("--samples", 3, "--keep-float", "pyramid", "--frames", pictures, "--count", 2, "--report", report),
    )
    assert status == 0, said
    assert "calibrating with 3 frames" in said
    assert "openvino in int8 against torch in fp32, 2 frames" in said
    document = json.loads(report.read_text())
    assert document["frames"] == 2
    (logits,) = document["outputs"]
    assert logits["name"] == "semantic_logits"
    assert 0 < logits["mean"] < logits["largest"]
    assert 0 <= document["agreement"] <= 1
    assert document["delta_pq"] is None  # pictures have no truth
    pipeline = Pipeline.load(str(out), device="cpu")
    assert (pipeline.engine_name, pipeline.precision, pipeline.trained) == ("openvino", "int8", True)


def test_onnx_is_compared_on_noise_which_is_said_and_replay_runs_it(
    weights: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.onnx"
    status, said = run("--model", weights, "--out", out, "--count", 1)
    assert status == 0, said
    assert "onnxruntime in fp32 against torch in fp32, 1 frames of noise, not pictures" in said
    assert "PQ 100.00" in said
    bag = tmp_path / "out.mcap"
    result = CliRunner().invoke(app, ["replay", str(pictures), str(bag), "--model", str(out), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert f"{bag}: 5 frames, 0 bad" in result.output
    assert "untrained" not in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--out", "x.onnx", "--int8"], 2, "--int8 and --calibration go together"),
        (["--out", "x.onnx", "--int8", "--half", "--calibration", "."], 2, "exclude each other"),
        (["--out", "x.onnx", "--keep-float", "pyramid"], 2, "--keep-float is for --int8"),
        (["--out", "x.onnx", "--engine", "openvino"], 2, "writes .xml files"),
        (["--out", "x.onnx", "--int8", "--calibration", "/no/where"], 1, "/no/where: no such file or folder"),
    ],
)
def test_arguments_that_cannot_be_are_told(weights: Path, arguments: list[str], status: int, said: str) -> None:
    found, output = run("--model", weights, *arguments)
    assert found == status
    assert said in output.replace("│ ", "").replace(" │", "")
