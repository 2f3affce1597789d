"""The evaluation node over real DDS: what it measures of a drive through the live node is what it would be without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import CAR, ROAD, TIMEOUT, FakePipeline, FakeSource, RecordingLogger, Ros
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from vision_msgs.msg import LabelInfo

TEST = Path(__file__).resolve().parents[1]
sys.path += [str(TEST / "evaluation"), str(TEST / "training")]

from evaluation_cases import perturbed  # noqa: E402
from worlds import make_world  # noqa: E402

from panoptic_ros import messages  # noqa: E402
from panoptic_ros.bags import BagWriter  # noqa: E402
from panoptic_ros.datasets.dataset import Truth  # noqa: E402
from panoptic_ros.evaluation.bag import evaluate_recorded  # noqa: E402
from panoptic_ros.evaluation.document import EvaluationDocument  # noqa: E402
from panoptic_ros.evaluation.metrics import Metrics  # noqa: E402
from panoptic_ros.evaluation.recorded_cameras import find_cameras  # noqa: E402
from panoptic_ros.labels import LabelSet  # noqa: E402
from panoptic_ros.messages import NANOSECONDS, BagMessageTypes, RosMessageTypes  # noqa: E402
from panoptic_ros.nodes.evaluation_node import EvaluationNode  # noqa: E402
from panoptic_ros.segmentation import PanopticSegmentation  # noqa: E402
from panoptic_training.synthetic.drive import CameraSample, Drive  # noqa: E402
from panoptic_training.synthetic.mounts import CameraMount, Lens  # noqa: E402
from panoptic_training.synthetic.rig import Rig  # noqa: E402

LABELS = LabelSet.load("cityscapes")
TYPES = RosMessageTypes()
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
IMAGE, LABEL_TYPE = "sensor_msgs/msg/Image", "vision_msgs/msg/LabelInfo"


class NodeUnderTest(EvaluationNode):
    """The node, with a log that can be read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.log = RecordingLogger()
        super().__init__(*arguments, **options)

    def get_logger(self) -> Any:
        return self.log


def start(ros: Ros, out: Path, **parameters: Any) -> NodeUnderTest:
    given = {"out": str(out), "silence": 0.0, "diagnostics_period": 0.1} | parameters
    overrides = [Parameter(key, value=value) for key, value in given.items()]
    node = NodeUnderTest(context=ros.context, parameter_overrides=overrides, use_global_arguments=False)
    ros.spin_node(node)
    return node


@dataclass
class Seen:
    """A camera's frame: its image, what is there, and what the network will say."""

    camera: str
    stamp: int
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@pytest.fixture(scope="module")
def drive() -> list[Seen]:
    """Two cameras for a second through a street of boxes."""
    lens = Lens(96, 64, 70.0)
    rig = Rig(
        cameras=(
            CameraMount("front", (1.0, 0.0, 1.5), lens=lens),
            CameraMount("rear", (-1.0, 0, 1.5), (0, 0, 180.0), lens=lens),
        )
    )
    generator, found = np.random.default_rng(0), []
    for sample in Drive(make_world(3, 1.0), rig, 3, 1.0).samples():
        if isinstance(sample, CameraSample):
            ids = sample.frame.ids.astype(np.int32)
            found.append(Seen(sample.camera.name, 0, sample.frame.image, ids, perturbed(ids, LABELS, generator)))
    assert len(found) == 22
    assert len({seen.image.tobytes() for seen in found}) == 22
    return found


class KnowingPipeline(FakePipeline):
    """Says of each image what was prepared for it."""

    answers: dict[bytes, np.ndarray]

    def _segment(self, frame: np.ndarray, confidence: bool) -> PanopticSegmentation:
        return PanopticSegmentation.from_ids(self.answers[frame.tobytes()], LABELS.thing_ids)


class KnowingSource(FakeSource):
    def __init__(self, drive: list[Seen]) -> None:
        super().__init__()
        self._answers = {seen.image.tobytes(): seen.prediction for seen in drive}

    def load(self, model: str, weights: str = "", **_: Any) -> FakePipeline:
        pipeline = KnowingPipeline(model, weights)
        pipeline.answers = self._answers
        self.loaded.append(pipeline)
        return pipeline


class Truths:
    """Publishes the truth of cameras, and what its ids mean."""

    def __init__(self, ros: Ros, *cameras: str, said: bool = True) -> None:
        self._ros = ros
        self.panoptic = {name: ros.publisher(Image, f"/truth/{name}/panoptic".replace("//", "/")) for name in cameras}
        if said:
            say_labels(ros, "/truth")

    def send(self, camera: str, stamp: int, ids: np.ndarray) -> Image:
        message = panoptic(stamp, ids)
        self.panoptic[camera].publish(message)
        return message


def panoptic(stamp: int, ids: np.ndarray) -> Image:
    header = messages.make_header(TYPES, stamp, "optical")
    return messages.panoptic_image(TYPES, header, PanopticSegmentation.from_ids(ids.astype(np.int32), LABELS.thing_ids))


def say_labels(ros: Ros, source: str, labels: LabelSet = LABELS) -> None:
    publisher = ros.peer.create_publisher(LabelInfo, f"{source}/label_info", LATCHED)
    ros._publishers.append(publisher)
    publisher.publish(messages.label_info(TYPES, messages.make_header(TYPES, 0, ""), labels))


def values(diagnostics: list[DiagnosticArray], part: str) -> dict[str, str]:
    """What the last status of a part of the evaluation node says."""
    for message in reversed(diagnostics):
        for status in message.status:
            if status.name == f"evaluation_node: {part}":
                return {pair.key: pair.value for pair in status.values} | {"message": status.message}
    return {}


def test_a_drive_through_the_live_node_is_measured_as_its_frames_are(
    ros: Ros, drive: list[Seen], tmp_path: Path
) -> None:
    """By the evaluation node, by evaluate-bag on a recording, and directly: the same to 1e-9 and better."""
    # Each image is counted on, so none may be lost; and the first answer must not leave before its listeners are known.
    reliable = {f"qos_overrides./{name}/image_raw.subscription.reliability": "reliable" for name in ("front", "rear")}
    node = ros.start(KnowingSource(drive), cameras=["front", "rear"], **reliable)
    start(ros, tmp_path / "live", cameras=["front", "rear"])
    truths = Truths(ros, "front", "rear")
    cameras = {name: ros.publisher(Image, f"/{name}/image_raw") for name in ("front", "rear")}
    answers = {name: ros.listen(Image, f"/panoptic_node/{name}/panoptic") for name in cameras}
    labels = ros.listen(LabelInfo, "/panoptic_node/label_info", latched=True)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    for publisher in (*cameras.values(), *truths.panoptic.values()):
        ros.connected(publisher)
    outputs = [one for one in node.publishers if one.topic_name.endswith("/panoptic")]
    assert len(outputs) == 2
    ros.until(lambda: all(one.get_subscription_count() == 2 for one in outputs), "both listeners of each camera")
    ros.until(lambda: labels, "the labels")
    expected, sent = Metrics(LABELS), []
    for index, seen in enumerate(drive):
        image = ros.image(seen.image)
        stamp = messages.nanoseconds(image.header.stamp)
        if index % 3:  # the truth comes first, or after the answer
            sent.append((f"/truth/{seen.camera}/panoptic", truths.send(seen.camera, stamp, seen.truth)))
        before = len(answers[seen.camera])
        cameras[seen.camera].publish(image)
        sent.append((f"/{seen.camera}/image_raw", image))
        if index == 8:  # a truth that no prediction has the stamp of
            truths.send(seen.camera, stamp + 1, seen.truth)
        ros.until(lambda: len(answers[seen.camera]) > before, "an answer")  # noqa: B023
        sent.append((f"/panoptic_node/{seen.camera}/panoptic", answers[seen.camera][-1]))
        if not index % 3:
            sent.append((f"/truth/{seen.camera}/panoptic", truths.send(seen.camera, stamp, seen.truth)))
        seen_ids = (PanopticSegmentation.from_ids(ids, LABELS.thing_ids) for ids in (seen.prediction, seen.truth))
        expected.update(f"{seen.camera}/{stamp}", next(seen_ids), Truth(next(seen_ids)))
    ros.until(lambda: values(diagnostics, "all cameras").get("evaluated") == "22", "the last frame")
    running = values(diagnostics, "all cameras")
    assert float(running["PQ"]) == pytest.approx(expected.result().panoptic_quality.all.pq, abs=1e-6)
    assert float(running["mIoU"]) == pytest.approx(expected.result().semantic_iou.mean_iou, abs=1e-6)
    assert values(diagnostics, "front")["evaluated"] == values(diagnostics, "rear")["evaluated"] == "11"
    ros.stop_nodes()

    document = EvaluationDocument.load(tmp_path / "live" / "evaluation.json")
    assert document.source.kind == "live"
    assert document.metrics.to_json() == expected.result().to_json()
    assert 0.1 < document.metrics.panoptic_quality.all.pq < 0.99
    assert set(document.names) == set(expected.per_image().names)
    assert document.recording is not None
    assert [camera["pairs"] for camera in document.recording["cameras"]] == [11, 11]
    assert sum(len(camera["unmatched_truths"]) for camera in document.recording["cameras"]) == 1
    assert all(0 < camera["latency"]["p50"] < TIMEOUT for camera in document.recording["cameras"])
    assert (tmp_path / "live" / "report.html").stat().st_size > 10_000

    path = tmp_path / "run.mcap"
    with BagWriter(path, BagMessageTypes()) as bag:
        for source in ("/truth", "/panoptic_node"):
            bag.write_raw(f"{source}/label_info", LABEL_TYPE, 0, bytes(serialize_message(labels[0])))
        for topic, message in sent:
            bag.write_raw(topic, IMAGE, time.time_ns(), bytes(serialize_message(message)))
    recorded, _ = evaluate_recorded(path, find_cameras(path)).metrics.combined()
    assert recorded.result().to_json() == expected.result().to_json()


@pytest.fixture
def ids() -> np.ndarray:
    found = np.full((24, 32), ROAD * 1000, np.int32)
    found[10:, 16:] = CAR * 1000 + 1
    return found


@pytest.fixture
def send(ros: Ros) -> Callable[[int, np.ndarray | Image], None]:
    """Publishes a prediction of the single camera, from ids or as it is."""
    publisher = ros.publisher(Image, "/panoptic_node/panoptic")

    def publish(stamp: int, ids: np.ndarray | Image) -> None:
        ros.connected(publisher)
        publisher.publish(ids if isinstance(ids, Image) else panoptic(stamp, ids))

    return publish


def test_bad_messages_are_said_and_counted_and_the_rest_goes_on(
    ros: Ros, ids: np.ndarray, send: Callable[[int, np.ndarray | Image], None], tmp_path: Path
) -> None:
    node = start(ros, tmp_path / "out")
    truths = Truths(ros, "")
    say_labels(ros, "/panoptic_node")
    ros.connected(truths.panoptic[""])
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    bad: dict[int, Image] = {}
    for stamp, change in enumerate(({"encoding": "mono8"}, {"height": 4_000_000}, {"step": 1}), start=1):
        bad[stamp] = panoptic(stamp, ids)
        for field, value in change.items():
            setattr(bad[stamp], field, value)
    bad[4] = panoptic(4, ids[:10])
    bad[5] = panoptic(5, np.full_like(ids, 99_000))
    for stamp in range(1, 8):
        truths.send("", stamp, ids)
        send(stamp, bad.get(stamp, ids))
    ros.until(lambda: values(diagnostics, "all cameras").get("evaluated") == "2", "the good frames")
    ros.until(lambda: values(diagnostics, "all cameras").get("refused") == "5", "the bad ones")
    for words in ("encoding is 'mono8'", "4000000", "step 1", "32x10 pixels, the truth 32x24", "99"):
        assert node.log.find(words, severity="error"), words
    ros.stop_nodes()
    document = EvaluationDocument.load(tmp_path / "out" / "evaluation.json")
    assert document.metrics.panoptic_quality.all.pq == 1.0
    assert "5 frames could not be evaluated" in " ".join(document.notes)


def test_the_report_is_written_when_nothing_comes_any_more(
    ros: Ros, ids: np.ndarray, send: Callable[[int, np.ndarray | Image], None], tmp_path: Path
) -> None:
    """And again after more has come."""
    start(ros, tmp_path / "out", silence=0.5)
    truths = Truths(ros, "")
    say_labels(ros, "/panoptic_node")
    ros.connected(truths.panoptic[""])
    path = tmp_path / "out" / "evaluation.json"
    for count in (1, 2):
        truths.send("", count * NANOSECONDS, ids)
        send(count * NANOSECONDS, ids)
        ros.until(
            lambda: path.exists() and EvaluationDocument.load(path).source.images == count,  # noqa: B023
            "the report",
        )


def test_frames_wait_for_what_their_ids_mean(
    ros: Ros, ids: np.ndarray, send: Callable[[int, np.ndarray | Image], None], tmp_path: Path
) -> None:
    node = start(ros, tmp_path / "out", waiting=3)
    truths = Truths(ros, "")
    ros.connected(truths.panoptic[""])
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    for stamp in range(1, 6):
        truths.send("", stamp, ids)
        send(stamp, ids)
        ros.until(lambda: values(diagnostics, "camera").get("truths") == str(stamp), "the truth")  # noqa: B023
        ros.until(lambda: values(diagnostics, "camera").get("predictions") == str(stamp), "the other")  # noqa: B023
    words = "no label_info says what the ids of prediction mean"
    ros.until(lambda: values(diagnostics, "all cameras").get("message") == words, "the warning")
    ros.until(lambda: values(diagnostics, "all cameras").get("refused") == "2", "those that waited too long")
    assert node.log.find("no label_info says", severity="error")
    say_labels(ros, "/panoptic_node")
    ros.until(lambda: values(diagnostics, "all cameras").get("evaluated") == "3", "the frames that waited")


def test_other_classes_are_mapped_and_a_change_of_classes_is_refused(
    ros: Ros, ids: np.ndarray, send: Callable[[int, np.ndarray | Image], None], tmp_path: Path
) -> None:
    node = start(ros, tmp_path / "out")
    truths, coco = Truths(ros, ""), LabelSet.load("coco")
    names = {label.name: label.id for label in coco.labels}
    say_labels(ros, "/panoptic_node", coco)
    ros.connected(truths.panoptic[""])
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    truths.send("", 1, ids)
    send(1, np.where(ids == ROAD * 1000, names["road"] * 1000, names["car"] * 1000 + 1))
    ros.until(lambda: values(diagnostics, "all cameras").get("PQ") == "1.000000", "the mapped frame")
    say_labels(ros, "/panoptic_node", LABELS)
    ros.spin(0.5)
    truths.send("", 2, ids)
    send(2, ids)
    ros.until(lambda: values(diagnostics, "all cameras").get("refused") == "1", "the refusal")
    assert node.log.find("others than those of the first frames", severity="error")
    ros.stop_nodes()
    assert EvaluationDocument.load(tmp_path / "out" / "evaluation.json").source.mapping == "coco_to_cityscapes"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"rule": "mine"}, "rule: expected one of coco, cityscapes, void_in_union"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"cameras": ["a b"]}, "'a b' is not a name"),
        ({"labels": "nothing"}, "nothing.yaml: no such file"),
        ({"mapping": "nothing"}, "nothing.yaml: no such file"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], words: str, ros: Ros, tmp_path: Path) -> None:
    from panoptic_ros.nodes.parameters import ParameterError

    with pytest.raises(ParameterError, match=words):
        start(ros, tmp_path / "out", **parameters)


def test_the_process_ends_with_1_where_there_is_no_report(ros: Ros, tmp_path: Path) -> None:
    """It says why, and leaves nothing."""
    command = [sys.executable, "-m", "panoptic_ros.nodes.evaluation_node", "--ros-args", "-p", f"out:={tmp_path}/out"]
    environment = os.environ | {"ROS_DOMAIN_ID": str(ros.domain)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    truth = ros.publisher(Image, "/truth/panoptic")
    ros.connected(truth)
    truth.publish(panoptic(1, np.full((4, 4), ROAD * 1000)))
    ros.spin(0.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, output
    assert "nothing was evaluated: no prediction has come" in output
    assert not (tmp_path / "out").exists()
