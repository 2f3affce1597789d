"""Average precision of overlapping instances against pycocotools as its own users call it, and what feeds it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_cases import IDS, LABELS, Case
from numpy.typing import NDArray

from panoptic_ros import fusion
from panoptic_ros.evaluation.detection_precision import DetectionPrecision
from panoptic_ros.evaluation.overlaps import EvaluationError

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install -e '.[evaluation]'")

THINGS = [id_ for id_ in IDS if id_ // 1000 in LABELS.thing_ids]
Found = list[tuple[int, float, NDArray[np.bool_]]]
"""Class, score and full-size mask of each detection."""


def street(generator: np.random.Generator) -> tuple[Case, Found]:
    """Blocks and small things, one a crowd; detections are things, moved, cut or of another class, several of each."""
    truth = np.kron(generator.choice(IDS, (3, 4)), np.ones((40, 40), dtype=np.int32)).astype(np.int32)
    for _ in range(5):
        y, x = generator.integers(0, (90, 130))
        truth[y : y + 25, x : x + 18] = generator.choice(THINGS)
    found: Found = []
    for id_ in sorted({int(one) for one in np.unique(truth)} & set(THINGS)):
        for _ in range(3):
            mask = np.roll(truth == id_, tuple(generator.integers(-9, 10, 2)), (0, 1))
            class_id = id_ // 1000 if generator.random() < 0.8 else int(generator.choice(THINGS)) // 1000
            found.append((class_id, float(generator.random()), mask))
    found.append((THINGS[0] // 1000, 0.99, np.zeros_like(truth, dtype=np.bool_)))
    return Case(truth, truth, frozenset({24002} & set(truth.flat)), ()), found


def parts(found: Found) -> list[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """The masks as parts of the frame, some with a margin."""
    cut = []
    for number, (_, _, mask) in enumerate(found):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            cut.append(((slice(0, 0), slice(0, 0)), mask[:0, :0]))
            continue
        margin = number % 3
        down, across = (slice(max(0, int(some[0]) - margin), int(some[-1]) + 1 + margin) for some in (rows, columns))
        cut.append(((down, across), mask[down, across]))
    return cut


def measured(streets: list[tuple[Case, Found]]) -> DetectionPrecision:
    metric = DetectionPrecision(LABELS)
    for index, (case, found) in enumerate(streets):
        metric.update_detections(
            case.overlaps(f"{index:02d}"),
            np.array([class_id for class_id, _, _ in found], dtype=np.int32),
            np.array([score for _, score, _ in found]),
            parts(found),
        )
    return metric


def official(streets: list[tuple[Case, Found]]) -> list[float]:
    """AP, AP50, AP75 and the three sizes of COCOeval.summarize."""
    from pycocotools import mask as masks
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def encoded(mask: NDArray[np.bool_]) -> Any:
        return masks.encode(np.asfortranarray(mask, dtype=np.uint8))

    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (case, found) in enumerate(streets):
        for id_ in sorted({int(one) for one in np.unique(case.truth)} & set(THINGS)):
            mask = case.truth == id_
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": image,
                    "category_id": id_ // 1000,
                    "segmentation": encoded(mask),
                    "area": int(mask.sum()),
                    "iscrowd": int(id_ in case.crowd),
                }
            )
        for class_id, score, mask in found:
            results.append({"image_id": image, "category_id": class_id, "segmentation": encoded(mask), "score": score})
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": image, "height": case.truth.shape[0], "width": case.truth.shape[1]}
            for image, (case, _) in enumerate(streets)
        ],
        "categories": [{"id": class_id} for class_id in sorted(LABELS.thing_ids)],
        "annotations": truths,
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(results), "segm")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    figures: list[float] = evaluator.stats[:6].tolist()
    return figures


@pytest.mark.parametrize("seed", range(4))
def test_overlapping_detections_have_the_precision_that_pycocotools_gives_them(seed: int) -> None:
    generator = np.random.default_rng(seed)
    streets = [street(generator) for _ in range(4)]
    result = measured(streets).result()
    found = [result.ap, result.ap50, result.ap75, result.ap_small, result.ap_medium, result.ap_large]
    assert 0.05 < (result.ap or 0.0) < 0.95
    assert [-1.0 if value is None else value for value in found] == pytest.approx(official(streets), abs=1e-12)


def test_images_of_several_processes_are_added_up() -> None:
    generator = np.random.default_rng(0)
    streets = [street(generator) for _ in range(4)]
    first, second = measured(streets[:1]), DetectionPrecision(LABELS)
    for index, (case, found) in enumerate(streets[1:], start=1):
        second.update_detections(
            case.overlaps(f"{index:02d}"),
            np.array([class_id for class_id, _, _ in found], dtype=np.int32),
            np.array([score for _, score, _ in found]),
            parts(found),
        )
    first.merge(second)
    assert first.result() == measured(streets).result()


def test_detections_that_do_not_fit_are_named() -> None:
    case, found = street(np.random.default_rng(0))
    masks = parts(found)
    classes = np.array([class_id for class_id, _, _ in found], dtype=np.int32)
    scores = np.array([score for _, score, _ in found])
    with pytest.raises(EvaluationError, match=f"here: there are {len(found)} classes, 1 scores and {len(found)} masks"):
        DetectionPrecision(LABELS).update_detections(case.overlaps("here"), classes, scores[:1], masks)
    classes[0] = 7
    with pytest.raises(EvaluationError, match="here: class 7 of a detection is no thing"):
        DetectionPrecision(LABELS).update_detections(case.overlaps("here"), classes, scores, masks)


def test_each_mask_covers_what_it_covers_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand((9, 6, 6), generator=generator)
    corners = torch.rand((9, 2, 2), generator=generator) * torch.tensor((70.0, 50.0)) - 8.0
    boxes = torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)
    boxes[4] = torch.tensor((-9.0, 3.0, -2.0, 8.0))  # outside the frame
    each = fusion.paste_each(masks, boxes, 40, 60, 0.5)
    assert len(each) == 9
    assert each[4][1].size == 0
    for index, (place, mask) in enumerate(each):
        whole = np.zeros((40, 60), dtype=np.bool_)
        whole[place] = mask
        alone = fusion.paste_by_rank(masks[index : index + 1], boxes[index : index + 1], 40, 60, 0.5)
        assert np.array_equal(whole, alone.numpy() == 0)
