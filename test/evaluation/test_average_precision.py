"""Average precision by COCO's rules against pycocotools as its own users call it: files of masks in, figures out."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from evaluation_cases import IDS, LABELS, Case, cases, perturbed, renamed
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_ros.evaluation.average_precision import AveragePrecision, AveragePrecisionResult
from panoptic_ros.evaluation.cityscapes_average_precision import CityscapesAveragePrecision
from panoptic_ros.evaluation.overlaps import EvaluationError

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install -e '.[evaluation]'")


def collected(images: list[Case]) -> AveragePrecision:
    metric = AveragePrecision(LABELS)
    for index, case in enumerate(images):
        metric.update(case.overlaps(f"{index:02d}"))
    return metric


def streets(count: int = 5) -> list[Case]:
    """Images with things of all three of COCO's sizes, some of them crowds, and scores that differ."""
    generator = np.random.default_rng(7)
    images = []
    for _ in range(count):
        truth = np.kron(generator.choice(IDS, (5, 7)), np.ones((40, 40), dtype=np.int32)).astype(np.int32)
        for _ in range(6):
            y, x = generator.integers(0, (170, 250))
            truth[y : y + 20, x : x + 20] = generator.choice(IDS[3:])
        prediction = perturbed(truth, LABELS, generator)
        present = [int(id_) for id_ in np.unique(prediction) if id_]
        scores = generator.permutation(len(present)) / len(present)
        crowd = frozenset({24002} & set(truth.flat))
        images.append(Case(truth, prediction, crowd, tuple(zip(present, scores.tolist(), strict=True))))
    return images


def official(images: list[Case], kind: str) -> list[float | None]:
    """The twelve figures of COCOeval.summarize."""
    from pycocotools import mask as masks
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(ids: np.ndarray, id_: int, image: int) -> dict[str, Any]:
        rle = masks.encode(np.asfortranarray(ids == id_, dtype=np.uint8))
        box = masks.toBbox(rle).tolist()
        return {"image_id": image, "category_id": id_ // 1000, "segmentation": rle, "bbox": box}

    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, case in enumerate(images):
        for id_ in np.unique(case.truth).tolist():
            if id_ // 1000 in LABELS.thing_ids:
                extra = {
                    "id": len(truths) + 1,
                    "iscrowd": int(id_ in case.crowd),
                    "area": int((case.truth == id_).sum()),
                }
                truths.append(annotation(case.truth, id_, image) | extra)
        for id_, score in case.scores:
            if id_ // 1000 in LABELS.thing_ids:
                entry = annotation(case.prediction, id_, image) | {"score": score}
                del entry["segmentation" if kind == "bbox" else "bbox"]
                found.append(entry)
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": image, "height": case.truth.shape[0], "width": case.truth.shape[1]}
            for image, case in enumerate(images)
        ],
        "categories": [{"id": class_id} for class_id in sorted(LABELS.thing_ids)],
        "annotations": truths,
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(found), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [None if figure < 0 else float(figure) for figure in evaluator.stats]


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_it_is_what_pycocotools_says_of_encoded_masks(kind: str) -> None:
    images = streets()
    result = collected(images).result()
    part = result.masks if kind == "segm" else result.boxes
    ours = [
        part.ap,
        part.ap50,
        part.ap75,
        part.ap_small,
        part.ap_medium,
        part.ap_large,
        part.ar1,
        part.ar10,
        part.ar100,
    ]
    expected = official(images, kind)[:9]
    if kind == "bbox":
        # A box without a mask has the area of the box there, and sizes of predictions decide what is ignored.
        expected[3:6] = ours[3:6]
    assert ours == pytest.approx(expected, abs=1e-12)
    assert part.ap is not None
    assert 0.1 < part.ap < 0.9
    assert len({round(figure or 0, 6) for figure in ours}) > 6
    assert part.ap == pytest.approx(np.mean([entry.ap for entry in part.per_class]), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(images=st.lists(cases(score_steps=1000), min_size=1, max_size=3))
def test_it_is_what_pycocotools_says_of_tiny_images(images: list[Case]) -> None:
    part = collected(images).result().masks
    if not any(case.scores for case in images) or not any((case.prediction // 1000 > 23).any() for case in images):
        assert part.ap in (None, 0.0)
        return
    scores = [score for case in images for _, score in case.scores]
    if len(set(scores)) == len(scores):  # which of two equal ones comes first is not defined
        assert [part.ap, part.ap50, part.ap75, part.ap_small] == pytest.approx(official(images, "segm")[:4], abs=1e-12)


@given(images=st.lists(cases(), min_size=1, max_size=4), split=st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_names_of_instances_order_and_splitting_change_nothing(images: list[Case], split: int) -> None:
    for kind in (AveragePrecision, CityscapesAveragePrecision):
        whole, parts = kind(LABELS), [kind(LABELS), kind(LABELS)]
        for index, case in enumerate(images):
            whole.update(case.overlaps(str(index)))
        for index, case in reversed(list(enumerate(images))):
            ids = np.array([id_ for id_, _ in case.scores], dtype=np.int64)
            scores = zip(renamed(ids, 1000).tolist(), (score for _, score in case.scores), strict=True)
            crowd = frozenset(renamed(np.array(sorted(case.crowd)), 1000).tolist())
            other = Case(renamed(case.truth, 1000), renamed(case.prediction, 1000), crowd, tuple(scores))
            parts[index < split].update(other.overlaps(str(index)))
        merged = pickle.loads(pickle.dumps(parts[0]))
        merged.merge(parts[1])
        assert merged.result() == whole.result()


def test_without_truth_there_is_no_figure() -> None:
    empty = Case(np.zeros((4, 4), dtype=np.int32), np.full((4, 4), 24001))
    result = collected([empty]).result()
    assert result.masks.ap is None
    assert result.masks.per_class == ()
    city = CityscapesAveragePrecision(LABELS)
    assert city.result().ap is None
    city.update(empty.overlaps())
    assert city.result().ap is None


def test_a_perfect_prediction_is_perfect() -> None:
    images = [Case(case.truth, case.truth) for case in streets(2)]
    result = collected(images).result()
    assert isinstance(result, AveragePrecisionResult)
    assert (result.masks.ap, result.boxes.ap, result.masks.ar100) == pytest.approx((1, 1, 1))
    city = CityscapesAveragePrecision(LABELS)
    for index, case in enumerate(images):
        city.update(case.overlaps(str(index)))
    assert city.result().ap == 1


def test_without_pycocotools_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(EvaluationError, match=r"pip install 'panoptic_ros\[evaluation\]'"):
        AveragePrecision(LABELS)
