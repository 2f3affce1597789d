"""From the regions of a label map to a truth, by the same rules for all data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.datasets.faults import Fault, Report
from panoptic_ros.labels import MAX_CLASS_ID, LabelSet
from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import INSTANCE_DIVISOR, MAX_INSTANCES, PanopticSegmentation, Segment


def class_table(labels: LabelSet) -> NDArray[np.bool_]:
    """(256,) which class ids a label set has."""
    table = np.zeros(MAX_CLASS_ID + 1, dtype=bool)
    table[labels.class_ids] = True
    return table


def build_truth(
    regions: Regions,
    classes: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    labels: LabelSet,
    file: Path,
    report: Report,
    place: tuple[str, int] = ("", 0),
) -> Truth | None:
    """Number the things, join the stuff and describe the segments.

    Things, crowds too, are numbered from 1 in the order of their values in the label map.  Regions of one class of
    stuff become one segment, which is a crowd only if all of them are.

    Parameters
    ----------
    regions:
        Of the label map.
    classes:
        (R,) the class id of each region, 0 for void.
    crowd:
        (R,) whether a region is a crowd or a group.
    labels:
        Which classes are things.
    file:
        The label map's, for messages.
    report:
        Is told of stuff in more than one region.
    place:
        The drive's name and the number in it.

    Returns
    -------
    The truth; None, after an error, if there are more things than can be numbered.
    """
    is_thing = np.isin(classes, sorted(labels.thing_ids))
    count = int(is_thing.sum())
    if count > MAX_INSTANCES:
        report(Fault.error(file, f"holds {count} things, of which a frame can have {MAX_INSTANCES}"))
        return None
    ids = classes * INSTANCE_DIVISOR
    ids[is_thing] += np.arange(1, count + 1)
    segments: dict[int, Segment] = {}
    apart: set[int] = set()
    repeated: list[int] = []
    for id_, thing, group, area, box in zip(
        ids.tolist(), is_thing.tolist(), crowd.tolist(), regions.areas.tolist(), regions.boxes.tolist(), strict=True
    ):
        if not id_:
            continue
        if not group:
            apart.add(id_)
        class_id, instance = divmod(id_, INSTANCE_DIVISOR)
        if (other := segments.get(id_)) is not None:
            repeated.append(class_id)
            area += other.area
            box = [*map(min, box[:2], other.bbox[:2]), *map(max, box[2:], other.bbox[2:])]
        segments[id_] = Segment(id_, class_id, thing, 1.0, area, (box[0], box[1], box[2], box[3]), instance)
    for class_id in sorted(set(repeated)):
        number = repeated.count(class_id) + 1
        report(Fault.warning(file, f"{labels.name_of(class_id)} is stuff in {number} segments, which are joined"))
    segmentation = PanopticSegmentation(regions.paint(ids.astype(np.int32)), tuple(segments.values()))
    return Truth(segmentation, frozenset(segments) - apart, *place)
