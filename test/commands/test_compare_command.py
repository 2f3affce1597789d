"""``panoptic-ros compare`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

from evaluating import COUNT, cut, invoke
from small_coco import ROAD, ids_of, write_predictions


def test_comparing(data: Path, truth: Path, tmp_path: Path) -> None:
    worse = {index: ids_of(index) for index in range(COUNT)}
    for ids in worse.values():
        ids[:, 18:] = ROAD  # a part of the car is missed
    paths = []
    for name, predictions in (("a", write_predictions(tmp_path / "worse.json", worse)), ("b", truth)):
        invoke("evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / name)
        paths.append(tmp_path / name / "evaluation.json")
    result = invoke("compare", *paths, "--out", tmp_path / "comparison.json", "--resamples", 500)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "comparison.json").read_text())
    car = next(row for row in content["per_class"] if row["name"] == "car")
    line = next(line.split() for line in result.stdout.splitlines() if line.startswith("car "))
    assert line[:4] == ["car", f"{100 * car['a']:.1f}", "100.0", f"{100 * (1 - car['a']):+.1f}"]
    assert line[-4:] == ["8", "B", "is", "better"]
    assert 0 < car["low"] < 1 - car["a"] < car["high"]
    assert "mIoU" in result.stdout
    assert "500 draws of 8 images" in " ".join(result.stdout.split())


def test_what_is_not_compared(data: Path, truth: Path, tmp_path: Path) -> None:
    for name, limit in (("a", 8), ("b", 6)):
        invoke("evaluate", "--data", data, "--predictions", truth, "--out", tmp_path / name, "--limit", limit)
    a, b = tmp_path / "a" / "evaluation.json", tmp_path / "b" / "evaluation.json"
    result = invoke("compare", a, b)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{a} (A) and {b} (B) cannot be compared: the images are not the same" in result.stderr
    assert "000000000006, 000000000007 only in A" in result.stderr
    cut(b)
    assert f"error: {b}: is no whole JSON" in invoke("compare", a, b).stderr
    assert "No such file" in invoke("compare", a, tmp_path / "c.json").stderr
    assert "is no document of an evaluation" in invoke("compare", a, tmp_path / "a" / "confusion.json").stderr
