"""What classes are to the grid, by their names in the label sets that come with the package."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.labels import Label, LabelSet

GROUND = (
    "road",
    "road shoulder",
    "roadshoulder",
    "road median",
    "road side",
    "service lane",
    "bike lane",
    "driveway",
    "lane marking*",
    "lanemkgs*",
    "lane separator",
    "crosswalk*",
    "parking",
    "parking aisle",
    "sidewalk",
    "pavement",
    "pavement-merged",
    "rug-merged",
    "pedestrian area",
    "traffic island",
    "curb",
    "curb cut",
    "rail track",
    "railroad",
    "ground",
    "terrain",
    "dirt-merged",
    "grass-merged",
    "gravel",
    "sand",
    "snow",
    "playingfield",
    "platform",
    "floor-*",
    "manhole",
    "catch basin",
    "pothole",
)
"""What lies flat in the label sets that come with the package."""

STANDING = (
    "pole",
    "utility pole",
    "street light",
    "traffic light*",
    "traffic sign*",
    "stop sign",
    "signage*",
    "billboard",
    "banner",
    "bench",
    "bike rack",
    "cctv camera",
    "fire hydrant",
    "junction box",
    "mailbox",
    "parking meter",
    "phone booth",
    "trash can",
    "water valve",
    "temporary barrier",
    "traffic cone",
    "chair",
    "couch",
    "sofa",
    "bed",
    "dining table",
    "diningtable",
    "toilet",
    "tv",
    "tvmonitor",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "potted plant",
    "pottedplant",
    "clock",
    "vase",
    "book",
)
"""The countable classes of these label sets that stay where they are."""

RAISED = (
    "sidewalk",
    "pavement",
    "pavement-merged",
    "pedestrian area",
    "traffic island",
)
"""What of the ground lies a kerb higher than the road."""

BODIES = (
    "building",
    "building-other-merged",
    "house",
    "car",
    "suvpickuptruck",
    "truck",
    "truck_bus",
    "bus",
    "train",
    "caravan",
)
"""What goes on for a metre and more behind the side that is seen, from wherever it is seen."""

IGNORED = ("sky", "sky-*", "ego vehicle", "car mount", "background")


def named(labels: LabelSet, patterns: tuple[str, ...]) -> NDArray[np.bool_]:
    """(C,) bool, which classes have a name that fits one of some patterns, in either case; ``*`` is anything."""

    def matches(label: Label) -> bool:
        return any(fnmatchcase(label.name.lower(), pattern.lower()) for pattern in patterns)

    return np.array([matches(label) for label in labels.labels], dtype=np.bool_)
