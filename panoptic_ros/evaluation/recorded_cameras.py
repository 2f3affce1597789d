"""Which topics of a bag belong to each other: of each camera the truth, the predictions and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic_ros.bags import IMAGE_TYPES, BagTopic, bag_topics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.messages.topics import IMAGE, LABEL_TOPIC, LABEL_TYPE

PANOPTIC = "panoptic"
"""The last part of the names of topics with predictions and truths, as the node and the synthetic drives have them."""

TRUTH = "/truth/"
"""What topics with truths lie below."""

IMAGE_NAMES = tuple(
    f"{name}{form}"
    for name in ("image_raw", "image", "image_color", "image_rect_color")
    for form in ("", "/compressed")
)
"""Of a camera's images, in the order of preference."""


@dataclass(frozen=True, slots=True)
class RecordedCamera:
    """The topics of one camera.

    Attributes
    ----------
    name:
        The camera's; empty for a single one without a name.
    truth, predictions:
        ``sensor_msgs/Image`` of panoptic ids; `predictions` is empty where there are none.
    images:
        ``sensor_msgs/Image`` or ``CompressedImage``; empty where there are none.
    """

    name: str
    truth: str
    predictions: str = ""
    images: str = ""

    def beside(self, topic: str) -> str:
        """The topic ``instances`` or ``confidence`` that belongs to the predictions."""
        return f"{self.predictions.removesuffix(PANOPTIC)}{topic}"


def find_cameras(
    path: Path,
    truths: Sequence[str] = (),
    predictions: Sequence[str] = (),
    images: Sequence[str] = (),
) -> tuple[RecordedCamera, ...]:
    """Find the topics of each camera by their names.

    Truths lie on ``/truth/<camera>/panoptic``, predictions on ``/<node>/<camera>/panoptic`` and images on
    ``/<camera>/image_raw[/compressed]``; of a single camera ``<camera>`` may be left out of each.

    Parameters
    ----------
    path:
        The bag.
    truths, predictions, images:
        Topics in place of those that would be found.  Predictions and images are in the order of the truths.

    Raises
    ------
    EvaluationError
        If there is no truth, a topic is not there, or predictions of several nodes are.
    SourceError
        If the bag cannot be read.
    OSError
        If there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    topics = bag_topics(path)
    for kind, given in (("--truth", truths), ("--predictions", predictions), ("--images", images)):
        kinds = IMAGE_TYPES if kind == "--images" else (IMAGE,)
        for topic in given:
            if topic not in topics or topics[topic].kind not in kinds:
                raise EvaluationError(
                    f"{path}: {kind}: no {' or '.join(kinds)} on {topic}; its topics are {_say(topics)}"
                )
    maps = [name for name, topic in topics.items() if topic.kind == IMAGE and name.rpartition("/")[2] == PANOPTIC]
    found = tuple(truths) or tuple(sorted(name for name in maps if name.startswith(TRUTH)))
    if not found:
        raise EvaluationError(
            f"{path}: no truth: expected {IMAGE} on {TRUTH}<camera>/{PANOPTIC}, or another topic as --truth; "
            f"its topics are {_say(topics)}"
        )
    for kind, given in (("--predictions", predictions), ("--images", images)):
        if given and len(given) != len(found):
            raise EvaluationError(
                f"{path}: {kind}: {len(given)} topics for the truths on {', '.join(found)}, expected as many"
            )
    given_twice = {
        topic for topic in (*found, *predictions, *images) if [*found, *predictions, *images].count(topic) > 1
    }
    if given_twice:
        raise EvaluationError(f"{path}: {', '.join(sorted(given_twice))} is given twice, expected each topic once")
    names = _names(path, found)
    others = [name for name in maps if name not in found and not name.startswith(TRUTH)]
    return tuple(
        RecordedCamera(
            name,
            truth,
            predictions[index] if predictions else _predictions_of(path, name, others, alone=len(found) == 1),
            images[index] if images else _images_of(name, topics, alone=len(found) == 1),
        )
        for index, (truth, name) in enumerate(zip(found, names, strict=True))
    )


def label_topic_of(path: Path, topic: str) -> str:
    """Where the meaning of a topic's ids is said: ``label_info`` in its namespace or the nearest one above that has it.

    Empty where there is none.
    """
    topics = bag_topics(path)
    namespace = topic
    while namespace:
        namespace = namespace.rpartition("/")[0]
        name = f"{namespace}/{LABEL_TOPIC}"
        if name in topics and topics[name].kind == LABEL_TYPE:
            return name
    return ""


def _names(path: Path, truths: Sequence[str]) -> list[str]:
    """The namespaces of the truths, without what they have in common with all truths."""
    names = [truth.removeprefix(TRUTH).strip("/").rpartition("/")[0].replace("/", "_") for truth in truths]
    if len(set(names)) < len(names):
        names = [truth.strip("/").replace("/", "_") for truth in truths]
    if len(set(names)) < len(names):
        raise EvaluationError(f"{path}: the truths {', '.join(truths)} are of the same camera, expected each once")
    return names


def _predictions_of(path: Path, camera: str, topics: Sequence[str], alone: bool) -> str:
    """The topic of a camera's predictions; empty without."""
    fitting = [topic for topic in topics if camera and topic.endswith(f"/{camera}/{PANOPTIC}")]
    if not fitting and alone:  # the node of a single camera does not name it
        fitting = list(topics)
    if len(fitting) > 1:
        raise EvaluationError(
            f"{path}: predictions for the truth of {camera or 'the camera'} are on {', '.join(fitting)}; "
            "choose one of them with --predictions"
        )
    return fitting[0] if fitting else ""


def _images_of(camera: str, topics: Mapping[str, BagTopic], alone: bool) -> str:
    """The topic of a camera's images; empty without."""
    pictures = [name for name, topic in topics.items() if topic.kind in IMAGE_TYPES]
    for ending in (f"/{camera}", "") if alone and camera else (f"/{camera}" if camera else "",):
        for wanted in IMAGE_NAMES:
            fitting = [name for name in pictures if name.endswith(f"{ending}/{wanted}")]
            if len(fitting) == 1:
                return fitting[0]
    return ""


def _say(topics: Mapping[str, BagTopic]) -> str:
    return ", ".join(f"{name} ({topic.kind})" for name, topic in sorted(topics.items())) or "none"
