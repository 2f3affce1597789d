"""What is measured of a bag, against the same frames measured without one; and what a bag can lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_cases import CITYSCAPES, PERIOD, START, Bag, random_ids, stamps, value
from evaluation_cases import perturbed

from panoptic_ros.bags import BagWriter
from panoptic_ros.datasets import open_dataset
from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.datasets.panoptic_png import bgr_of_ids
from panoptic_ros.evaluation.bag import Comparison, evaluate_images, evaluate_recorded
from panoptic_ros.evaluation.metrics import Metrics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import find_cameras
from panoptic_ros.evaluation.runner import evaluate_dataset
from panoptic_ros.frames import SourceError
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.segmentation import PanopticSegmentation

MS = 1_000_000
FRONT, REAR = "/panoptic_node/front/panoptic", "/panoptic_node/rear/panoptic"


def frames(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truths with what a network may have said, (H, W) int32 each."""
    generator = np.random.default_rng(seed)
    truths = [random_ids(generator) for _ in range(count)]
    return [(truth, perturbed(truth, CITYSCAPES, generator)) for truth in truths]


def two_cameras(path: Path, count: int = 6) -> dict[str, list[tuple[int, np.ndarray, np.ndarray]]]:
    """A run on two cameras: answers come late, and not for every image; returns the frames that have both."""
    kept: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        for seed, camera in enumerate(("front", "rear")):
            kept[camera] = []
            made = zip(stamps(count, offset=seed * 3 * MS), frames(count, seed), strict=True)
            for index, (stamp, (truth, prediction)) in enumerate(made):
                bag.picture(f"/{camera}/image_raw", stamp, np.full((*truth.shape, 3), index, np.uint8))
                bag.ids(f"/truth/{camera}/panoptic", stamp, truth)
                if index % 3 != 1:
                    bag.ids(f"/panoptic_node/{camera}/panoptic", stamp, prediction, delay=(150 + 10 * index) * MS)
                    kept[camera].append((stamp, truth, prediction))
    return kept


def directly(kept: dict[str, list[tuple[int, np.ndarray, np.ndarray]]]) -> dict[str, Any]:
    metrics = Metrics(CITYSCAPES)
    for camera, found in kept.items():
        for stamp, truth, prediction in found:
            metrics.update(f"{camera} {stamp}", value(prediction), Truth(value(truth)))
    return metrics.result().to_json()


def test_predictions_of_a_bag_are_measured_as_without_it(tmp_path: Path) -> None:
    kept = two_cameras(tmp_path / "run.mcap")
    cameras = find_cameras(tmp_path / "run.mcap")
    assert [(camera.name, camera.predictions, camera.images) for camera in cameras] == [
        ("front", FRONT, "/front/image_raw"),
        ("rear", REAR, "/rear/image_raw"),
    ]
    evaluation = evaluate_recorded(tmp_path / "run.mcap", cameras)
    total, names = evaluation.metrics.combined()
    assert total.result().to_json() == directly(kept)
    assert 0 < total.result().panoptic_quality.all.pq < 1  # not a comparison of nothing with nothing
    assert names == total.per_image().names
    assert sorted(names) == sorted(f"{camera}/{stamp}" for camera, found in kept.items() for stamp, *_ in found)
    for camera, metrics in evaluation.metrics.by_camera.items():
        assert metrics.result().to_json() == directly({camera: kept[camera]})


def test_the_run_is_described_by_its_stamps(tmp_path: Path) -> None:
    two_cameras(tmp_path / "run.mcap")
    evaluation = evaluate_recorded(tmp_path / "run.mcap", find_cameras(tmp_path / "run.mcap"))
    front = evaluation.run.cameras[0]
    assert (front.images, front.truths, front.predictions, front.pairs, front.repeated) == (6, 6, 4, 4, 0)
    lost = (START + PERIOD, START + 4 * PERIOD)
    assert front.dropped == front.unmatched_truths == lost
    assert front.unmatched_predictions == ()
    delays = np.array([0.150, 0.170, 0.180, 0.200])
    assert front.latency is not None
    assert front.latency.p50 == pytest.approx(np.median(delays))
    assert front.latency.p99 == pytest.approx(np.percentile(delays, 99))
    assert front.latency.max == pytest.approx(0.2)
    assert front.rate == pytest.approx(3 / 0.5)
    assert front.longest_gap == pytest.approx(0.2)
    assert evaluation.notes()[0] == "front: 2 of 6 frames with a truth have no prediction and do not count."
    content = json.loads(json.dumps(evaluation.run.to_json()))
    assert content["cameras"][0]["unmatched_truths"] == list(lost)
    assert content["cameras"][0]["latency"]["max"] == front.latency.max


def test_each_frame_is_shown_with_its_own_picture(tmp_path: Path) -> None:
    kept = two_cameras(tmp_path / "run.mcap")
    counts: list[tuple[int, int]] = []
    evaluation = evaluate_recorded(
        tmp_path / "run.mcap", find_cameras(tmp_path / "run.mcap"), progress=lambda *done: counts.append(done)
    )
    assert counts == [(done, 8) for done in range(1, 9)]
    names = evaluation.metrics.combined()[1]
    by_name = {frame.name: frame for frame in evaluation.again(names)}
    assert [frame.name for frame in evaluation.again(names[2:3])] == [names[2]]
    for camera, found in kept.items():
        for stamp, truth, prediction in found:
            frame = by_name[f"{camera}/{stamp}"]
            assert (frame.truth.segmentation.ids == truth).all()
            assert (frame.prediction.ids == prediction).all()
            assert frame.image is not None
            assert (frame.image == round((stamp - START) / PERIOD)).all()
            assert (frame.truth.sequence, frame.truth.frame) == (camera, round((stamp - START) / PERIOD))


def test_stamps_may_differ_by_the_tolerance(tmp_path: Path) -> None:
    path, made = tmp_path / "run.mcap", frames(5)
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        for stamp, (truth, prediction) in zip(stamps(5), made, strict=True):
            bag.ids("/truth/panoptic", stamp, truth)
            bag.ids("/panoptic_node/panoptic", stamp + 4 * MS, prediction)
    with pytest.raises(EvaluationError, match=r"run\.mcap: no prediction has the stamp .* 0\.004 s apart"):
        evaluate_recorded(path, find_cameras(path), Comparison(tolerance=3 * MS))
    evaluation = evaluate_recorded(path, find_cameras(path), Comparison(tolerance=4 * MS))
    kept = {"": [(stamp, *frame) for stamp, frame in zip(stamps(5), made, strict=True)]}
    assert evaluation.metrics.combined()[0].result().to_json() == directly(kept)
    assert evaluation.run.tolerance == 0.004


def test_scores_and_confidence_come_from_their_own_topics(tmp_path: Path) -> None:
    path, generator = tmp_path / "run.mcap", np.random.default_rng(1)
    metrics = Metrics(CITYSCAPES, ("average_precision", "calibration"))
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        for index, (truth, prediction) in enumerate(frames(6)):
            stamp = START + index * PERIOD
            things = [segment.id for segment in value(prediction).things]
            scores = {id_: float(generator.integers(1, 100) / 100) for id_ in things}
            sure = generator.integers(0, 256, prediction.shape).astype(np.uint8)
            bag.ids("/truth/front/panoptic", stamp, truth)
            bag.ids(FRONT, stamp, prediction, delay=2 * MS)
            bag.instances("/panoptic_node/front/instances", stamp, prediction, scores, delay=90 * MS)
            bag.confidence("/panoptic_node/front/confidence", stamp, sure, delay=MS)
            seen = value(prediction, scores=scores)
            metrics.update(str(index), PanopticSegmentation(seen.ids, seen.segments, sure), Truth(value(truth)))
    comparison = Comparison(("average_precision", "calibration"))
    measured = evaluate_recorded(path, find_cameras(path), comparison).metrics.combined()[0].result()
    assert measured.to_json() == metrics.result().to_json()
    assert measured.calibration.expected_error > 0


@pytest.mark.parametrize(("metric", "topic"), [("average_precision", "instances"), ("calibration", "confidence")])
def test_a_metric_that_lacks_its_topic_is_refused(metric: Any, topic: str, tmp_path: Path) -> None:
    two_cameras(tmp_path / "run.mcap")
    with pytest.raises(EvaluationError, match=rf"run\.mcap: /panoptic_node/front/{topic}: nothing of 17"):
        evaluate_recorded(tmp_path / "run.mcap", find_cameras(tmp_path / "run.mcap"), Comparison((metric,)))


def test_predictions_of_other_classes_are_mapped(tmp_path: Path) -> None:
    path, coco, generator = tmp_path / "run.mcap", LabelSet.load("coco"), np.random.default_rng(5)
    mapping = LabelMapping.load("coco_to_cityscapes")
    sources = [source for source, _ in mapping.class_ids]
    metrics = Metrics(CITYSCAPES)
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node", coco)
        for index in range(4):
            truth = random_ids(generator)
            table = {target: source for source, target in mapping.class_ids}
            prediction = np.vectorize(lambda id_, table=table: table[id_ // 1000] * 1000 + id_ % 1000)(truth)
            prediction[:6, :9] = next(id_ for id_ in coco.class_ids if id_ not in sources) * 1000
            bag.ids("/truth/front/panoptic", START + index * PERIOD, truth)
            header = START + index * PERIOD
            bag.ids(FRONT, header, prediction.astype(np.int32))
            metrics.update(str(index), mapping.segmentation(value(prediction, coco)), Truth(value(truth)))
    evaluation = evaluate_recorded(path, find_cameras(path))
    assert evaluation.alignment.predictions == mapping
    assert evaluation.metrics.combined()[0].result().to_json() == metrics.result().to_json()
    assert metrics.result().panoptic_quality.all.pq > 0.5


def colours(image: np.ndarray) -> PanopticSegmentation:
    """A network that knows classes by exact colours, so that a picture that was lost by one bit is another answer."""
    ids = np.zeros(image.shape[:2], np.int32)
    ids[image[..., 0] % 4 == 0] = 7000
    ids[image[..., 0] % 4 == 1] = 23000
    ids[image[..., 1] % 7 == 3] = 26001
    return value(ids)


@pytest.mark.parametrize("packed", [False, True])
def test_images_of_a_bag_are_measured_as_those_of_a_data_set(packed: bool, tmp_path: Path) -> None:
    """The same pictures and truths as a COCO data set of PNGs, by the evaluation of data sets."""
    path, folder, generator = tmp_path / "drive.mcap", tmp_path / "coco", np.random.default_rng(2)
    (folder / "val").mkdir(parents=True)
    (folder / "annotations" / "panoptic_val").mkdir(parents=True)
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [
        {"id": label.id, "name": label.name, "isthing": int(label.is_thing), "color": list(label.color)}
        for label in CITYSCAPES.labels
    ]
    with Bag(path) as bag:
        bag.labels("/truth")
        for index in range(8):
            truth = random_ids(generator)
            image = generator.integers(0, 256, (*truth.shape, 3)).astype(np.uint8)
            image[truth == 7000, 0] &= 0xFC  # mostly right
            stamp = START + index // 2 * PERIOD
            camera = ("front", "rear")[index % 2]
            bag.picture(f"/{camera}/image_raw", stamp, image, packed)
            bag.picture(f"/{camera}/image_raw", stamp + PERIOD // 2, image, packed)  # without a truth
            bag.ids(f"/truth/{camera}/panoptic", stamp, truth, delay=(70 * MS) if index % 3 else 0)
            name = f"{index:012d}.png"
            cv2.imwrite(str(folder / "val" / name), image)
            cv2.imwrite(str(folder / "annotations" / "panoptic_val" / name), bgr_of_ids(truth))
            size = {"width": truth.shape[1], "height": truth.shape[0]}
            content["images"].append({"id": index, "file_name": name, **size})
            segments = [
                {"id": one.id, "category_id": one.class_id, "area": one.area, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
                for one in value(truth).segments
            ]
            content["annotations"].append({"image_id": index, "file_name": name, "segments_info": segments})
    (folder / "annotations" / "panoptic_val.json").write_text(json.dumps(content))
    dataset = open_dataset(folder, labels="cityscapes")
    expected = evaluate_dataset(dataset, lambda sample: colours(sample.image)).result().to_json()
    evaluation = evaluate_images(path, find_cameras(path), colours, CITYSCAPES)
    assert evaluation.metrics.combined()[0].result().to_json() == expected
    assert 0 < expected["panoptic_quality"]["all"]["pq"] < 1
    assert evaluation.notes()[0] == "front: 4 images have no truth and do not count."


def test_a_bag_that_was_played_twice_counts_once(tmp_path: Path) -> None:
    path, made = tmp_path / "run.mcap", frames(3)
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        for turn in range(2):
            for stamp, (truth, prediction) in zip(stamps(3), made, strict=True):
                bag.ids("/truth/panoptic", stamp, truth, delay=turn * 1000 * MS)
                bag.ids("/panoptic_node/panoptic", stamp, np.roll(prediction, turn * 5), delay=turn * 1000 * MS)
    evaluation = evaluate_recorded(path, find_cameras(path))
    kept = {"": [(stamp, *frame) for stamp, frame in zip(stamps(3), made, strict=True)]}
    assert evaluation.metrics.combined()[0].result().to_json() == directly(kept)
    assert evaluation.run.cameras[0].repeated == 6


def test_a_camera_without_predictions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    kept = two_cameras(path)
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        for camera, found in kept.items():
            for stamp, truth, prediction in found:
                bag.ids(f"/truth/{camera}/panoptic", stamp, truth)
                if camera == "front":
                    bag.ids(FRONT, stamp, prediction)
    evaluation = evaluate_recorded(path, find_cameras(path))
    assert evaluation.left_out == ("rear",)
    assert evaluation.notes() == ("rear: has a truth but nothing to compare with it, and is left out.",)
    assert evaluation.metrics.combined()[0].result().to_json() == directly({"front": kept["front"]})


def test_topics_can_be_given(tmp_path: Path) -> None:
    path, made = tmp_path / "run.mcap", frames(2)
    with Bag(path) as bag:
        for stamp, (truth, prediction) in zip(stamps(2), made, strict=True):
            bag.ids("/labels/left", stamp, truth)
            bag.ids("/net_a/seg", stamp, prediction)
            bag.ids("/net_b/seg", stamp, truth)
    found = find_cameras(path, truths=["/labels/left"], predictions=["/net_b/seg"])
    assert [(camera.truth, camera.predictions, camera.images) for camera in found] == [
        ("/labels/left", "/net_b/seg", "")
    ]
    evaluation = evaluate_recorded(path, found, Comparison(labels="cityscapes"))
    assert evaluation.metrics.combined()[0].result().panoptic_quality.all.pq == 1.0


def build(path: Path, **change: Any) -> None:
    """A bag of one frame with something wrong."""
    truth = random_ids(np.random.default_rng(0))
    with Bag(path) as bag:
        bag.labels("/truth", change.get("truth_labels", CITYSCAPES))
        if change.get("said", True):
            bag.labels("/panoptic_node")
        if change.get("changed"):
            bag.labels("/panoptic_node", LabelSet.load("coco"), START + 5)
        bag.ids("/truth/front/panoptic", START, truth)
        bag.ids(FRONT, START, change.get("prediction", truth))
        for topic in change.get("more", ()):
            bag.ids(topic, START, truth)


SMALL = np.full((4, 4), 7000, np.int32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prediction": SMALL}, rf"run\.mcap: front/{START}: the prediction is 4x4 pixels, the truth 32x24"),
        ({"prediction": np.full((24, 32), 99000, np.int32)}, rf"run\.mcap: front/{START}: .*99"),
        ({"said": False}, r"run\.mcap: no label_info says what the ids on /panoptic_node/front/panoptic mean"),
        ({"changed": True}, r"run\.mcap: /panoptic_node/label_info: the classes change during the bag"),
        (
            {"truth_labels": LabelSet("mine", CITYSCAPES.labels[:3])},
            r"run\.mcap: /truth/label_info: its 3 classes \(7 road, .*--labels",
        ),
        ({"truth_labels": LabelSet.load("voc")}, r"cityscapes.*voc"),
        ({"more": ["/other/front/panoptic"]}, r"are on /panoptic_node/front/panoptic, /other/front/panoptic; choose"),
    ],
)
def test_what_cannot_be_evaluated_is_said(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    build(path, **change)
    with pytest.raises((EvaluationError, FileNotFoundError), match=words):
        evaluate_recorded(path, find_cameras(path))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"truths": ["/truth/left/panoptic"]},
            r"--truth: no sensor_msgs/msg/Image on /truth/left/panoptic; its topics",
        ),
        ({"predictions": [FRONT, "/truth/front/panoptic"]}, r"--predictions: 2 topics for the truths on"),
        ({"predictions": ["/truth/front/panoptic"]}, r"/truth/front/panoptic is given twice"),
        ({"images": ["/truth/label_info"]}, r"--images: no .* on /truth/label_info"),
    ],
)
def test_topics_that_are_not_there_are_said(given: dict[str, list[str]], words: str, tmp_path: Path) -> None:
    build(tmp_path / "run.mcap")
    with pytest.raises(EvaluationError, match=words):
        find_cameras(tmp_path / "run.mcap", **given)


def test_a_bag_without_a_truth_is_said(tmp_path: Path) -> None:
    with Bag(tmp_path / "run.mcap") as bag:
        bag.ids(FRONT, START, SMALL)
    with pytest.raises(EvaluationError, match=r"run\.mcap: no truth: expected .* on /truth/<camera>/panoptic"):
        find_cameras(tmp_path / "run.mcap")


@pytest.mark.parametrize("damage", ["missing", "truncated", "message"])
def test_a_damaged_bag_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    build(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        truth = BagMessageTypes().make("sensor_msgs/msg/Image")
        with BagWriter(path, BagMessageTypes()) as bag:
            bag.write("/truth/front/panoptic", "sensor_msgs/msg/Image", START, truth)
            bag.write_raw(FRONT, "sensor_msgs/msg/Image", START, b"\0\1\0\0" + bytes(9))
    with pytest.raises((SourceError, FileNotFoundError), match=r"run\.mcap"):
        evaluate_recorded(path, find_cameras(path), Comparison(labels="cityscapes"))
