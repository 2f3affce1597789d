"""``replay --grid`` and ``evaluate-bag --grid`` as a user runs them, on a bag made by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_pipeline import FakePipeline
from typer.testing import CliRunner, Result

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))

from bag_cases import CITYSCAPES, TYPES
from grid_street import CELL, write_street

from panoptic_ros.bags import bag_messages, bag_topics
from panoptic_ros.commands import evaluate_grid, replay, replay_grid
from panoptic_ros.commands.main import app
from panoptic_ros.evaluation.document import ModelDescription
from panoptic_ros.messages.topics import GRID_TOPICS
from panoptic_ros.segmentation import PanopticSegmentation


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "street.mcap", 1.0)


FEW = ("--grid-topics-out", "semantic_grid,points")


class Seeing(FakePipeline):
    """A network that knows what its images are painted in: the street's pictures have the classes' colours."""

    def segment(self, image: np.ndarray, confidence: bool) -> PanopticSegmentation:
        ids = np.zeros(image.shape[:2], np.int32)
        for label in CITYSCAPES.labels:
            painted = (image == label.color).all(axis=2)
            ids[painted] = label.id * 1000 + label.is_thing
        seen = PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids)
        return PanopticSegmentation(seen.ids, seen.segments, np.full(ids.shape, 255, np.uint8))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Seeing:
    seeing = Seeing()
    described = ModelDescription("seeing", "", "", "torch", "cpu", "fp32", ())
    monkeypatch.setattr(replay, "_load", lambda *_: seeing)
    monkeypatch.setattr(evaluate_grid, "load_network", lambda *_: (described, seeing))
    return seeing


def figures(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "grid.json").read_text())
    return content


def test_grids_are_measured_by_input(street: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("evaluate-bag", street, "--grid", "--grid-labels", "truth", "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in out.iterdir()) == [
        "grid.json",
        "grid_camera.png",
        "grid_depth.png",
        "grid_lidar.png",
    ]
    content = figures(out)
    assert list(content["grids"]) == ["lidar", "depth", "camera"]
    assert (content["labels_from"], content["truth_resolution"], content["options"]["resolution"]) == (
        "truth",
        CELL,
        CELL,
    )
    lidar = content["grids"]["lidar"]
    assert lidar["inputs"] == ["lidar"]
    assert lidar["moments"] == 3
    assert lidar["cells"]["mean_iou"] > 0.9
    line = next(line for line in result.stdout.splitlines() if line.startswith("mIoU of classes"))
    means = [grid["cells"]["mean_iou"] for grid in content["grids"].values()]
    assert line.split()[-3:] == [f"{100 * mean:.1f}" for mean in means]
    assert cv2.imread(str(out / "grid_lidar.png")).shape[1] > 1900


def test_a_network_can_label_the_grid(street: Path, tmp_path: Path, network: Seeing) -> None:
    """One that is never wrong makes the grid of the true labels, and so do its predictions in the bag."""
    chosen = ("--grid", "--grid-input", "lidar+depth", "--grid-input", "lidar")
    runs = {"truth": ("--grid-labels", "truth"), "model": ("--model", "seeing"), "predictions": ()}
    found = {}
    for name, options in runs.items():
        assert run("evaluate-bag", street, *chosen, *options, "--out", tmp_path / name).exit_code == 0
        found[name] = figures(tmp_path / name)
        assert found[name]["labels_from"] == name
    assert list(found["truth"]["grids"]) == ["lidar+depth", "lidar"]
    assert found["model"]["grids"] == found["truth"]["grids"] == found["predictions"]["grids"]
    assert found["model"]["model"]["name"] == "seeing"


def test_an_earlier_evaluation_of_images_stays(street: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{}")
    options = ("--grid", "--grid-labels", "truth", "--grid-input", "lidar", "--out", tmp_path)
    assert run("evaluate-bag", street, *options).exit_code == 0
    assert (tmp_path / "evaluation.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (("--grid-labels", "best"), 2, "--grid-labels: best: expected predictions or truth"),
        (("--grid-cells", "big"), 2, "--grid-cells: big: expected truth or config"),
        (("--grid-input", "radar"), 2, "--grid-input: radar: expected lidar, depth, camera"),
        (("--grid-labels", "truth", "--model", "seeing"), 2, "expected either --model or --grid-labels truth"),
        (("--grid-config", "none"), 1, "config/grid/none.yaml: no such file"),
        (("--grid-confusion", "none.json"), 1, "none.json"),
        (("--grid-extrinsics", "none.yaml"), 1, "none.yaml"),
    ],
)
def test_wrong_options_are_named(
    options: tuple[str, ...], status: int, expected: str, street: Path, tmp_path: Path, network: Seeing
) -> None:
    result = run("evaluate-bag", street, "--grid", *options, "--out", tmp_path / "out")
    assert result.exit_code == status, result.output
    assert expected in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_replay_writes_what_the_node_would(street: Path, tmp_path: Path, network: Seeing) -> None:
    out, video = tmp_path / "out.mcap", tmp_path / "grid.mp4"
    result = run("replay", street, out, "--grid", "--grid-video", video)
    assert result.exit_code == 0, result.output
    assert "grid of lidar+depth: 22 times" in result.stdout
    topics = bag_topics(out)
    made = {
        topic.removeprefix("/semantic_grid_node/"): one for topic, one in topics.items() if "semantic_grid" in topic
    }
    grid_map = {"grid_map"} if TYPES.has(GRID_TOPICS["grid_map"]) else set()
    assert made.keys() - {"semantic_grid"} >= GRID_TOPICS.keys() - {"grid_map", "semantic_grid"} | grid_map
    assert {one.messages for name, one in made.items() if name != "label_info"} == {22}
    assert made["label_info"].messages == 1
    assert topics["/panoptic_node/panoptic"].messages == 11
    assert {name: topic.kind for name, topic in made.items()}.items() <= {
        **GRID_TOPICS,
        "label_info": "vision_msgs/msg/LabelInfo",
    }.items()
    last = list(bag_messages(out, ["/semantic_grid_node/nav_grid"]))[-1].content
    cells = np.asarray(last.data).reshape(last.info.height, last.info.width)
    assert set(np.unique(cells)) == {-1, 0, 100}
    wall = round((14.1 - last.info.origin.position.x) / last.info.resolution - 0.5)
    row = round(-last.info.origin.position.y / last.info.resolution)
    assert 100 in cells[row, wall - 1 : wall + 2]
    assert (cells[row, wall - 15 : wall - 3] == 0).all()
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 11
    assert all(capture.read()[1][:, :960].std() > 10 for _ in range(11))  # the camera is seen in each


def test_a_grid_of_true_labels(street: Path, tmp_path: Path, network: Seeing) -> None:
    """The same as of a network that is never wrong, message by message."""
    contents = []
    for name, options in (("network", ()), ("truth", ("--grid-labels", "truth"))):
        out = tmp_path / f"{name}.mcap"
        given = ("--grid", "--grid-input", "lidar", *FEW, "--topics-out", "panoptic", *options)
        assert run("replay", street, out, *given).exit_code == 0
        grids = bag_messages(out, ["/semantic_grid_node/semantic_grid", "/semantic_grid_node/points"])
        contents.append(
            [(m.topic, m.log_time, bytes(TYPES.store.serialize_cdr(m.content, m.content.__msgtype__))) for m in grids]
        )
    assert len(contents[0]) == 22
    assert sorted(contents[0]) == sorted(contents[1])


def test_an_interrupted_grid_is_made_anew(
    street: Path, tmp_path: Path, network: Seeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the network does not run again."""
    whole, out = tmp_path / "whole.mcap", tmp_path / "out.mcap"
    assert run("replay", street, whole, "--grid", *FEW).exit_code == 0
    real, calls = replay_grid.grid_messages, []

    def interrupted(*arguments: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(replay_grid, "grid_messages", interrupted)
    result = run("replay", street, out, "--grid", *FEW)
    assert (result.exit_code, out.exists()) == (130, False)
    assert "resume with the same command" in result.stderr
    network.segment = None  # type: ignore[assignment, method-assign]
    assert run("replay", street, out, "--grid", *FEW).exit_code == 0
    topics = [f"/semantic_grid_node/{topic}" for topic in ("semantic_grid", "points")]
    for one, other in zip(bag_messages(whole, topics), bag_messages(out, topics), strict=True):
        kind = one.content.__msgtype__
        assert (one.topic, one.log_time) == (other.topic, other.log_time)
        assert TYPES.store.serialize_cdr(one.content, kind) == TYPES.store.serialize_cdr(other.content, kind)


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        (
            ("--grid", "--topics-out", "semantic"),
            2,
            "--grid is built from panoptic, which has to be among --topics-out",
        ),
        (("--grid", "--grid-topics-out", "map"), 2, "--grid-topics-out: map: expected some of occupancy"),
        (("--grid", "--grid-video", "grid.avi"), 2, "--grid-video: grid.avi: expected a name that ends in .mp4"),
        (("--grid-input", "lidar"), 2, "are for --grid"),
        (("--grid", "--grid-input", "sonar"), 2, "--grid-input: sonar: expected lidar, depth, camera"),
        (("--grid", "--grid-confusion", "none.json"), 1, "none.json: no such file"),
    ],
)
def test_wrong_options_of_replay_are_named(
    options: tuple[str, ...], status: int, expected: str, street: Path, tmp_path: Path, network: Seeing
) -> None:
    result = run("replay", street, tmp_path / "out.mcap", *options)
    assert result.exit_code == status, result.output
    assert expected in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_grid_needs_a_bag(tmp_path: Path, network: Seeing) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((8, 8, 3), np.uint8))
    result = run("replay", folder, tmp_path / "out.mcap", "--grid")
    assert (result.exit_code, "is no bag" in result.stderr) == (1, True)
