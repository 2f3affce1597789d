"""The settings of a system's decode: what may change between two frames without touching the network.

Each system has a dataclass of its own.  Those that find instances by boxes and masks share `InstanceDecodeOptions` and
add what is theirs, as `DecodeOptions` does; the node's parameters of the same names reach whichever has them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from panoptic_ros.segmentation import MAX_INSTANCES

Options = TypeVar("Options", bound="InstanceDecodeOptions")

MEASURED_SCORE, MEASURED_INSTANCES = 0.05, 100
"""Which instances of a frame average precision is measured with: COCO's number, and the least score of Detectron's and
torchvision's evaluations."""


@dataclass(frozen=True, slots=True)
class InstanceDecodeOptions:
    """Thresholds of systems that find instances by boxes and masks.

    Attributes
    ----------
    score_threshold:
        A detection needs a higher score than this, in [0, 1].
    nms_threshold:
        Of two detections of one class whose boxes overlap by more than this IoU, the better one stays, in [0, 1].
    mask_threshold:
        A pixel belongs to an instance where its mask's probability is above this, in (0, 1).
    max_detections:
        The most instances of one frame, 0 to 999.
    stuff_area_fraction:
        Classes of stuff that cover less than this share of the frame are too small to be there.  Panoptic FPN's 4096 px
        on 1024x2048 frames is 0.002, and a share means the same at every frame size.
    stuff_iou_threshold:
        Stuff of which the semantic probabilities let one expect less intersection over union with the truth becomes
        void, in [0, 1]; 0 keeps all.  Panoptic quality counts as found what has more than 0.5.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    score_threshold: float = 0.3
    nms_threshold: float = 0.45
    mask_threshold: float = 0.5
    max_detections: int = 100
    stuff_area_fraction: float = 0.002
    stuff_iou_threshold: float = 0.0

    def __post_init__(self) -> None:
        check_shares(self, "score_threshold", "nms_threshold", "stuff_area_fraction", "stuff_iou_threshold")
        if not 0.0 < self.mask_threshold < 1.0:
            raise ValueError(f"mask_threshold must be in (0, 1), got {self.mask_threshold}")
        if not 0 <= self.max_detections <= MAX_INSTANCES:
            raise ValueError(f"max_detections must be in 0 to {MAX_INSTANCES}, got {self.max_detections}")

    def measured(self: Options) -> Options:
        """The same, to find all instances that average precision is measured with."""
        return replace(self, score_threshold=MEASURED_SCORE, max_detections=MEASURED_INSTANCES)


@dataclass(frozen=True, slots=True)
class DecodeOptions(InstanceDecodeOptions):
    """The same of systems whose semantic classes have the things among them.

    Stuff that is too small becomes void; the thesis names no threshold.

    Attributes
    ----------
    uncovered_things:
        What becomes of pixels whose best semantic class is a thing that no instance covers: ``void`` as in
        Panoptic FPN, or ``stuff``, the most probable stuff class as in JSIS-Net.
    overlaps:
        Whose a pixel is that several masks cover: ``objectness``, the most certain object's, or ``probability``, the
        one's whose mask is the surest there, as in JSIS-Net.
    scores:
        What a detection's score is: ``boxes``, objectness x class probability, or ``masks``, that times the
        intersection over union that its mask may be expected to have with the truth if its probabilities are right
        (the idea of Mask Scoring R-CNN, Huang et al. 2019, without its head).
    agnostic_nms_threshold:
        Of two detections of whatever classes whose boxes overlap by more than this IoU the better one stays, in [0, 1]:
        a thing is not a car and a truck.  1 leaves both; a low value takes riders off their bicycles.
    """

    uncovered_things: Literal["void", "stuff"] = "void"
    overlaps: Literal["objectness", "probability"] = "objectness"
    scores: Literal["boxes", "masks"] = "boxes"
    agnostic_nms_threshold: float = 1.0

    def __post_init__(self) -> None:
        InstanceDecodeOptions.__post_init__(self)
        check_shares(self, "agnostic_nms_threshold")
        if self.uncovered_things not in ("void", "stuff"):
            raise ValueError(f"uncovered_things must be 'void' or 'stuff', got {self.uncovered_things!r}")
        if self.overlaps not in ("objectness", "probability"):
            raise ValueError(f"overlaps must be 'objectness' or 'probability', got {self.overlaps!r}")
        if self.scores not in ("boxes", "masks"):
            raise ValueError(f"scores must be 'boxes' or 'masks', got {self.scores!r}")


def check_shares(options: object, *names: str) -> None:
    """Raise ValueError for the first of some options that is not in [0, 1]."""
    for name in names:
        if not 0.0 <= getattr(options, name) <= 1.0:
            raise ValueError(f"{name} must be in [0, 1], got {getattr(options, name)}")
