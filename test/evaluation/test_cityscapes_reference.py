"""Panoptic quality and average precision against cityscapesScripts, on a street of the synthetic world.

The truth has the folder layout of Cityscapes with groups and ignored regions; cityscapesScripts itself makes its
panoptic form.  Predictions are that truth as a network might see it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluation_cases import perturbed

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.metrics import EvaluationResult, Metrics
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
GROUP, SMALL_GROUP, STATIC, TRAILER = 26, 24, 4, 30
RIG = """
cameras:
  - name: camera
    lens: {width: 768, height: 384, fx: 555.0}
    position: [0.6, 0.0, 1.5]
    rate: 10.0
"""


@dataclass(frozen=True)
class Street:
    """Where the truth lies, its instanceIds by name, and a prediction and scores for each."""

    folder: Path
    raw: dict[str, np.ndarray]
    predictions: dict[str, PanopticSegmentation]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Four pictures of a street."""
    pytest.importorskip("embreex", reason="needs the synthetic world: pip install -e '.[test]'")
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesScripts: pip install -e '.[test]'")
    from panoptic_training.synthetic.city import make_world
    from panoptic_training.synthetic.datasets import Cityscapes, DatasetFolder
    from panoptic_training.synthetic.production import DatasetPlan
    from panoptic_training.synthetic.rig import Rig

    folder = tmp_path_factory.mktemp("street")
    rig = folder / "rig.yaml"
    rig.write_text(RIG)
    plan = DatasetPlan(make_world, Rig.load(str(rig)), seed=5, split="val", images=4, images_per_street=4)
    with DatasetFolder(folder, Cityscapes("val", LABELS), {}) as written:
        for part in range(plan.parts):
            plan.maker(written.files, lambda: None)(part)
        written.finish(plan.images)

    generator = np.random.default_rng(11)
    raw, predictions = {}, {}
    for path in sorted((folder / "gtFine" / "val").glob("*/*_instanceIds.png")):
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        name = path.name.replace("_gtFine_instanceIds.png", "")
        seen = perturbed(panoptic(ids).segmentation.ids, LABELS, generator)
        cars = [id_ for id_ in np.unique(ids) if id_ // 1000 == 26]
        ids[np.isin(ids, cars[::3])] = GROUP
        ids[300:306, 450:460] = SMALL_GROUP
        ids[225:300, 60:210] = STATIC
        ids[315:360, 525:630] = TRAILER
        assert cv2.imwrite(str(path), ids)
        raw[name] = ids
        scores = {int(id_): float(generator.integers(1, 9) / 8) for id_ in np.unique(seen[seen > 0])}
        predictions[name] = PanopticSegmentation.from_ids(seen, LABELS.thing_ids, scores)
    return Street(folder, raw, predictions)


@pytest.fixture
def blocks(tmp_path: Path) -> Street:
    """Pictures of blocks of 36 pixels, so that IoUs and shares are simple fractions, some of them thresholds."""
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesScripts: pip install -e '.[test]'")
    generator = np.random.default_rng(2)
    values = np.array([7, STATIC, 24, 26, 24000, 24001, 26001, 26002, 33001], dtype=np.uint16)
    folder = tmp_path / "gtFine" / "val" / "blocks"
    folder.mkdir(parents=True)
    raw, predictions = {}, {}
    for index in range(12):
        name = f"blocks_{index:06d}_000019"
        coarse = np.repeat(generator.choice(values, (4, 5)), generator.integers(1, 4, 5), axis=1)
        kept = generator.random(coarse.shape) < 0.7
        seen = np.where(kept, coarse, generator.choice(values[4:], coarse.shape)).astype(np.int32)
        # Void and groups are found as things, as networks do.
        seen = np.where(seen < 1000, np.where(seen == 7, 7000, 26010), seen).astype(np.int32)
        raw[name], ids = (np.kron(part, np.ones((6, 6), dtype=part.dtype)) for part in (coarse, seen))
        assert cv2.imwrite(str(folder / f"{name}_gtFine_instanceIds.png"), raw[name])
        scores = {int(id_): float(generator.integers(1, 9) / 8) for id_ in np.unique(ids)}
        predictions[name] = PanopticSegmentation.from_ids(ids, LABELS.thing_ids, scores)
    return Street(tmp_path, raw, predictions)


def panoptic(raw: np.ndarray) -> Truth:
    """What instanceIds say: things above 1000, their groups below, and what is not evaluated void."""
    values = raw.astype(np.int32)
    classes = np.where(values < 1000, values, values // 1000)
    ids = np.where(values < 1000, values * 1000, values)
    groups = np.isin(values, sorted(LABELS.thing_ids))
    ids[groups] += 999
    ids[~np.isin(classes, LABELS.class_ids)] = 0
    return Truth(
        PanopticSegmentation.from_ids(ids.astype(np.int32), LABELS.thing_ids),
        frozenset((np.unique(values[groups]) * 1000 + 999).tolist()),
    )


def ours(street: Street) -> EvaluationResult:
    metrics = Metrics(LABELS, ("panoptic_quality", "cityscapes_average_precision", "semantic_iou"), rule="cityscapes")
    for name, raw in street.raw.items():
        metrics.update(name, street.predictions[name], panoptic(raw))
    return metrics.result()


@pytest.fixture
def older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that cityscapesScripts 1.5 uses of numpy, and numpy 2 no longer has; later ones differ in nothing
    else.
    """
    monkeypatch.setattr(np, "float", float, raising=False)
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)


def test_panoptic_quality_is_that_of_cityscapesscripts(street: Street, tmp_path: Path) -> None:
    from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import average_pq, pq_compute_single_core
    from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic

    for split in ("train", "test"):  # it converts all three or gives up
        (street.folder / "gtFine" / split).symlink_to("val")
    convert2panoptic(str(street.folder / "gtFine"), str(tmp_path), useTrainId=False)
    truth = json.loads((tmp_path / "cityscapes_panoptic_val.json").read_text())
    assert sum(segment["iscrowd"] for entry in truth["annotations"] for segment in entry["segments_info"]) >= 6
    pairs = []
    for entry in truth["annotations"]:
        seen = street.predictions[entry["image_id"]]
        channels = [(seen.ids >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]
        assert cv2.imwrite(str(tmp_path / f"{entry['image_id']}.png"), np.stack(channels, axis=-1))
        segments = [{"id": segment.id, "category_id": segment.class_id} for segment in seen.segments]
        pairs.append((entry, {"file_name": f"{entry['image_id']}.png", "segments_info": segments}))
    categories = {category["id"]: category for category in truth["categories"]}
    counts = pq_compute_single_core(0, pairs, str(tmp_path / "cityscapes_panoptic_val"), str(tmp_path), categories)
    expected = average_pq(counts, categories)

    result = ours(street).panoptic_quality
    assert result is not None
    for mean, key in ((result.all, "All"), (result.things, "Things"), (result.stuff, "Stuff")):
        assert mean is not None
        official = expected[key]
        assert (mean.pq, mean.sq, mean.rq, mean.classes) == pytest.approx(
            (official["pq"], official["sq"], official["rq"], official["n"]), abs=1e-9
        )
    assert {part.class_id for part in result.per_class} == {
        class_id for class_id in categories if (c := counts[class_id]).tp + c.fp + c.fn
    }
    for part in result.per_class:
        of_class = counts[part.class_id]
        assert (part.tp, part.fp, part.fn) == (of_class.tp, of_class.fp, of_class.fn)
        assert part.pq == pytest.approx(expected["per_class"][part.class_id]["pq"], abs=1e-9)
    assert sum(part.fp for part in result.per_class) > 10
    assert sum(part.fn for part in result.per_class) > 10


def instance_evaluation(street: Street, folder: Path) -> dict[str, Any]:
    """The figures of evalInstanceLevelSemanticLabeling."""
    from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling

    for name, seen in street.predictions.items():
        lines = []
        for segment in seen.things:
            file = f"{name}_{segment.id}.png"
            assert cv2.imwrite(str(folder / file), np.where(seen.ids == segment.id, 255, 0).astype(np.uint8))
            lines.append(f"{file} {segment.class_id} {segment.score}\n")
        (folder / f"{name}.txt").write_text("".join(lines))
    args = evalInstanceLevelSemanticLabeling.args
    args.predictionPath, args.gtInstancesFile = str(folder), str(folder / "gtInstances.json")
    args.JSONOutput, args.quiet = False, True
    truths = {path.name.split("_gtFine")[0]: path for path in street.folder.glob("gtFine/val/*/*_instanceIds.png")}
    result: dict[str, Any] = evalInstanceLevelSemanticLabeling.evaluateImgLists(
        [str(folder / f"{name}.txt") for name in street.predictions],
        [str(truths[name]) for name in street.predictions],
        args,
    )
    return result


@pytest.mark.usefixtures("older_numpy")
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("pictures", ["street", "blocks"])
def test_average_precision_is_that_of_cityscapesscripts(
    pictures: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    street: Street = request.getfixturevalue(pictures)
    # It writes what it has found on the way, and cannot since numpy's whole numbers are no longer Python's.
    monkeypatch.setattr(
        "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling.writeDict2JSON", lambda content, path: None
    )
    expected = instance_evaluation(street, tmp_path)["averages"]
    result = ours(street).cityscapes_average_precision
    assert result is not None
    assert (result.ap, result.ap50) == pytest.approx((expected["allAp"], expected["allAp50%"]), abs=1e-9)
    assert len({part.ap50 for part in result.per_class}) >= 3, "the classes are not equally good"
    official = {name: values for name, values in expected["classes"].items() if not np.isnan(values["ap"])}
    assert {part.name for part in result.per_class} == set(official)
    for part in result.per_class:
        assert (part.ap, part.ap50) == pytest.approx(
            (official[part.name]["ap"], float(np.squeeze(official[part.name]["ap50%"]))), abs=1e-9
        )


def test_semantic_iou_is_that_of_cityscapesscripts(street: Street) -> None:
    """Its formula, of evalPixelLevelSemanticLabeling, over a confusion matrix of ours that is counted pixel by
    pixel.
    """
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    confusion = official.generateMatrix(official.args)
    for name, raw in street.raw.items():
        np.add.at(confusion, (panoptic(raw).segmentation.classes(), street.predictions[name].classes()), 1)
    score: Callable[[int], float] = partial(official.getIouScoreForLabel, confMatrix=confusion, args=official.args)
    result = ours(street).semantic_iou
    assert result is not None
    ious = {class_id: score(int(class_id)) for class_id in LABELS.class_ids}
    present = {class_id: iou for class_id, iou in ious.items() if not np.isnan(iou)}
    assert {part.class_id: part.iou for part in result.per_class} == pytest.approx(present, abs=1e-12)
    assert result.mean_iou == pytest.approx(np.mean(list(present.values())), abs=1e-12)
