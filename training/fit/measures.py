"""What validation measures, with the metrics of `panoptic_ros.evaluation`, over all processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, distributed

from panoptic_ros import fusion
from panoptic_ros.datasets import Truth
from panoptic_ros.evaluation.detection_precision import DetectionPrecision
from panoptic_ros.evaluation.metrics import Metrics
from panoptic_ros.evaluation.overlaps import Overlaps, overlaps
from panoptic_ros.evaluation.recall import ProposalRecall
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.frame_instances import FrameInstances
from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation


def semantic_segmentation(logits: Tensor, stride: int, letterbox: Letterbox, labels: LabelSet) -> PanopticSegmentation:
    """The best class of each pixel of a frame by a semantic head alone, every class in one segment.

    Parameters
    ----------
    logits:
        (C, h, w) of the whole input.
    stride:
        Pixels of the input for each cell of the logits; letterboxes are aligned to it.
    """
    rows = slice(letterbox.top // stride, (letterbox.top + letterbox.height) // stride)
    columns = slice(letterbox.left // stride, (letterbox.left + letterbox.width) // stride)
    height, width = letterbox.frame_height, letterbox.frame_width
    classes = fusion.upsample_argmax(logits[:, rows, columns], height, width)
    ids = np.append(labels.class_ids, 0)[classes.cpu().numpy()] * INSTANCE_DIVISOR
    return PanopticSegmentation.from_ids(ids.astype(np.int32), ())


def instance_ious(pairs: Overlaps) -> list[float]:
    """Of each thing of the truth that is no crowd, the IoU of the predicted thing of its class that fits it best.

    The mean of these is what the thesis calls the mean IoU of the instances (3.3).
    """
    truth, prediction, shared = pairs.truth, pairs.prediction, pairs.intersections
    unions = truth.areas[:, None] + prediction.areas - shared - pairs.prediction_on_void
    ious = np.where(pairs.same_class, shared / np.maximum(unions, 1), 0.0)
    best: list[float] = ious.max(axis=1, initial=0.0)[truth.is_thing & ~truth.crowd].tolist()
    return best


class Measures:
    """Collects predictions of one validation.

    Parameters
    ----------
    labels:
        The network's classes.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._panoptic = Metrics(labels, ("panoptic_quality", "average_precision"))
        self._semantic = Metrics(labels, ("semantic_iou",))
        self._recall = ProposalRecall()
        self._detections = DetectionPrecision(labels)
        self._ious: list[float] = []

    def update(
        self,
        name: str,
        panoptic: PanopticSegmentation,
        semantic: PanopticSegmentation | None,
        truth: Truth,
        has_instances: bool,
        proposals: NDArray[np.float64] | None = None,
        instances: FrameInstances | None = None,
    ) -> None:
        """Take one frame.

        Parameters
        ----------
        name:
            Another for each.
        panoptic, semantic:
            What a system says as a whole, and by its semantic head alone; None where it has none.
        truth:
            Of the same size.
        has_instances:
            Whether it tells things apart; if not, only classes are measured.
        proposals:
            (N, 4) x0, y0, x1, y1 in pixels of the frame, the regions that a system looks at; None where it has none.
        instances:
            What its instance branch finds by itself; None where it has none.

        Raises
        ------
        EvaluationError
            If they do not fit together.
        """
        self._semantic.update(name, panoptic if semantic is None else semantic, truth)
        if has_instances:
            self._panoptic.update(name, panoptic, truth)
            pairs = overlaps(name, panoptic, truth, self._labels)
            self._ious += instance_ious(pairs)
            if proposals is not None:
                self._recall.update_proposals(pairs, proposals)
            if instances is not None:
                height, width = truth.segmentation.ids.shape
                self._detections.update_detections(
                    pairs,
                    self._labels.class_ids[instances.classes.numpy(force=True)],
                    instances.scores.double().numpy(force=True),
                    fusion.paste_each(instances.masks, instances.boxes, height, width, instances.mask_threshold),
                )

    def result(self) -> dict[str, float]:
        """Each measure that means something, in [0, 1], over the frames of all processes; every process must call."""
        parts = [(self._panoptic, self._semantic, self._recall, self._detections, self._ious)]
        if distributed.is_available() and distributed.is_initialized():
            gathered = [parts[0]] * distributed.get_world_size()
            distributed.all_gather_object(gathered, parts[0])
            parts = gathered
        empty = Measures(self._labels)
        panoptic, semantic, ious = empty._panoptic, empty._semantic, empty._ious
        recall, detections = empty._recall, empty._detections
        for part in parts:
            panoptic.merge(part[0])
            semantic.merge(part[1])
            recall.merge(part[2])
            detections.merge(part[3])
            ious += part[4]
        found: dict[str, float | None] = {"instance_iou": float(np.mean(ious)) if ious else None}
        if classes := semantic.result().semantic_iou:
            found["semantic_iou"] = classes.mean_iou
        result = panoptic.result()
        if quality := result.panoptic_quality:
            for group, mean in (("", quality.all), ("_things", quality.things), ("_stuff", quality.stuff)):
                found |= {f"{what}{group}": getattr(mean, what) for what in ("pq", "sq", "rq")} if mean else {}
        if panoptic.images and (precision := result.average_precision):
            found |= {"mask_ap": precision.masks.ap, "mask_ap50": precision.masks.ap50, "box_ap": precision.boxes.ap}
        alone = detections.result()
        found |= {"detection_ap": alone.ap, "detection_ap50": alone.ap50}
        recalls = recall.result()
        found["proposal_recall"] = recalls.mean_recall
        found |= {f"proposal_recall_{size}": value for size, value in recalls.by_size}
        return {name: value for name, value in found.items() if value is not None}
