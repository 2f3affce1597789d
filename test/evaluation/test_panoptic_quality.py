"""Panoptic quality against published values, a literal transcription, torchmetrics, and its own symmetries."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluation_cases import IDS, LABELS, Case, cases, perturbed, renamed, segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_metrics import panoptic_counts, panoptic_quality, regions

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.overlaps import EvaluationError, overlaps
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult, Rule
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

RULES: tuple[Rule, ...] = ("coco", "cityscapes", "void_in_union")


def evaluated(images: list[Case], rule: Rule = "coco", labels: LabelSet = LABELS) -> PanopticQualityResult:
    metric = PanopticQuality(labels, rule)
    for index, case in enumerate(images):
        metric.update(overlaps(f"image {index}", *case.values(), labels))
    return metric.result()


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(images=st.lists(cases(), max_size=4))
def test_it_is_what_a_literal_transcription_counts(images: list[Case], rule: Rule) -> None:
    """With crowds, void, empty images, segments of one pixel and the largest ids there are."""
    result = evaluated(images, rule)
    expected = panoptic_counts(((regions(case.prediction), regions(case.truth), case.crowd) for case in images), rule)
    assert {part.class_id: (part.tp, part.fp, part.fn) for part in result.per_class} == {
        class_id: tuple(counts[1:]) for class_id, counts in expected.items()
    }
    for part in result.per_class:
        assert (part.pq, part.sq, part.rq) == pytest.approx(panoptic_quality(expected[part.class_id]), abs=1e-12)
    for mean, chosen in (
        (result.all, set(expected)),
        (result.things, set(expected) & {24, 26, 255}),
        (result.stuff, set(expected) & {7, 23}),
    ):
        if not chosen:
            assert mean is None
            continue
        assert mean is not None
        qualities = np.array([panoptic_quality(expected[class_id]) for class_id in chosen])
        assert (mean.pq, mean.sq, mean.rq) == pytest.approx(tuple(qualities.mean(axis=0)), abs=1e-12)
        assert mean.classes == len(chosen)


@settings(deadline=None)
@given(images=st.lists(cases(), min_size=1, max_size=5), data=st.data())
def test_names_of_instances_order_and_splitting_change_nothing(images: list[Case], data: st.DataObject) -> None:
    whole = PanopticQuality(LABELS)
    for index, case in enumerate(images):
        whole.update(case.overlaps(str(index)))
    split = data.draw(st.integers(0, len(images)))
    order = data.draw(st.permutations(range(len(images))))
    parts = [PanopticQuality(LABELS), PanopticQuality(LABELS)]
    for position, index in enumerate(order):
        case = images[index]
        crowd = frozenset(renamed(np.array(sorted(case.crowd)), 1000).tolist())
        other = Case(renamed(case.truth, 1000), renamed(case.prediction, 1000), crowd)
        parts[position >= split].update(other.overlaps(str(index)))
    merged = pickle.loads(pickle.dumps(parts[0]))
    merged.merge(pickle.loads(pickle.dumps(parts[1])))
    assert merged.result() == whole.result()
    a, b = whole.per_image(), merged.per_image()
    back = [b.names.index(name) for name in a.names]
    for key in ("tp", "fp", "fn", "iou"):
        assert np.array_equal(getattr(a, key), getattr(b, key)[back])


@settings(deadline=None)
@given(images=st.lists(cases(), min_size=1, max_size=4))
def test_the_counts_of_single_images_add_up(images: list[Case]) -> None:
    metric = PanopticQuality(LABELS)
    for index, case in enumerate(images):
        metric.update(case.overlaps(str(index)))
    per_image = metric.per_image()
    assert per_image.names == tuple(str(index) for index in range(len(images)))
    for index, case in enumerate(images):
        alone = {part.class_id: part for part in evaluated([case]).per_class}
        for column, class_id in enumerate(per_image.class_ids.tolist()):
            part = alone.get(class_id)
            counts = (per_image.tp[index, column], per_image.fp[index, column], per_image.fn[index, column])
            assert counts == ((part.tp, part.fp, part.fn) if part else (0, 0, 0))
            assert per_image.iou[index, column] == pytest.approx(part.sq * part.tp if part else 0.0, abs=1e-12)


@settings(deadline=None)
@given(case=cases(crowds=False))
def test_every_truth_is_its_own_perfect_prediction(case: Case) -> None:
    result = evaluated([Case(case.truth, case.truth)])
    assert {part.class_id for part in result.per_class} == set((case.truth[case.truth > 0] // 1000).tolist())
    assert all((part.pq, part.sq, part.rq, part.fp, part.fn) == (1, 1, 1, 0, 0) for part in result.per_class)


def test_a_crowd_and_void_excuse_a_prediction_only_if_they_cover_more_than_half() -> None:
    truth = np.array([[0, 0, 24001, 24001, 7000, 7000, 7000, 7000]], dtype=np.int32)
    exactly_half = np.array([[0, 24002, 24002, 24002, 24002, 24002, 24002, 0]], dtype=np.int32)
    more = np.array([[24002, 24002, 24002, 24002, 24002, 24002, 24002, 0]], dtype=np.int32)
    crowd = frozenset({24001})
    assert [(part.name, part.fp, part.fn) for part in evaluated([Case(truth, exactly_half, crowd)]).per_class] == [
        ("road", 0, 1),
        ("person", 1, 0),
    ]
    assert [part.name for part in evaluated([Case(truth, more, crowd)]).per_class] == ["road"]
    of_another_class = np.where(more > 0, 26002, 0)
    assert [part.fp for part in evaluated([Case(truth, of_another_class, crowd)]).per_class] == [0, 1]


def test_void_in_union_lowers_the_iou_of_what_lies_on_void() -> None:
    case = Case(np.array([[24001, 24001, 24001, 0]]), np.array([[24001, 24001, 24001, 24001]]))
    assert [evaluated([case], rule).per_class[0].sq for rule in RULES] == [1, 1, 0.75]


# --- published values


PUBLISHED_LABELS = LabelSet(
    "deeplab2",
    tuple(
        Label(index, name, index in (1, 2, 4, 6), (index, 0, 0))
        for index, name in enumerate(("person", "bear", "tree", "bird", "sky", "cat"), start=1)
    ),
)
COLORS = {(0, 0, 255): 1, (255, 0, 0): 2, (0, 255, 0): 3, (255, 0, 255): 4, (0, 255, 255): 5, (255, 255, 0): 6}
TEAM = {0: 0, 47: 1, 97: 1, 133: 1, 150: 1, 174: 1, 198: 2, 215: 1, 244: 1, 255: 1}


def deeplab2_image(
    folder: Path, name: str, truth_file: str, classes: dict[int, int]
) -> tuple[PanopticSegmentation, Truth]:
    """A test image of deeplab2: classes by colour, instances by grey value."""
    instances = cv2.imread(str(folder / truth_file), cv2.IMREAD_GRAYSCALE).astype(np.int32)
    truth = sum(
        np.where(instances == grey, class_id * 1000 + grey, 0) for grey, class_id in classes.items() if class_id
    )
    colors = cv2.cvtColor(cv2.imread(str(folder / f"{name}_pred_class.png")), cv2.COLOR_BGR2RGB)
    predicted = sum(class_id * (colors == color).all(axis=2) for color, class_id in COLORS.items())
    grey = cv2.imread(str(folder / f"{name}_pred_instance.png"), cv2.IMREAD_GRAYSCALE).astype(np.int32)
    ids = np.where(predicted > 0, predicted * 1000 + grey, 0)
    things = PUBLISHED_LABELS.thing_ids
    return (
        PanopticSegmentation.from_ids(ids.astype(np.int32), things),
        Truth(PanopticSegmentation.from_ids(truth.astype(np.int32), things)),
    )


def means(result: PanopticQualityResult) -> tuple[float, ...]:
    """PQ, SQ, RQ, TP, FN and FP, each a mean over classes."""
    assert result.all is not None
    counts = np.array([(part.tp, part.fn, part.fp) for part in result.per_class]).mean(axis=0)
    return (result.all.pq, result.all.sq, result.all.rq, *counts)


def test_published_values_of_one_image_and_of_three(shared_data: Path) -> None:
    """The expectations of deeplab2's evaluation/panoptic_quality_test.py."""
    folder = shared_data / "ref_deeplab2_pq" / "evaluation" / "testdata"
    team = deeplab2_image(folder, "team", "team_gt_instance.png", TEAM)
    metric = PanopticQuality(PUBLISHED_LABELS)
    metric.update(overlaps("team", *team, PUBLISHED_LABELS))
    assert means(metric.result()) == pytest.approx((0.62156284, 0.64664984, 0.9666667, 4, 0.5, 0), abs=1e-6)
    for name, classes in (("bird", {92: 5, 176: 3, 255: 4}), ("cat", {0: 0, 255: 6})):
        image = deeplab2_image(folder, name, f"{name}_gt.png", classes)
        metric.update(overlaps(name, *image, PUBLISHED_LABELS))
    assert means(metric.result()) == pytest.approx((0.76855499, 0.7769174, 0.98888892, 2, 1 / 6, 0), abs=1e-6)


def test_the_coco_sample_against_itself_is_perfect(shared_data: Path) -> None:
    """Each class of COCO's own example has PQ 1; crowds count neither way."""
    sample = shared_data / "coco_panoptic_sample"
    content = json.loads((sample / "panoptic_examples.json").read_text(encoding="utf-8"))
    labels = LabelSet.load("coco")
    metric = PanopticQuality(labels)
    present = set()
    for annotation in content["annotations"]:
        png = cv2.imread(str(sample / "panoptic_examples" / annotation["file_name"])).astype(np.int32)
        official = png[..., 2] + 256 * png[..., 1] + 65536 * png[..., 0]
        ids, crowd, instance = np.zeros(official.shape, dtype=np.int32), set(), 0
        for segment in annotation["segments_info"]:
            is_thing = segment["category_id"] in labels.thing_ids
            instance += is_thing
            id_ = segment["category_id"] * 1000 + instance * is_thing
            ids[official == segment["id"]] = id_
            if segment["iscrowd"]:
                crowd.add(id_)
            else:
                present.add(segment["category_id"])
        value = PanopticSegmentation.from_ids(ids, labels.thing_ids)
        metric.update(overlaps(annotation["file_name"], value, Truth(value, frozenset(crowd)), labels))
    result = metric.result()
    assert {part.class_id for part in result.per_class} == present
    assert all((part.pq, part.sq, part.rq) == (1, 1, 1) for part in result.per_class)


# --- torchmetrics


def test_torchmetrics_agrees_where_nothing_is_void() -> None:
    """Its rule treats void in the prediction as it does that in the truth, and it has no crowds."""
    functional = pytest.importorskip(
        "torchmetrics.functional.detection", reason="needs torchmetrics: pip install '.[test]'"
    )
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(3)
    metric = PanopticQuality(LABELS)
    stacked: list[list[np.ndarray]] = [[], []]
    for index in range(6):
        truth = np.kron(generator.choice(IDS[1:], size=(8, 12)), np.ones((8, 8), dtype=np.int32)).astype(np.int32)
        prediction = perturbed(truth, LABELS, generator)
        prediction = np.where(prediction == 0, 23000, prediction)
        metric.update(Case(truth, prediction).overlaps(str(index)))
        for maps, ids in zip(stacked, (prediction, truth), strict=True):
            maps.append(np.stack((ids // 1000, ids % 1000), axis=-1))
    peer = functional.panoptic_quality(
        *(torch.from_numpy(np.stack(maps)) for maps in stacked),
        things=LABELS.thing_ids,
        stuffs={label.id for label in LABELS.stuff},
        return_sq_and_rq=True,
        return_per_class=True,
    ).numpy()
    result = metric.result()
    assert len(result.per_class) == 5
    assert min(part.tp + part.fp + part.fn for part in result.per_class) > 3
    order = [*sorted(LABELS.thing_ids), *sorted(label.id for label in LABELS.stuff)]
    for part in result.per_class:
        assert (part.pq, part.sq, part.rq) == pytest.approx(tuple(peer[order.index(part.class_id)]), abs=1e-6)


# --- bad input


def test_bad_input_is_refused_by_name() -> None:
    good = segmentation(np.array([[7000, 24001]]))
    unknown = PanopticSegmentation.from_ids(np.array([[7000, 99001]], dtype=np.int32), {99})
    unlisted = PanopticSegmentation(np.array([[7000, 24002]], dtype=np.int32), good.segments)
    negative = PanopticSegmentation(np.array([[7000, -5]], dtype=np.int32), good.segments[:1])
    missing = PanopticSegmentation(np.array([[7000, 7000]], dtype=np.int32), good.segments)
    for prediction, truth, message in (
        (segmentation(np.array([[7000]])), Truth(good), "street 3: the prediction is 1x1 pixels, the truth 2x1"),
        (unknown, Truth(good), "street 3: class 99 of the prediction's segment 99001 is not in the label set 'test'"),
        (good, Truth(unknown), "street 3: class 99 of the truth's"),
        (good, Truth(good, frozenset({24005})), "street 3: crowd 24005 is not a segment of the truth"),
        (segmentation(good.ids, {24001: float("nan")}), Truth(good), "street 3: the score .* 24001 is nan"),
        (segmentation(good.ids, {24001: 1.5}), Truth(good), "street 3: the score .* 24001 is 1.5"),
        (unlisted, Truth(good), "street 3: id 24002 is in the prediction's id map but not among its segments"),
        (negative, Truth(good), "street 3: id -5 is in the prediction's id map"),
        (good, Truth(missing), "street 3: segment 24001 is listed but has no pixel in the truth's"),
        (PanopticSegmentation(good.ids, (good.segments[0],) * 2), Truth(good), "segment 7000 is listed twice"),
    ):
        with pytest.raises(EvaluationError, match=message):
            overlaps("street 3", prediction, truth, LABELS)
    metric = PanopticQuality(LABELS)
    metric.update(overlaps("street 3", good, Truth(good), LABELS))
    with pytest.raises(EvaluationError, match="street 3: this image is evaluated twice"):
        metric.update(overlaps("street 3", good, Truth(good), LABELS))
    with pytest.raises(EvaluationError, match="evaluated twice"):
        metric.merge(metric)
    with pytest.raises(EvaluationError, match="coco and void_in_union"):
        metric.merge(PanopticQuality(LABELS, "void_in_union"))
    with pytest.raises(ValueError, match="rule 'kitti' is not one of coco, cityscapes, void_in_union"):
        PanopticQuality(LABELS, "kitti")  # type: ignore[arg-type]


def test_an_image_without_pixels_counts_nothing() -> None:
    empty = PanopticSegmentation(np.zeros((0, 7), dtype=np.int32), ())
    metric = PanopticQuality(LABELS)
    metric.update(overlaps("empty", empty, Truth(empty), LABELS))
    assert metric.result() == PanopticQualityResult("coco", None, None, None, ())
