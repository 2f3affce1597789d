"""``panoptic-ros benchmark`` on a tiny input, and what it says of what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from panoptic_ros.commands import benchmark as command
from panoptic_ros.commands.main import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["benchmark", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def no_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "panoptic_ros.nodes.audience", None)  # importing it then fails


@pytest.mark.usefixtures("no_ros")
def test_every_combination_is_measured_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    code, said = run(
        *("--engine", "torch", "--size", "64x64,96x64", "--batch", "1", "--batch", "2", "--precision", "fp32,fp16"),
        *("--device", "cpu", "--rounds", "2", "--warmup", "0", "--out", str(out)),
    )
    assert code == 0, said
    figures = json.loads(out.read_text())
    sizes = [(one["width"], one["height"], one["batch"]) for one in figures["variants"]]
    assert sizes == [(64, 64, 1), (64, 64, 2), (96, 64, 1), (96, 64, 2)]
    assert [one["name"].split()[1] for one in figures["skipped"]] == ["fp16"] * 4
    assert said.count("left out: torch fp16") == 4
    assert "publishing is not measured" in said
    assert all("publish" not in one["stages"] for one in figures["variants"])
    assert figures["frames"]["source"] == "a drawn street"
    for one in figures["variants"]:
        assert said.count(one["name"]) >= 3


@pytest.mark.usefixtures("no_ros")
def test_models_go_side_by_side_whatever_their_label_sets(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    code, said = run(
        *("--model", "yolo_panoptic_small", "--model", "yolo_panoptic_small_camvid", "--engine", "torch"),
        *("--size", "64x64", "--device", "cpu", "--rounds", "2", "--warmup", "0", "--out", str(out)),
    )
    assert code == 0, said
    one, two = json.loads(out.read_text())["variants"]
    assert (one["name"], one["model"]) == ("yolo_panoptic_small torch fp32 64x64", "yolo_panoptic_small")
    assert (two["name"], two["model"]) == ("yolo_panoptic_small_camvid torch fp32 64x64", "yolo_panoptic_small_camvid")
    assert one["result_ratio_to_first"] == 1.0
    assert one["gflop_per_frame"] > two["gflop_per_frame"] > 0.0  # which has no detector
    assert "instance_head" in one["untrained"]
    assert "instance_head" not in two["untrained"]
    assert "yolo_panoptic_small, its own or random weights; yolo_panoptic_small_camvid, its own" in said


def test_models_are_called_by_their_files_names_or_by_their_paths() -> None:
    assert command._titles(["runs/a/int8.xml"]) == [""]
    assert command._titles(["small", "runs/int8.xml"]) == ["small", "int8"]
    assert command._titles(["a/int8.xml", "b/int8.xml"]) == ["a/int8.xml", "b/int8.xml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "640"], ["--size 640", "640x384"]),
        (["--size", "100x64", "--engine", "torch"], ["100 and", "multiples of 32", "none of 1 variants"]),
        (["--batch", "0"], ["--batch 0", "1 or more"]),
        (["--engine", "abacus"], ["'abacus'", "torch"]),
        (["--frames", "/no/such/folder"], ["/no/such/folder", "no such file"]),
        (["--model", "nothing", "--engine", "torch"], ["nothing"]),
        (["--model", "a,b", "--weights", "c.safetensors"], ["--weights c.safetensors", "there are 2"]),
    ],
)
def test_bad_input_is_named(arguments: list[str], words: list[str]) -> None:
    code, said = run("--device", "cpu", *arguments)
    assert code == 1
    said = " ".join(said.split())
    for word in words:
        assert word.replace("100 and", "and 100") in said or word in said, said


def test_values_are_given_between_commas_or_repeated() -> None:
    assert command._values(["a, b", "c", "a"]) == ["a", "b", "c"]
    assert command._values(None) == []
