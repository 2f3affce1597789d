"""What ``panoptic-ros evaluate`` says of input that cannot be evaluated, and that it then leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluating import COUNT, cut, invoke, load
from fake_pipeline import FakePipeline
from small_coco import CAR, ROAD, ids_of, write_dataset, write_ids, write_predictions
from typer.testing import CliRunner

from panoptic_ros.commands.main import app


def _predict(maps: dict[int, np.ndarray], **rest: Any) -> Callable[[Path, Path], Path]:
    return lambda data, folder: write_predictions(folder / "bad.json", maps, **rest)


def _whole() -> dict[int, np.ndarray]:
    return {index: ids_of(index) for index in range(COUNT)}


def _damaged(change: Callable[[Path, Path], None]) -> Callable[[Path, Path], Path]:
    """Good predictions, of which something is then changed, given their JSON and the data set."""

    def make(data: Path, folder: Path) -> Path:
        path = write_predictions(folder / "bad.json", _whole())
        change(path, data)
        return path

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_predict({**_whole(), 99: ids_of(0)}), "bad.json: predicts '000000000099', which the data set has not"),
        (_predict({index: ids_of(0) for index in (50, 51)}), "bad.json: predicts none of the 8 images"),
        (_predict({0: ids_of(0), 2: ids_of(2)}), "bad.json: has no prediction of '000000000001' and 5 more"),
        (_predict({**_whole(), 3: ids_of(3, 24, 40)}), "bad/000000000003.png: 000000000003: the prediction is 40x24"),
        (_predict(_whole(), score=float("nan")), "segment 7000: the score is nan; it must be in [0, 1]"),
        (_predict(_whole(), score=1.5), "segment 7000: the score is 1.5; it must be in [0, 1]"),
        (_predict({**_whole(), 2: np.full((24, 32), 99000)}), "segment 99000 is of category 99, which label set"),
        (
            _predict({index: np.full((24, 32), 23000) for index in range(COUNT)}),
            "bad.json: no class is both true and predicted: predicted are sky, true road, car;",
        ),
        (_damaged(lambda path, data: cut(path)), "bad.json: is no JSON"),
        (_damaged(lambda path, data: path.write_text("{}")), "key 'annotations' is missing"),
        (_damaged(lambda path, data: path.write_text("[]")), "bad.json: is no list of panoptic predictions"),
        (_damaged(lambda path, data: path.unlink()), "bad.json: is missing"),
        (_damaged(lambda path, data: cut(path.with_suffix("") / "000000000004.png")), "bad/000000000004.png: is no"),
        (_damaged(lambda path, data: (path.with_suffix("") / "000000000004.png").unlink()), "4.png: is missing"),
        (
            _damaged(lambda path, data: write_ids(path.with_suffix("") / "000000000004.png", ids_of(4) + 1)),
            "4.png: id 7001 is no segment of the image in bad.json",
        ),
        (
            _damaged(lambda path, data: write_ids(path.with_suffix("") / "000000000004.png", ids_of(4) * 0 + ROAD)),
            "4.png: has no pixel of segment 26001, which bad.json lists",
        ),
        (
            _damaged(lambda path, data: write_ids(data / "annotations/panoptic_val/000000000005.png", ids_of(5).T)),
            "000000000005.png: is 24x32, but panoptic_val.json says 32x24",
        ),
    ],
)
def test_bad_predictions(make: Callable[[Path, Path], Path], message: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--predictions", make(data, tmp_path), "--out", out, "--workers", 1)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not out.exists()


def test_stuff_in_two_segments(data: Path, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "bad.json", _whole())
    ids = ids_of(0)
    ids[0] = 12345
    write_ids(tmp_path / "bad" / "000000000000.png", ids)
    content = json.loads(predictions.read_text())
    content["annotations"][0]["segments_info"].append({"id": 12345, "category_id": 7})
    predictions.write_text(json.dumps(content))
    result = invoke("evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "000000000000.png: road is stuff in several segments" in result.stderr


def test_scores_and_arbitrary_ids_of_predictions(data: Path, tmp_path: Path) -> None:
    """Official results number segments as they like; a score orders them for average precision."""
    predictions = write_predictions(tmp_path / "p.json", _whole(), score=0.25)
    content = json.loads(predictions.read_text())
    for index, annotation in enumerate(content["annotations"]):
        numbers = {ROAD: 5, CAR: 70000}
        ids = ids_of(index)
        write_ids(tmp_path / "p" / annotation["file_name"], np.where(ids == CAR, numbers[CAR], numbers[ROAD]))
        for segment in annotation["segments_info"]:
            segment["id"] = numbers[segment["id"]]
    predictions.write_text(json.dumps(content))
    result = invoke(
        "evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / "out", "--metrics", "all"
    )
    assert result.exit_code == 0, result.output
    metrics = load(tmp_path / "out").metrics
    assert metrics.panoptic_quality is not None
    assert metrics.panoptic_quality.all is not None
    assert metrics.panoptic_quality.all.pq == 1
    assert metrics.average_precision is not None
    assert metrics.average_precision.masks.ap == pytest.approx(1)


def test_a_data_set_without_samples(pipeline: FakePipeline, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 0)
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "panoptic_val.json: has no samples" in result.stderr
    assert not (tmp_path / "out").exists()


def test_classes_that_have_nothing_in_common(pipeline: FakePipeline, tmp_path: Path) -> None:
    categories = [
        {"id": id_, "name": name, "isthing": 0, "color": [id_, 0, 0]} for id_, name in ((7, "soup"), (26, "bread"))
    ]
    data = write_dataset(tmp_path / "data", COUNT, categories)
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "'cityscapes', the truth of 'panoptic_val': no class in common" in result.stderr
    wrong = invoke("evaluate", "--data", data, "--model", "fake", "--mapping", "coco_to_cityscapes")
    assert wrong.exit_code == 1
    assert "is from 'coco' to 'cityscapes', but predictions are of 'cityscapes'" in wrong.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_whole(pipeline: FakePipeline, data: Path, tmp_path: Path) -> None:
    cut(data / "val" / "000000000006.png")
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out, "--submission")
    assert result.exit_code == 1
    assert "000000000006.png" in result.stderr
    assert not out.exists()
    cv2.imwrite(str(data / "val" / "000000000006.png"), np.zeros((5, 6, 3), np.uint8))
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out)
    assert "000000000006.png: the picture is 6x5, but its labels are 32x24" in result.stderr


def test_a_failure_leaves_an_earlier_evaluation_as_it_was(data: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke("evaluate", "--data", data, "--predictions", truth, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "truth" / "000000000007.png").unlink()
    assert invoke("evaluate", "--data", data, "--predictions", truth, "--out", out).exit_code == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --model or --predictions"),
        (["--model", "a", "--predictions", "b.json"], "expected either --model or --predictions"),
        (["--predictions", "b.json", "--submission"], "are for a --model"),
        (["--model", "a", "--metrics", "pq"], "--metrics: pq: expected all or some of panoptic_quality"),
        (["--model", "a", "--rule", "mine"], "--rule: mine: expected one of coco, cityscapes, void_in_union"),
    ],
)
def test_arguments_that_are_none(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", str(tmp_path), *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_model_that_is_not_there(data: Path, tmp_path: Path) -> None:
    result = invoke("evaluate", "--data", data, "--model", "nothing", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "nothing.yaml: no such file" in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(data: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fake_pipeline import FakePipeline\n"
        "from panoptic_ros.commands import evaluate, main\n"
        "from panoptic_ros.evaluation.document import ModelDescription\n"
        "described = ModelDescription('fake', '', '', 'torch', 'cpu', 'fp32', ())\n"
        "evaluate.load_network = lambda *_: (described, FakePipeline())\n"
        "main.main()"
    )
    out = tmp_path / "out"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", program, "evaluate", "--data", data, "--model", "fake", "--out", out, "--submission"],
        env=os.environ | {"FAKE_SECONDS": "1.5", "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 200
    while not list(out.rglob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "interrupted: nothing is written\n"
    assert not out.exists()


# --- comparing
