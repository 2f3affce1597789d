"""The messages of one frame's results, by the topics that `CAMERA_TOPICS` names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.encodings import ImageError
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.camera import camera_info
from panoptic_ros.messages.images import (
    bgr_image,
    compressed_image,
    confidence_image,
    instance_image,
    panoptic_image,
    semantic_image,
)
from panoptic_ros.messages.instances import instances
from panoptic_ros.messages.types import MessageTypes
from panoptic_ros.segmentation import PanopticSegmentation


def result_messages(
    types: MessageTypes,
    wanted: Collection[str],
    header: Any,
    segmentation: PanopticSegmentation,
    labels: LabelSet,
    *,
    overlay: Callable[[], NDArray[np.uint8]],
    info: Any | None,
    on_misfit: Callable[[ImageError], None],
    quality: int = 85,
) -> Iterator[tuple[str, Any]]:
    """Make the messages that are wanted, one after another.

    Parameters
    ----------
    wanted:
        Topics of `CAMERA_TOPICS`.
    header:
        Of the frame; all messages have it.
    segmentation:
        Of the frame, with confidence if that is wanted.
    labels:
        What its class ids mean.
    overlay:
        Draws the overlay; called once where one is wanted.
    info:
        The camera's CameraInfo, or None, which leaves that message out.
    on_misfit:
        Called with the reason where `info` does not fit the frame; that message is left out.
    quality:
        Of the JPEG.

    Yields
    ------
    topic, message:
        In the order in which robots rather than people need them.

    Raises
    ------
    ValueError
        If the segmentation lacks the confidence that is wanted.
    """
    picture = functools.cache(overlay)
    makers: dict[str, Callable[[], Any]] = {
        "panoptic": lambda: panoptic_image(types, header, segmentation),
        "semantic": lambda: semantic_image(types, header, segmentation),
        "confidence": lambda: confidence_image(types, header, segmentation),
        "instance_ids": lambda: instance_image(types, header, segmentation),
        "instances": lambda: instances(types, header, segmentation, labels),
        "camera_info": lambda: camera_info(types, header, info, segmentation.width, segmentation.height),
        "overlay": lambda: bgr_image(types, header, picture()),
        "overlay/compressed": lambda: compressed_image(types, header, picture(), quality),
    }
    for topic, make in makers.items():
        if topic not in wanted or (topic == "camera_info" and info is None):
            continue
        try:
            message = make()
        except ImageError as error:
            if topic != "camera_info":
                raise
            on_misfit(error)
        else:
            yield topic, message
