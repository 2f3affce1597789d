"""Darknet weights files: composed here by hand, read, written, and refused."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from panoptic_ros.models.backbones.darknet import Darknet
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_ros.models.backbones.darknet_weights import (
    DarknetWeightsError,
    check_darknet_weights,
    load_darknet_weights,
    save_darknet_weights,
)

CFG = """[net]
width=32
height=32
[convolutional]
filters=2
batch_normalize=1
activation=leaky
[convolutional]
filters=4
size=3
pad=1
groups=2
batch_normalize=1
activation=leaky
[convolutional]
filters=7
activation=linear
[yolo]
anchors=10,10
classes=2
"""
FIRST, SECOND, THIRD = 2 * 4 + 2 * 3, 4 * 4 + 4 * 1 * 9, 7 + 7 * 4
TOTAL = FIRST + SECOND + THIRD
NEW = struct.pack("<3iQ", 0, 2, 5, 32_013_312)
OLD = struct.pack("<4i", 0, 1, 0, 32_013_312)


@pytest.fixture
def config(tmp_path: Path) -> DarknetConfig:
    path = tmp_path / "small.cfg"
    path.write_text(CFG)
    return DarknetConfig.load(path)


def counting(count: int = TOTAL) -> NDArray[np.float32]:
    return np.arange(1, count + 1, dtype="<f4")


def snapshot(network: Darknet) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("header", [NEW, OLD], ids=["20 bytes", "16 bytes"])
def test_every_float_goes_to_its_place(tmp_path: Path, config: DarknetConfig, header: bytes) -> None:
    path = tmp_path / "counting.weights"
    path.write_bytes(header + counting().tobytes())
    check_darknet_weights(config, path)
    network = Darknet(config)
    load_darknet_weights(network, path)
    state = network.state_dict()
    first = "layers.0."
    assert state[first + "normalization.bias"].tolist() == [1, 2]
    assert state[first + "normalization.weight"].tolist() == [3, 4]
    assert state[first + "normalization.running_mean"].tolist() == [5, 6]
    assert state[first + "normalization.running_var"].tolist() == [7, 8]
    assert state[first + "convolution.weight"].flatten().tolist() == [9, 10, 11, 12, 13, 14]
    assert state[first + "convolution.weight"].shape == (2, 3, 1, 1)
    assert state["layers.1.normalization.bias"].tolist() == [15, 16, 17, 18]
    grouped = state["layers.1.convolution.weight"]
    assert grouped.shape == (4, 1, 3, 3)
    assert float(grouped[0, 0, 0, 0]) == 31
    assert float(grouped[1, 0, 2, 1]) == 31 + 9 + 7
    assert state["layers.2.convolution.bias"].tolist() == list(range(67, 74))
    assert state["layers.2.convolution.weight"].flatten().tolist() == list(range(74, 102))
    assert float(state["layers.2.convolution.weight"][6, 3, 0, 0]) == TOTAL == config.num_parameters


@pytest.mark.parametrize(("version", "header"), [((0, 2, 5), NEW), ((0, 1, 0), OLD)])
def test_writes_what_it_reads(
    tmp_path: Path, config: DarknetConfig, version: tuple[int, int, int], header: bytes
) -> None:
    source, copy = tmp_path / "source.weights", tmp_path / "copy.weights"
    source.write_bytes(header + counting().tobytes())
    network = Darknet(config)
    load_darknet_weights(network, source)
    save_darknet_weights(network, copy, seen=32_013_312, version=version)
    assert copy.read_bytes() == source.read_bytes()


def test_round_trip_of_random_weights(tmp_path: Path, config: DarknetConfig) -> None:
    path = tmp_path / "random.weights"
    network, other = Darknet(config), Darknet(config)
    network.layers[1].normalization.running_var.uniform_(0.5, 2.0)
    save_darknet_weights(network, path, seen=2**40)
    assert struct.unpack("<3iQ", path.read_bytes()[:20]) == (0, 2, 5, 2**40)
    load_darknet_weights(other, path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_loads_into_half_precision(tmp_path: Path, config: DarknetConfig) -> None:
    path = tmp_path / "counting.weights"
    path.write_bytes(NEW + counting().tobytes())
    network = Darknet(config).half()
    load_darknet_weights(network, path)
    assert network.layers[0].convolution.weight.dtype == torch.float16
    assert network.layers[2].convolution.bias.tolist() == list(range(67, 74))


def test_a_file_of_the_first_layers(tmp_path: Path, config: DarknetConfig) -> None:
    path = tmp_path / "small.conv.2"
    path.write_bytes(NEW + counting(FIRST + SECOND).tobytes())
    network = Darknet(config)
    before = snapshot(network)
    load_darknet_weights(network, path, cutoff=2)
    state = network.state_dict()
    assert state["layers.1.convolution.weight"].flatten().tolist() == list(range(31, 67))
    assert torch.equal(state["layers.2.convolution.weight"], before["layers.2.convolution.weight"])
    save_darknet_weights(network, tmp_path / "again", seen=32_013_312, cutoff=2)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    for cutoff in (0, 5):
        with pytest.raises(ValueError, match=f"cutoff must be 1 to 4, the layers of .*small.cfg, got {cutoff}"):
            load_darknet_weights(network, path, cutoff=cutoff)


EXPECTED = rf"expected {20 + TOTAL * 4} bytes \(20 of header and {TOTAL} floats\) for .*small\.cfg"
TEN_CLASSES = FIRST + SECOND + 15 * 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"bad\.weights: 0 bytes are no weights file; " + EXPECTED),
        (b"\0" * 11, "11 bytes are no weights file"),
        (NEW[:16], "16 bytes, .* too short.*" + EXPECTED),
        (NEW, rf"20 bytes, {TOTAL * 4} bytes too short: truncated or of another network; {EXPECTED}"),
        (NEW + counting().tobytes()[:-1], "423 bytes, 1 bytes too short and no whole number of floats: truncated"),
        (NEW + counting().tobytes() + b"\0", "425 bytes, 1 bytes too long and no whole number of floats"),
        (NEW + counting(TOTAL - 1).tobytes(), "4 bytes too short: truncated or of another network"),
        (NEW + counting(TOTAL + 1).tobytes(), "4 bytes too long: of another network"),
        (NEW + counting(FIRST + SECOND).tobytes(), r"exactly the first 2 layers of the network \(cutoff=2\)"),
        (NEW + counting(TEN_CLASSES).tobytes(), "160 bytes too long: the same network with 10 classes has this size"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 416, r"not a Darknet weights file: its header says version 1196314761\."),
        (struct.pack("<3i", 0, -1, 0) + b"\0" * 400, r"its header says version 0\.-1\.0; expected one such as 0\.2\.5"),
        (NEW + np.where(counting() == 50, np.nan, counting()).astype("<f4").tobytes(), "float 49 of 101 is nan"),
        (NEW + np.where(counting() == 101, np.inf, counting()).astype("<f4").tobytes(), "float 100 of 101 is inf"),
        (NEW + np.where(counting() == 8, -1, counting()).astype("<f4").tobytes(), r"layer 0 running_var would be neg"),
    ],
)
def test_refuses_and_changes_nothing(tmp_path: Path, config: DarknetConfig, content: bytes, message: str) -> None:
    path = tmp_path / "bad.weights"
    path.write_bytes(content)
    network = Darknet(config)
    before = snapshot(network)
    with pytest.raises(DarknetWeightsError, match=message):
        load_darknet_weights(network, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    if len(content) != 20 + TOTAL * 4:
        with pytest.raises(DarknetWeightsError, match=message):
            check_darknet_weights(config, path)


def test_a_whole_file_where_the_first_layers_are_expected(tmp_path: Path, config: DarknetConfig) -> None:
    path = tmp_path / "whole.weights"
    path.write_bytes(NEW + counting().tobytes())
    with pytest.raises(DarknetWeightsError, match=r"exactly all 4 layers of the network \(no cutoff\)"):
        check_darknet_weights(config, path, cutoff=2)


def test_no_such_file(tmp_path: Path, config: DarknetConfig) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.weights: no such weights file"):
        check_darknet_weights(config, tmp_path / "none.weights")
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        load_darknet_weights(Darknet(config), tmp_path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, config: DarknetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "kept.weights"
    path.write_bytes(b"old")

    def refuse(source: object, target: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        save_darknet_weights(Darknet(config), path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in folder.iterdir()] == ["kept.weights"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"seen": -1}, "seen does not fit"),
        ({"seen": 2**31, "version": (0, 1, 0)}, "seen does not fit into the header of version"),
        ({"version": (1000, 0, 0)}, "version must be below 1000"),
        ({"version": (0, -2, 0)}, "version must be below 1000"),
        ({"cutoff": 9}, "cutoff must be 1 to 4"),
    ],
)
def test_writes_no_file_that_could_not_be_read(
    tmp_path: Path, config: DarknetConfig, keywords: dict[str, object], message: str
) -> None:
    path = tmp_path / "none.weights"
    with pytest.raises(ValueError, match=message):
        save_darknet_weights(Darknet(config), path, **keywords)  # type: ignore[arg-type]
    assert not path.exists()


def sparse(path: Path, size: int) -> Path:
    """A file of a size, without the bytes."""
    with path.open("wb") as file:
        file.write(NEW)
        file.truncate(size)
    return path


def test_sizes_of_the_official_files(tmp_path: Path) -> None:
    config = DarknetConfig.load("darknet53_yolov3")
    whole = sparse(tmp_path / "yolov3.weights", 248_007_048)
    backbone = sparse(tmp_path / "darknet53.conv.74", 162_482_580)
    check_darknet_weights(config, whole)
    check_darknet_weights(config, backbone, cutoff=75)
    check_darknet_weights(config.with_classes(8), backbone, cutoff=75)
    with pytest.raises(DarknetWeightsError, match=r"162482580 bytes, 85524468 bytes too short.*\(cutoff=75\)"):
        check_darknet_weights(config, backbone)
    with pytest.raises(DarknetWeightsError, match="the same network with 80 classes has this size"):
        check_darknet_weights(config.with_classes(8), whole)


def test_published_files(shared_data: Path) -> None:
    folder = shared_data / "yolo_fastest_darknet"
    files = sorted(folder.glob("*/*.weights"))
    assert len(files) == 5
    for path in files:
        check_darknet_weights(DarknetConfig.load(path.with_suffix(".cfg")), path)
    coco = folder / "yolo-fastest-1.1_coco"
    with pytest.raises(
        DarknetWeightsError, match=r"yolo-fastest-1\.1-xl\.weights: 3693964 bytes, 2309696 bytes too long"
    ):
        check_darknet_weights(DarknetConfig.load(coco / "yolo-fastest-1.1.cfg"), coco / "yolo-fastest-1.1-xl.weights")
    body = folder / "yolo-fastest-1.1_body"
    config = DarknetConfig.load(coco / "yolo-fastest-1.1.cfg")
    with pytest.raises(DarknetWeightsError, match="too short: "):
        check_darknet_weights(config, body / "yolo-fastest-1.1_body.weights")
