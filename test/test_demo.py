"""The demo: a drive goes to the live node as it was recorded, and what comes back is all there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = REPOSITORY / "demo"
if not DEMO.is_dir():
    pytest.skip("needs demo/, which is only in a checkout", allow_module_level=True)
sys.path[:0] = [str(DEMO), str(REPOSITORY / "test" / "training")]

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from exchange import DemoError  # noqa: E402
from inputs import DriveInput  # noqa: E402
from mcap.reader import make_reader  # noqa: E402
from mcap_ros2.decoder import DecoderFactory  # noqa: E402
from peer import Record  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from stamps import header_stamp, with_header_stamp  # noqa: E402
from worlds import make_world  # noqa: E402

from panoptic_ros.bags import BagWriter  # noqa: E402
from panoptic_ros.datasets.dataset import Truth  # noqa: E402
from panoptic_ros.evaluation.document import EvaluationDocument  # noqa: E402
from panoptic_ros.evaluation.metrics import Metrics  # noqa: E402
from panoptic_ros.labels import LabelSet  # noqa: E402
from panoptic_ros.messages import BagMessageTypes  # noqa: E402
from panoptic_ros.recording import Recording  # noqa: E402
from panoptic_ros.segmentation import PanopticSegmentation  # noqa: E402
from panoptic_training.synthetic.bag import LATCHED  # noqa: E402
from panoptic_training.synthetic.mounts import CameraMount, Lens, LidarMount  # noqa: E402
from panoptic_training.synthetic.production import DrivePlan  # noqa: E402
from panoptic_training.synthetic.rig import Rig, TruthSettings  # noqa: E402

CAMERAS = ("front", "rear")
LENS = Lens(96, 64, 70.0)
RIG = Rig(
    cameras=(
        CameraMount("front", (1.0, 0.0, 1.5), lens=LENS),
        CameraMount("rear", (-1.0, 0, 1.5), (0, 0, 180.0), lens=LENS),
    ),
    lidars=(LidarMount("roof", (0.0, 0.0, 1.9), rings=16, steps=360),),
    truth=TruthSettings(rate=10.0),
)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drive") / "drive.mcap"
    plan = DrivePlan(make_world, RIG, seed=3, duration=1.0)
    with Recording(path, BagMessageTypes(), {}, LATCHED) as recording:
        make = plan.maker(lambda: None)
        for part in range(plan.parts):
            recording.add(make(part))
        recording.finish()
    return path


def read(path: Path) -> dict[str, list[Any]]:
    """The messages on each topic, by a reader of MCAP that is not ours."""
    found = defaultdict(list)
    with path.open("rb") as file:
        for _, channel, _, content in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages():
            found[channel.topic].append(content)
    return found


def stamps(found: list[Any]) -> np.ndarray:
    return np.array([message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in found])


def of_messages(found: dict[str, list[Any]]) -> Metrics:
    """What is measured of the frames in a recording, from the bytes of their messages alone."""
    labels = LabelSet.load("cityscapes")
    metrics = Metrics(labels)

    def value(message: Any) -> PanopticSegmentation:
        ids = np.frombuffer(bytes(message.data), "<i4").reshape(message.height, message.width)
        return PanopticSegmentation.from_ids(ids.astype(np.int32), labels.thing_ids)

    for name in CAMERAS:
        truths = found[f"/truth/{name}/panoptic"]
        by_stamp = dict(zip(stamps(truths), truths, strict=True))
        answers = found[f"/panoptic_node/{name}/panoptic"]
        for stamp, answer in zip(stamps(answers), answers, strict=True):
            metrics.update(f"{name} {stamp}", value(answer), Truth(value(by_stamp[stamp])))
    return metrics


@pytest.fixture(scope="module")
def played(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the demo of the drive has written, and what it said."""
    out = tmp_path_factory.mktemp("demo")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(DEMO / "run.py"), "--drive", str(drive), "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def test_the_live_node_answers_a_drive(drive: Path, played: tuple[Path, str]) -> None:
    out, _ = played
    figures = json.loads((out / "latency.json").read_text())
    original, recorded = read(drive), read(out / "demo.mcap")
    for name in CAMERAS:
        sent = original[f"/{name}/image_raw/compressed"]
        counts = figures[name]
        assert counts["frames sent"] == len(sent) == 11
        # Images go best effort: DDS may lose some on a busy machine, and what it loses the node never receives.
        assert 0 < counts["frames received by the node"] <= len(sent)
        lost = sum(count for key, count in counts.items() if key.startswith("dropped"))
        assert counts["frames processed"] + lost == counts["frames received by the node"]
        images = recorded[f"/{name}/image_raw/compressed"]
        assert [message.data for message in images] == [message.data for message in sent]
        shift = stamps(images) - stamps(sent)
        assert (shift == shift[0]).all()  # time passes as it did
        truths = recorded[f"/truth/{name}/panoptic"]
        assert [message.data for message in truths] == [message.data for message in original[f"/truth/{name}/panoptic"]]
        assert (stamps(truths) == stamps(images)).all()
        answers = recorded[f"/panoptic_node/{name}/panoptic"]
        assert len(answers) == counts["frames processed"] == counts["overlays received"]
        assert set(stamps(answers)) <= set(stamps(images))
        assert {(message.height, message.width) for message in answers} == {(64, 96)}
    sheet = cv2.imread(str(out / "overlay.png"))
    assert sheet.shape[1] == 3 * 640
    assert cv2.VideoCapture(str(out / "overlay.mp4")).read()[1].shape == (64, 2 * 96, 3)


def test_its_quality_is_that_of_the_frames_it_recorded(played: tuple[Path, str]) -> None:
    """However many frames of the drive reached the node."""
    out, said = played
    recorded = read(out / "demo.mcap")
    document = EvaluationDocument.load(out / "evaluation.json")
    assert document.metrics.to_json() == of_messages(recorded).result().to_json()
    assert "How good it was, against the drive's truth" in said
    for name in CAMERAS:
        frames = sum(one.startswith(f"{name}/") for one in document.names)
        assert frames == len(recorded[f"/panoptic_node/{name}/panoptic"]) > 0
        assert re.search(rf"│ {name} +│ +{frames} │", said)


def cells(message: Any) -> np.ndarray:
    return np.array(message.data, np.int8).reshape(message.info.height, message.info.width)


def places(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of a grid's cells are: x and y, (H, W) each."""
    info = message.info
    x, y = (
        begin + (np.arange(count) + 0.5) * np.round(info.resolution, 6)
        for begin, count in ((info.origin.position.x, info.width), (info.origin.position.y, info.height))
    )
    return np.meshgrid(x, y)


def true_cells(truth: Any, x: np.ndarray, y: np.ndarray, reach: float = 0.0) -> np.ndarray:
    """What is true at places; with `reach`, occupied is what is so within that many metres along an axis, too."""
    padded = np.pad(cells(truth), 400, constant_values=-1)
    cell = np.round(truth.info.resolution, 6)
    row = np.floor((y - truth.info.origin.position.y) / cell).astype(int) + 400
    column = np.floor((x - truth.info.origin.position.x) / cell).astype(int) + 400
    steps = range(-int(reach / cell), int(reach / cell) + 1)
    near = [padded[row + down, column + right] for down in steps for right in steps]
    return np.where(np.max(near, axis=0) == 100, 100, padded[row, column])


def test_the_grid_is_recorded_and_right(drive: Path, played: tuple[Path, str]) -> None:
    out, said = played
    figures = json.loads((out / "grid.json").read_text())
    original, recorded = read(drive), read(out / "demo.mcap")
    shift = stamps(recorded["/truth/occupancy"]) - stamps(original["/truth/occupancy"])
    clouds = stamps(original["/roof/points"]) + shift[0]
    grids = recorded["/panoptic_node/nav_grid"]
    assert 0 < len(grids) == figures["grids received"] <= figures["clouds sent"] == len(clouds)
    assert set(stamps(grids)) <= set(clouds)
    for topic in ("occupancy", "semantic_grid", "grid_map", "objects", "object_states", "obstacle_points", "points"):
        found = recorded[f"/panoptic_node/{topic}"]
        assert found, topic
        assert set(stamps(found)) <= set(clouds)
        assert {message.header.frame_id for message in found} == {"odom"}
    assert recorded["/panoptic_node/markers"]
    assert recorded["/tf"]
    assert recorded["/tf_static"]
    truths = recorded["/truth/occupancy"]
    states, occupied, near_occupied, moments = np.zeros((2, 3), int), 0, 0, 0
    for grid in grids:
        apart = np.abs(stamps(truths) - stamps([grid]))
        if apart.min() > 50_000_000:
            continue
        truth, told, (x, y) = truths[int(apart.argmin())], cells(grid), places(grid)
        true = true_cells(truth, x, y)
        states += [[((true == state) & (told == one)).sum() for one in (-1, 0, 100)] for state in (0, 100)]
        occupied += (told == 100).sum()
        near_occupied += (true_cells(truth, x, y, reach=0.25)[told == 100] == 100).sum()
        moments += 1
    assert moments == figures["moments with a truth"] > 0
    assert figures["coverage: observed, of the cells with a truth"] == pytest.approx(states[:, 1:].sum() / states.sum())
    assert figures["of the occupied ones"] == pytest.approx(states[1, 1:].sum() / states[1].sum())
    free_iou = states[0, 1] / (states[0, 1:].sum() + states[1, 1])
    assert figures["IoU of free, of the observed"] == pytest.approx(free_iou)
    labelled = [np.mean(cells(one) != -1) for one in recorded["/panoptic_node/semantic_grid"]]
    assert figures["with a class, of the window's cells"] == pytest.approx(np.mean(labelled))
    assert states[0, 1] > 1000
    assert states[0, 1] / states[:, 1].sum() > 0.98  # what it calls free is free
    assert occupied > 20
    assert near_occupied / occupied > 0.9  # what it calls occupied is so, but for the cells at the edges of things
    assert "The grid of the lidar, the poses and what the network says" in " ".join(said.split())
    assert cv2.imread(str(out / "grid.png")).shape == (832, 640 + 800 + 800, 3)
    assert cv2.VideoCapture(str(out / "grid.mp4")).read()[1].shape == (720, 960 + 720, 3)


def test_no_clock_is_sent_and_times_do_not_go_back(drive: Path) -> None:
    shots = list(DriveInput(drive).shots())
    assert "/clock" not in {shot.topic for shot in shots}
    assert {"/roof/points", "/odom", "/tf", "/tf_static"} <= {shot.topic for shot in shots}
    times = [shot.when for shot in shots]
    assert times == sorted(times)
    assert times[0] == 0


@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_bag_that_is_no_drive_is_named(damage: str, drive: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    if damage == "cut":
        path.write_bytes(drive.read_bytes()[:4000])
    elif damage == "other":
        with BagWriter(path, BagMessageTypes()) as bag:
            bag.write_raw("/chatter", "std_msgs/msg/Header", 0, b"\0\1\0\0" + bytes(13))
    with pytest.raises(DemoError, match=r"bad\.mcap"):
        DriveInput(path)


def test_stamps_of_serialized_messages() -> None:
    message = Image(encoding="mono8", data=b"abc")
    message.header.stamp.sec, message.header.stamp.nanosec = 1_795_221_764, 178_376_126
    message.header.frame_id = "camera"
    data = bytes(serialize_message(message))
    assert header_stamp(data) == 1_795_221_764_178_376_126
    later = deserialize_message(with_header_stamp(data, 1_800_000_001_000_000_002), Image)
    message.header.stamp.sec, message.header.stamp.nanosec = 1_800_000_001, 2
    assert later == message


def test_a_value_that_left_the_diagnostics_is_the_last_known() -> None:
    def diagnostics(level: bytes, **values: str) -> DiagnosticArray:
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticArray(status=[DiagnosticStatus(level=level, name="panoptic_node: camera", values=pairs)])

    record = Record()
    record.diagnose(diagnostics(DiagnosticStatus.ERROR, processed="1", age="3.5"))
    record.diagnose(diagnostics(DiagnosticStatus.OK, processed="2", age=""))
    status = record.status("camera")
    assert dict(status.values) == {"processed": "2", "age": "3.5"}
    assert not status.is_error
    assert record.status("model").values == {}
