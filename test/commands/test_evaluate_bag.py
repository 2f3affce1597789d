"""``panoptic-ros evaluate-bag`` as a user runs it."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_pipeline import FakePipeline
from typer.testing import CliRunner, Result

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))

from bag_cases import CITYSCAPES, PERIOD, START, Bag, random_ids, value
from evaluation_cases import perturbed

from panoptic_ros.commands import evaluate_bag
from panoptic_ros.commands.main import app
from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.document import EvaluationDocument, ModelDescription
from panoptic_ros.evaluation.metrics import Metrics


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate-bag", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Eight truths and images of a camera, and predictions for all but the third, 80 ms later."""
    generator = np.random.default_rng(0)
    path = tmp_path / "drive.mcap"
    with Bag(path) as made:
        made.labels("/truth")
        made.labels("/panoptic_node")
        for index in range(8):
            stamp, truth = START + index * PERIOD, random_ids(generator)
            made.picture(
                "/front/image_raw", stamp, np.where(truth[..., None] // 1000 == 26, 200, 30).repeat(3, 2).astype("u1")
            )
            made.ids("/truth/front/panoptic", stamp, truth)
            if index != 2:
                made.ids(
                    "/panoptic_node/front/panoptic", stamp, perturbed(truth, CITYSCAPES, generator), delay=80_000_000
                )
    return path


class Cells(HTMLParser):
    """The rows of all tables of a page, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [str(text) for name, text in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data.strip()


def table(text: str, first: str) -> list[str]:
    """The cells of the line of a printed table that begins so."""
    return next(line for line in text.splitlines() if line.startswith(first)).removeprefix(first).split()


def test_tables_document_and_report_say_the_same(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(bag, "--out", out)
    assert result.exit_code == 0, result.output
    document = EvaluationDocument.load(out / "evaluation.json")
    assert (document.source.kind, document.source.images, document.model) == ("bag", 7, None)
    assert document.recording is not None
    (camera,) = document.recording["cameras"]
    assert camera["unmatched_truths"] == camera["dropped"] == [START + 2 * PERIOD]
    assert camera["latency"] == {"p50": 0.08, "p99": 0.08, "max": 0.08}
    pq = document.metrics.panoptic_quality.all.pq
    assert camera["quality"]["pq_all"] == pq > 0
    assert table(result.stdout, "front")[:2] == ["7", f"{100 * pq:.1f}"]
    assert table(result.stdout, "images without a prediction") == ["1"]
    assert table(result.stdout, "latency p50 (ms)") == ["80.0"]
    assert "front: no prediction for 1700000000.200000000" in result.stdout
    page = Cells()
    page.feed((out / "report.html").read_text())
    assert ["front", "7", f"{100 * pq:.1f}"] in [row[:3] for row in page.rows]
    assert ["latency p50 (ms)", "80.0"] in page.rows
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert (out / "confusion.json").is_file()


def test_a_network_on_the_images_of_a_bag(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By brightness, so that cars are found: the same figures as of its answers to the same frames."""
    described = ModelDescription("fake", "", "", "torch", "cpu", "fp32", ("everything",))
    monkeypatch.setattr(evaluate_bag, "load_network", lambda *_: (described, FakePipeline()))
    result = run(bag, "--model", "fake", "--out", tmp_path / "out", "--metrics", "panoptic_quality,calibration")
    assert result.exit_code == 0, result.output
    document = EvaluationDocument.load(tmp_path / "out" / "evaluation.json")
    expected = Metrics(CITYSCAPES, ("panoptic_quality", "calibration"))
    generator, pipeline = np.random.default_rng(0), FakePipeline()
    for index in range(8):
        truth = random_ids(generator)
        if index != 2:
            perturbed(truth, CITYSCAPES, generator)  # as the bag was made, for the same random numbers
        image = np.where(truth[..., None] // 1000 == 26, 200, 30).repeat(3, 2).astype("u1")
        expected.update(str(index), pipeline([image], confidence=True)[0], Truth(value(truth)))
    assert document.metrics.to_json() == expected.result().to_json()
    assert document.seconds is not None
    assert document.seconds["network"].images == 7
    assert "Untrained" in result.output
    assert document.recording is not None
    assert document.recording["cameras"][0]["predictions"] is None


def test_instances_are_followed_through_the_drive(tmp_path: Path) -> None:
    """By the ids in the messages: half way, two cars are taken for each other."""
    ids = np.full((24, 40), 7000, dtype=np.int32)
    ids[4:12, 4:16], ids[4:12, 20:32] = 26001, 26002
    swapped = ids.copy()
    swapped[ids == 26001], swapped[ids == 26002] = 26002, 26001
    expected = Metrics(CITYSCAPES, ("video",))
    with Bag(tmp_path / "drive.mcap") as made:
        made.labels("/truth")
        made.labels("/panoptic_node")
        for index in range(8):
            answer = ids if index < 4 else swapped
            made.ids("/truth/front/panoptic", START + index * PERIOD, ids)
            made.ids("/panoptic_node/front/panoptic", START + index * PERIOD, answer)
            expected.update(str(index), value(answer), Truth(value(ids), sequence="front", frame=index))
    result = run(tmp_path / "drive.mcap", "--metrics", "video", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    video = EvaluationDocument.load(tmp_path / "out" / "evaluation.json").metrics.video
    assert video is not None
    assert video == expected.result().video
    # Each car of the truth shares half of its tube with each of the two predicted ones, whose IoU is 1/3 with it.
    assert video.tracking.association == pytest.approx(2 * 0.5 * (1 / 3))
    assert video.tracking.segmentation == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--truth", "/nothing"], "drive.mcap: --truth: no sensor_msgs/msg/Image on /nothing"),
        (["--metrics", "average_precision"], "drive.mcap: /panoptic_node/front/instances: nothing of 1700000000"),
        (["--mapping", "coco_to_cityscapes"], "the mapping coco_to_cityscapes is from 'coco' to 'cityscapes'"),
        (["--model", "nothing"], "nothing.yaml: no such file"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(arguments: list[str], words: str, bag: Path, tmp_path: Path) -> None:
    result = run(bag, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1, result.output
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_a_truncated_bag_leaves_an_earlier_evaluation_as_it_was(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(bag, "--out", out).exit_code == 0
    before: dict[str, Any] = {file.name: file.read_bytes() for file in out.iterdir()}
    bag.write_bytes(bag.read_bytes()[:-300])
    result = run(bag, "--out", out)
    assert result.exit_code == 1
    assert f"{bag}: cannot be read as a bag; is it truncated?" in " ".join(result.stderr.split())
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert json.loads(before["evaluation.json"])["source"]["kind"] == "bag"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--weights", "a"],
        ["--model", "a", "--predictions", "/b"],
        ["--metrics", "quality"],
        ["--tolerance", "-1"],
        ["--rule", "x"],
    ],
)
def test_arguments_that_contradict_each_other_end_with_2(arguments: list[str], bag: Path) -> None:
    assert run(bag, *arguments).exit_code == 2
