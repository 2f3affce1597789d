"""``panoptic-ros data`` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from panoptic_ros.commands.main import app
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import Cityscapes, CocoPanoptic, DatasetFolder, LabelledFrame

LABELS = LabelSet.load("cityscapes")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)], env={"COLUMNS": "200"})


def make(folder: Path, count: int = 3, split: str = "val", layout: type = Cityscapes) -> None:
    with DatasetFolder(folder, layout(split, LABELS), {"seed": "0"}) as dataset:
        for index in range(count):
            ids = np.full((48, 64), 23000, np.int32)
            ids[24:] = 7000
            ids[20:40, 8:30] = 26001
            ids[20:40, 40:50] = 24002
            image = np.full((48, 64, 3), 10 * index % 256, np.uint8)
            value = PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
            dataset.files.write(LabelledFrame(index, "camera", 1, index, image, value))
        dataset.finish(count)


def test_a_good_data_set(tmp_path: Path) -> None:
    make(tmp_path)
    result = run("check", tmp_path, "--workers", 1)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{tmp_path} val: cityscapes, labels cityscapes"
    assert lines[1] == "3 samples, 3 with labels that can be read; 64x48 (3)"
    assert "26  car     thing         3         3       0  14.32 %" in lines  # 440 of 3072 pixels
    assert lines[-1] == "errors: 0, warnings: 0"
    assert not result.stderr


def test_an_error_is_said_with_its_file_and_ends_with_one(tmp_path: Path) -> None:
    make(tmp_path)
    picture = tmp_path / "leftImg8bit/val/camera/camera_000001_000001_leftImg8bit.png"
    picture.unlink()
    result = run("check", tmp_path, "--workers", 2)
    assert result.exit_code == 1
    assert f"error: {picture}: is missing" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1] == "errors: 1, warnings: 0"


def test_warnings_alone_end_with_nought(tmp_path: Path) -> None:
    make(tmp_path)
    extra = tmp_path / "leftImg8bit/val/camera/camera_000009_000009_leftImg8bit.png"
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(extra)
    result = run("check", tmp_path, "--workers", 1)
    assert result.exit_code == 0
    assert f"warning: {extra}: has no labels" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1] == "errors: 0, warnings: 1"


def test_all_splits_are_checked_or_the_one_that_is_wanted(tmp_path: Path) -> None:
    make(tmp_path, 1, "val")
    make(tmp_path, 2, "train")
    both = run("check", tmp_path, "--workers", 1).stdout
    assert f"{tmp_path} train: " in both
    assert f"{tmp_path} val: " in both
    one = run("check", tmp_path, "--workers", 1, "--split", "train").stdout
    assert f"{tmp_path} val: " not in one
    assert "2 samples" in one


def test_the_same_fault_a_hundred_times_is_counted(tmp_path: Path) -> None:
    make(tmp_path, 30)
    for path in tmp_path.glob("leftImg8bit/val/*/*.png"):
        path.unlink()
    result = run("check", tmp_path, "--workers", 1)
    assert sum(line.startswith("error: ") for line in result.stdout.splitlines()) == 20
    assert "and 10 more: is missing" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1] == "errors: 30, warnings: 0"
    every = run("check", tmp_path, "--workers", 1, "--every-fault")
    assert sum(line.startswith("error: ") for line in every.stdout.splitlines()) == 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "{tmp}/no"), "is no folder"),
        (("check", "{tmp}"), "is no data set that is known; looked for"),
        (("check", "{tmp}", "--kind", "kitty"), "kind 'kitty' is none of auto"),
        (("check", "{tmp}/set", "--labels", "no_such"), "labels that come with panoptic_ros"),
        (("check", "{tmp}/set", "--split", "test"), "has no split 'test', but train, val"),
        (("view", "{tmp}/set", "--out", "{tmp}/a.jpg"), "one of them must be chosen"),
        (("view", "{tmp}/set", "--split", "val", "--out", "{tmp}/a.gif"), "expected a name that ends in .jpg"),
        (("view", "{tmp}/set", "--split", "val", "--out", "{tmp}/no/a.jpg"), "No such file"),
    ],
)
def test_errors_of_the_user_are_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    make(tmp_path / "set", 1, "val")
    make(tmp_path / "set", 1, "train")
    result = run(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 1, result.output
    assert (result.stderr.count("\n"), result.stderr.startswith("error: ")) == (1, True)
    assert said in result.stderr
    assert not list(tmp_path.glob("*.jpg"))


def test_a_data_set_of_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    assert run("check", path, "--labels", "coco").exit_code == 1
    result = run("view", path, "--labels", "coco", "--out", tmp_path / "a.jpg")
    assert (result.exit_code, "has no samples" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    [(4, 2, (2 * (75 + 24 + 8), 2 * (208 + 8) + 8)), (1, 3, (75 + 24 + 8, 208 + 8 + 8)), (3, 3, (107, 3 * 216 + 8))],
)
def test_a_contact_sheet(tmp_path: Path, count: int, columns: int, size: tuple[int, int]) -> None:
    """Cells of 100 + 8 + 100 by 75 + 24 pixels, 8 apart."""
    make(tmp_path / "set", 5, layout=CocoPanoptic)
    out = tmp_path / "sheet.png"
    result = run("view", tmp_path / "set", "--out", out, "--count", count, "--columns", columns, "--width", 100)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{out}: {count} of 5 samples"
    sheet = cv2.imread(str(out))
    assert sheet.shape == (*size, 3)
    picture, truth = sheet[8 : 8 + 75, 8:108], sheet[8 : 8 + 75, 116:216]
    assert np.abs(picture.astype(int)).max() <= 2  # the first picture is black
    sky = np.array(LABELS.colors[23][::-1]) // 2
    assert np.abs(truth[30, 50].astype(int) - sky).max() <= 2
    assert (sheet[:8] == 255).all()


def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    make(tmp_path, 400)
    for path in tmp_path.glob("leftImg8bit/val/*/*.png"):
        path.unlink()  # so that something is said while it works
    script = "from panoptic_ros.commands.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "data", "check", str(tmp_path), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches all processes of a terminal
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=200)  # which waits for the workers too: they hold its pipes
    assert process.returncode == 130, errors
    assert errors.startswith("interrupted after ")
    assert errors.count("\n") == 1
