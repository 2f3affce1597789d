"""Instances and the meaning of ids as ``vision_msgs``, and a segmentation read back from its messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from panoptic_ros.encodings import ImageError
from panoptic_ros.labels import VOID_NAME, LabelSet
from panoptic_ros.messages.types import MessageTypes
from panoptic_ros.segmentation import INSTANCE_DIVISOR, VOID, PanopticSegmentation


def instances(types: MessageTypes, header: Any, segmentation: PanopticSegmentation, labels: LabelSet) -> Any:
    """The instances of things as a ``vision_msgs/Detection2DArray``.

    Each detection's `id` is its pixel value in the image of `instance_image`; its class is given by name.  Boxes are in
    pixels from the top left corner of the top left pixel, so that a box around one pixel has the size 1.
    """
    detections = []
    for segment in segmentation.things:
        x0, y0, x1, y1 = segment.bbox
        hypothesis = types.make(
            "vision_msgs/msg/ObjectHypothesis",
            class_id=labels.name_of(segment.class_id),
            score=float(segment.score),
        )
        position = types.make("vision_msgs/msg/Point2D", x=(x0 + x1) / 2, y=(y0 + y1) / 2)
        box = types.make(
            "vision_msgs/msg/BoundingBox2D",
            center=types.make("vision_msgs/msg/Pose2D", position=position, theta=0.0),
            size_x=float(x1 - x0),
            size_y=float(y1 - y0),
        )
        detections.append(
            types.make(
                "vision_msgs/msg/Detection2D",
                header=header,
                results=[types.make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis)],
                bbox=box,
                id=str(segment.instance),
            )
        )
    return types.make("vision_msgs/msg/Detection2DArray", header=header, detections=detections)


def label_info(types: MessageTypes, header: Any, labels: LabelSet) -> Any:
    """What the class ids mean, void said explicitly, as a ``vision_msgs/LabelInfo``.

    The threshold is 0: what was not sure enough is void in the images already.
    """
    meanings = [(VOID, VOID_NAME), *((label.id, label.name) for label in labels.labels)]
    return types.make(
        "vision_msgs/msg/LabelInfo",
        header=header,
        class_map=[types.make("vision_msgs/msg/VisionClass", class_id=id_, class_name=name) for id_, name in meanings],
        threshold=0.0,
    )


def segmentation_from_messages(panoptic: Any, detections: Any | None, labels: LabelSet) -> PanopticSegmentation:
    """Read a segmentation back from what `panoptic_image` and `instances` made of it.

    Parameters
    ----------
    panoptic:
        The 32SC1 ``sensor_msgs/Image``.
    detections:
        The ``vision_msgs/Detection2DArray`` of the same frame, or None.
    labels:
        What the class ids mean.

    Returns
    -------
    segmentation:
        The same ids, classes and areas.  Things have the scores of `detections`; the scores of stuff are in no message,
        they are 1, as are all without `detections`.

    Raises
    ------
    ImageError
        If the image is not 32SC1 or its data is shorter than its size.
    ValueError
        If the detections are of another moment or are not one known class and a number each.
    """
    if panoptic.encoding != "32SC1":
        raise ImageError(f"encoding is {panoptic.encoding!r}, expected 32SC1 (class_id * 1000 + instance)")
    height, width, step = panoptic.height, panoptic.width, panoptic.step
    if step < 4 * width or len(panoptic.data) < step * height:
        raise ImageError(
            f"a {width}x{height} 32SC1 image has step {step} and {len(panoptic.data)} bytes, "
            f"expected a step of at least {4 * width} and step x height bytes"
        )
    rows: Any = np.ndarray(
        (height, width),
        dtype=">i4" if panoptic.is_bigendian else "<i4",
        buffer=np.frombuffer(panoptic.data, dtype=np.uint8),
        strides=(step, 4),
    )
    scores: dict[int, float] = {}
    if detections is not None:
        _check_same_moment(panoptic.header, detections.header)
        classes = {label.name: label.id for label in labels.labels}
        for detection in detections.detections:
            found = [result.hypothesis for result in detection.results]
            if len(found) != 1 or found[0].class_id not in classes or not detection.id.isdecimal():
                raise ValueError(
                    f"detection {detection.id!r} has the classes {[one.class_id for one in found]}, "
                    f"expected a number for its id and one class of {labels.name}"
                )
            id_ = classes[found[0].class_id] * INSTANCE_DIVISOR + int(detection.id)
            scores[id_] = float(found[0].score)
    return PanopticSegmentation.from_ids(rows.astype(np.int32), labels.thing_ids, scores)


def _check_same_moment(one: Any, other: Any) -> None:
    if (one.stamp.sec, one.stamp.nanosec) != (other.stamp.sec, other.stamp.nanosec):
        raise ValueError(
            f"the detections are of {other.stamp.sec}.{other.stamp.nanosec:09d} s, "
            f"the image of {one.stamp.sec}.{one.stamp.nanosec:09d} s"
        )
