"""From a map of classes and a map of instances to the value of one frame.

Both are overlaid into one map of *labels* (the classes, void, the instances), described by its horizontal runs.  Runs
are few, so that areas, boxes and the removal of small stuff cost next to nothing beside the one gather that writes the
ids.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation, Segment


def merge(
    classes: Tensor,
    winners: Tensor,
    *,
    class_ids: Tensor,
    class_scores: Tensor,
    is_thing: Tensor,
    instance_classes: Tensor,
    instance_scores: Tensor,
    minimum_stuff_area: int,
    unlikely: Tensor | None = None,
    confidence: Tensor | None = None,
) -> PanopticSegmentation:
    """Things over stuff, small stuff removed (thesis section 3.4.1): the panoptic segmentation of one frame.

    Stuff of one class is one segment, and it is small by its whole area, as in Panoptic FPN.  Pixels whose semantic
    class is a thing and that no instance covers are void.

    Parameters
    ----------
    classes:
        (H, W) int16, semantic class index of each pixel; C for void.
    winners:
        (H, W) int16, index of the instance that each pixel belongs to, N for none, as `paste_by_rank` gives it.
    class_ids, class_scores, is_thing:
        (C,) the data set's id, the score of its stuff segment and whether it is a thing, of each class index.
    instance_classes, instance_scores:
        (N,) class index and score of each instance, N at most 999.
    minimum_stuff_area:
        Stuff of fewer pixels becomes void.
    unlikely:
        (C,) bool, classes of stuff that become void whatever their area; None for none.
    confidence:
        (H, W) float32 in [0, 1], of the semantic class; None if nobody asked for it.

    Returns
    -------
    On the host.  The device is read for the number of runs, and at the end for the table of segments and the maps.
    """
    device = classes.device
    count_classes, count_instances = len(class_ids), len(instance_classes)
    labels = torch.where(winners < count_instances, winners + (count_classes + 1), classes)
    things = torch.cat((is_thing, is_thing.new_tensor([False]), is_thing.new_ones(count_instances)))
    run_labels, rows, starts, stops = _runs(labels)

    size = count_classes + 1 + count_instances
    areas = torch.zeros(size, dtype=torch.int64, device=device).scatter_add_(0, run_labels, stops - starts)
    numbers = torch.arange(1, count_instances + 1, device=device)
    void = is_thing | (areas[:count_classes] < minimum_stuff_area)
    if unlikely is not None:
        void |= unlikely
    ids = torch.cat(
        (
            torch.where(void, 0, class_ids * INSTANCE_DIVISOR),
            class_ids.new_zeros(1),
            class_ids[instance_classes] * INSTANCE_DIVISOR + numbers,
        )
    )
    scores = torch.cat((class_scores, class_scores.new_zeros(1), instance_scores))
    empty = torch.full((size,), max(labels.shape), dtype=torch.int64, device=device)
    none = torch.zeros_like(empty)
    columns = (
        ids,
        things,
        scores,
        areas,
        empty.scatter_reduce(0, run_labels, starts, "amin"),
        empty.scatter_reduce(0, run_labels, rows, "amin"),
        none.scatter_reduce(0, run_labels, stops, "amax"),
        none.scatter_reduce(0, run_labels, rows + 1, "amax"),
    )
    table = torch.stack([column.double() for column in columns], dim=1)  # every whole number here is exact in a double
    id_map = _paint(ids.to(torch.int32), labels, run_labels, stops - starts)
    certainty = None
    if confidence is not None:
        score_map = _paint(scores.float(), labels, run_labels, stops - starts)
        certain = torch.where(winners < count_instances, score_map, confidence)
        certainty = (certain.where(id_map != 0, 0.0) * 255.0 + 0.5).to(torch.uint8).numpy(force=True)
    segments = tuple(
        Segment(
            id=int(number),
            class_id=int(number) // INSTANCE_DIVISOR,
            is_thing=bool(thing),
            score=score,
            area=int(area),
            bbox=(int(x0), int(y0), int(x1), int(y1)),
            instance=int(number) % INSTANCE_DIVISOR,
        )
        for number, thing, score, area, x0, y0, x1, y1 in table.tolist()
        if number and area
    )
    return PanopticSegmentation(ids=id_map.numpy(force=True), segments=segments, confidence=certainty)


def _paint(values: Tensor, labels: Tensor, run_labels: Tensor, lengths: Tensor) -> Tensor:
    """(H, W) the value of each pixel's label, of a map with these runs."""
    if labels.is_cuda:
        return values.index_select(0, labels.view(-1).int()).view(labels.shape)
    return torch.from_numpy(np.repeat(values[run_labels].numpy(), lengths.numpy())).view(labels.shape)


def _runs(labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The horizontal runs of equal labels: (R,) int64 label, row, first column and the column after the last."""
    height, width = labels.shape
    first = torch.ones_like(labels, dtype=torch.bool)
    torch.ne(labels[:, 1:], labels[:, :-1], out=first[:, 1:])
    flat = first.view(-1)
    begin = flat.nonzero()[:, 0] if flat.is_cuda else torch.from_numpy(np.flatnonzero(flat.numpy()))
    end = torch.cat((begin[1:], begin.new_tensor([height * width])))
    rows = torch.div(begin, width, rounding_mode="floor")
    starts = begin - rows * width
    return labels.view(-1)[begin].long(), rows, starts, starts + (end - begin)
