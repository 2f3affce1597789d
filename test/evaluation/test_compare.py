"""The paired bootstrap against a loop over resamples, a closed form, and how often it errs where nothing differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from evaluation_cases import LABELS

from panoptic_ros.evaluation import compare as compare_module
from panoptic_ros.evaluation.compare import MIN_IMAGES, ComparisonError, Difference, check_comparable, compare
from panoptic_ros.evaluation.document import EvaluationDocument, Source
from panoptic_ros.evaluation.metrics import EvaluationResult
from panoptic_ros.evaluation.panoptic_quality import ImageQualities, PanopticQualityResult
from panoptic_ros.labels import Label, LabelSet

ONE_CLASS = LabelSet("one", (Label(7, "road", False, (1, 2, 3)),))


def document(qualities: ImageQualities, labels: LabelSet = LABELS, **rest: Any) -> EvaluationDocument:
    result = PanopticQualityResult("coco", None, None, None, ())
    metrics = EvaluationResult(labels.name, len(qualities.names), panoptic_quality=result)
    source = Source("dataset", "data", "coco", labels, len(qualities.names))
    return EvaluationDocument(source, None, metrics, qualities.names, qualities, None, **rest)


def random_pair(generator: np.random.Generator, images: int, missing: float = 0.4) -> list[EvaluationDocument]:
    """Two evaluations of one truth: each image has some segments of some classes, of which each finds some."""
    truth = generator.integers(1, 4, (images, 5)) * (generator.random((images, 5)) > missing)
    documents = []
    for _ in range(2):
        tp = generator.binomial(truth, 0.6)
        fp = generator.poisson(0.5, truth.shape)
        iou = tp * generator.uniform(0.5, 1, truth.shape)
        names = tuple(f"image {index}" for index in range(images))
        documents.append(document(ImageQualities(names, LABELS.class_ids, tp, fp, truth - tp, iou)))
    return documents


def one_class(ious: np.ndarray) -> EvaluationDocument:
    """Images with one segment each, which is found."""
    ones = np.ones((len(ious), 1), np.int64)
    names = tuple(str(index) for index in range(len(ious)))
    return document(ImageQualities(names, ONE_CLASS.class_ids, ones, 0 * ones, 0 * ones, ious[:, None]), ONE_CLASS)


def literal_pq(chosen: list[int], qualities: ImageQualities, classes: list[int]) -> float:
    """Panoptic quality over some images, one possibly several times, and some classes, by the paper's formula."""
    values = []
    for column in classes:
        tp, fp, fn, iou = (sum(getattr(qualities, key)[i, column] for i in chosen) for key in ("tp", "fp", "fn", "iou"))
        if tp + fp + fn:
            values.append(iou / (tp + fp / 2 + fn / 2))
    return sum(values) / len(values) if values else float("nan")


def rows(comparison: compare_module.Comparison) -> dict[str, Difference]:
    return {row.name: row for row in (*comparison.groups, *comparison.per_class)}


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_a_loop_over_resamples_gives(seed: int) -> None:
    images, resamples = 17, 150
    a, b = random_pair(np.random.default_rng(seed), images)
    assert a.qualities is not None
    assert b.qualities is not None
    found = rows(compare(a, b, resamples, seed))
    draws = np.random.default_rng(seed).integers(0, images, (resamples, images)).tolist()
    labels = LABELS.labels
    kinds = {
        "all": list(range(5)),
        "things": [index for index, label in enumerate(labels) if label.is_thing],
        "stuff": [index for index, label in enumerate(labels) if not label.is_thing],
    } | {label.name: [index] for index, label in enumerate(labels)}
    assert found.keys() == kinds.keys()
    for name, classes in kinds.items():
        differences = [
            literal_pq(chosen, b.qualities, classes) - literal_pq(chosen, a.qualities, classes) for chosen in draws
        ]
        low, high = np.nanpercentile(differences, (2.5, 97.5))
        row, every = found[name], list(range(images))
        assert (row.low, row.high) == pytest.approx((low, high), abs=1e-12)
        assert (row.a, row.b) == pytest.approx(
            (literal_pq(every, a.qualities, classes), literal_pq(every, b.qualities, classes)), abs=1e-12
        )
        occurs = [(q.tp + q.fp + q.fn)[:, classes].any(axis=1) for q in (a.qualities, b.qualities)]
        assert row.images == (occurs[0] | occurs[1]).sum()


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    """With one found segment per image PQ is the mean IoU, and its difference has the standard error s / sqrt(N)."""
    generator = np.random.default_rng(3)
    base = generator.uniform(0.5, 0.9, 900)  # how hard the images are: far more spread than between A and B
    shift = generator.normal(0.004, 0.02, 900)
    row = rows(compare(one_class(base), one_class(base + shift), 8000))["road"]
    error = shift.std(ddof=1) / np.sqrt(900)
    assert row.difference == pytest.approx(shift.mean(), abs=1e-12)
    assert (row.low, row.high) == pytest.approx(
        (shift.mean() - 1.96 * error, shift.mean() + 1.96 * error), abs=0.15 * error
    )
    assert row.verdict == "B is better"


def test_it_errs_about_as_often_as_it_says() -> None:
    """Of pairs that do not differ, some 5 % of the intervals leave out 0."""
    generator = np.random.default_rng(4)
    wrong = 0
    for _ in range(300):
        a, b = (one_class(generator.uniform(0.5, 1, 60)) for _ in range(2))
        row = rows(compare(a, b, 300, seed=int(generator.integers(1 << 30))))["all"]
        wrong += row.verdict != "undecided"
    assert 5 <= wrong <= 30  # 15 are expected; fewer than 5 or more than 30 have a chance below 1 in 1000


def test_an_evaluation_does_not_differ_from_itself() -> None:
    a, _ = random_pair(np.random.default_rng(5), 12)
    for row in rows(compare(a, a)).values():
        assert (row.difference, row.low, row.high, row.verdict) == (0, 0, 0, "undecided")


def test_exchanging_the_two_mirrors_the_intervals() -> None:
    a, b = random_pair(np.random.default_rng(6), 20)
    forward, backward = rows(compare(a, b)), rows(compare(b, a))
    mirrored = {"A is better": "B is better", "B is better": "A is better"}
    for name, row in forward.items():
        other = backward[name]
        assert (row.low, row.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
        assert mirrored.get(row.verdict, row.verdict) == other.verdict


def test_the_order_of_images_and_the_memory_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = random_pair(np.random.default_rng(7), 15)
    q = b.qualities
    assert q is not None
    order = np.random.default_rng(8).permutation(15)
    mixed = replace(
        q,
        names=tuple(q.names[index] for index in order),
        **{key: getattr(q, key)[order] for key in ("tp", "fp", "fn", "iou")},
    )
    expected = compare(a, b, 500)
    assert compare(a, replace(b, names=mixed.names, qualities=mixed), 500) == expected
    monkeypatch.setattr(compare_module, "CHUNK", 40)
    assert compare(a, b, 500) == expected
    assert compare(a, b, 500, seed=1) != expected


def test_too_few_images_have_no_interval() -> None:
    generator = np.random.default_rng(9)
    for images in (1, MIN_IMAGES - 1, MIN_IMAGES):
        better = generator.uniform(0.7, 0.8, images)
        row = rows(compare(one_class(better - 0.2), one_class(better)))["road"]
        assert row.difference == pytest.approx(0.2)
        assert row.verdict == ("B is better" if images == MIN_IMAGES else "too few images")
        assert (row.low is None) == (images < MIN_IMAGES)


def test_classes_that_do_not_occur_are_not_listed() -> None:
    a, b = random_pair(np.random.default_rng(10), 10, missing=1.1)
    for one in (a, b):
        assert one.qualities is not None
        one.qualities.fp[:, 1:] = 0
        one.qualities.fp[0, 0] = 1
    found = rows(compare(a, b))
    assert found.keys() == {"all", "things", "stuff", LABELS.labels[0].name}
    assert (found["stuff"].a, found["stuff"].images, found["stuff"].verdict) == (None, 0, "")


def _changed(one: EvaluationDocument, what: str) -> EvaluationDocument:
    q = one.qualities
    assert q is not None
    if what == "images":
        names = ("other", *q.names[1:])
        return replace(one, names=names, qualities=replace(q, names=names))
    if what == "labels":
        renamed = (replace(LABELS.labels[0], name="metro"), *LABELS.labels[1:])
        return replace(one, source=replace(one.source, labels=LabelSet("test", renamed)))
    if what == "rule":
        quality = one.metrics.panoptic_quality
        assert quality is not None
        quality = replace(quality, rule="void_in_union")
        return replace(one, metrics=replace(one.metrics, panoptic_quality=quality))
    fn = q.fn.copy()
    fn[3, 2] += 1
    return replace(one, qualities=replace(q, fn=fn))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("images", "the images are not the same: image 0 only in A; other only in B"),
        ("labels", "classes such as metro, tram"),
        ("rule", "by the rules coco and void_in_union"),
        ("truth", "the truth of image 3 has other segments in A than in B"),
    ],
)
def test_what_cannot_be_compared(what: str, message: str) -> None:
    a, b = random_pair(np.random.default_rng(11), 8)
    check_comparable(a, b)
    with pytest.raises(ComparisonError, match=message):
        compare(a, _changed(b, what))


def test_bad_settings() -> None:
    a, b = random_pair(np.random.default_rng(12), 8)
    with pytest.raises(ValueError, match="resamples of at least 1"):
        compare(a, b, 0)
    with pytest.raises(ValueError, match=r"confidence in \(0, 1\)"):
        compare(a, b, confidence=1.0)
    with pytest.raises(ComparisonError, match="was not measured"):
        compare(replace(a, qualities=None), replace(b, qualities=None))
