"""The frames of a bag that belong to each other, found by a first reading and handed out by a second one.

A frame is kept until its partner has come, so memory is that of the frames between the two, and nothing depends on the
order in which the topics were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_ros.bags import bag_messages
from panoptic_ros.evaluation.matching import Pair, Unmatched, match_stamps
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera
from panoptic_ros.evaluation.recorded_run import CameraRun, RunReport
from panoptic_ros.messages import NANOSECONDS, nanoseconds

Roles = Mapping[str, tuple[RecordedCamera, str]]
"""By topic, the camera that it is of and what its messages are: ``truth``, ``prediction``, ``image`` …"""


@dataclass(frozen=True, slots=True)
class RecordedPairs:
    """The pairs of a bag.

    Attributes
    ----------
    times:
        By topic, when each frame was logged, by its stamp; both ns.
    pairs:
        In the order of cameras and stamps.
    run:
        How the run went.
    numbers:
        The number of each truth among those of its camera, by camera and stamp.
    """

    times: dict[str, dict[int, int]]
    pairs: list[Pair[None, None]]
    run: RunReport
    numbers: dict[tuple[str, int], int]

    @classmethod
    def read(
        cls,
        path: Path,
        roles: Roles,
        cameras: Sequence[RecordedCamera],
        matched: str,
        tolerance: int,
    ) -> RecordedPairs:
        """Read the stamps of a bag.

        Parameters
        ----------
        path:
            The bag.
        roles:
            Of all topics that are wanted.
        cameras:
            Those to describe.
        matched:
            The role of what is matched with the truths; other frames belong to it by their stamps.
        tolerance:
            See `match_stamps`.

        Raises
        ------
        EvaluationError
            If there is no pair; the message says how far apart the nearest frames are.
        SourceError
            If the bag, or a message in it, cannot be read.
        """
        times: dict[str, dict[int, int]] = {topic: {} for topic in roles}
        frames: dict[str, list[tuple[str, int]]] = {"truth": [], matched: []}
        for message in bag_messages(path, roles):
            camera, role = roles[message.topic]
            stamp = nanoseconds(message.content.header.stamp)
            times[message.topic].setdefault(stamp, message.log_time)
            if role in frames:
                frames[role].append((camera.name, stamp))
        pairs, unmatched = match_stamps(frames[matched], frames["truth"], tolerance)
        if not pairs:
            raise EvaluationError(f"{path}: {_why_none(frames[matched], frames['truth'], matched, tolerance)}")
        runs = [
            CameraRun.of(
                camera,
                times[camera.truth],
                times[camera.predictions] if camera.predictions else None,
                times[camera.images] if camera.images else None,
                sum(pair.camera == camera.name for pair in pairs),
                unmatched.get(camera.name, Unmatched()),
            )
            for camera in cameras
        ]
        numbers = {
            (camera.name, stamp): number
            for camera in cameras
            for number, stamp in enumerate(sorted(times[camera.truth]))
        }
        return cls(times, pairs, RunReport(tolerance / NANOSECONDS, tuple(runs)), numbers)

    def frames(self, path: Path, roles: Roles) -> Iterator[tuple[Pair[None, None], dict[str, Any]]]:
        """Read each pair with its messages, by their roles, as soon as the last of them was read.

        `roles` may be fewer than those whose stamps were read.

        Raises
        ------
        SourceError
            If the bag, or a message in it, cannot be read.
        """
        of_truth = {(pair.camera, pair.truth_stamp): pair for pair in self.pairs}
        of_prediction = {(pair.camera, pair.prediction_stamp): pair for pair in self.pairs}
        topics: dict[str, list[tuple[str, str]]] = {}
        for topic, (camera, role) in roles.items():
            topics.setdefault(camera.name, []).append((topic, role))
        begun: dict[str, dict[str, Any]] = {}
        missing: dict[str, set[str]] = {}
        for message in bag_messages(path, roles):
            camera, role = roles[message.topic]
            key = camera.name, nanoseconds(message.content.header.stamp)
            pair = (of_truth if role == "truth" else of_prediction).get(key)
            if pair is None:
                continue
            if pair.name not in missing:
                begun[pair.name] = {}
                missing[pair.name] = {
                    part
                    for topic, part in topics[camera.name]
                    if (pair.truth_stamp if part == "truth" else pair.prediction_stamp) in self.times[topic]
                }
            if role not in missing[pair.name]:  # the first of a stamp counts
                continue
            begun[pair.name][role] = message.content
            missing[pair.name].remove(role)
            if not missing[pair.name]:
                yield pair, begun.pop(pair.name)


def _why_none(
    predictions: Sequence[tuple[str, int]], truths: Sequence[tuple[str, int]], matched: str, tolerance: int
) -> str:
    """Why nothing could be matched, with what would help."""
    for what, frames in (("truth", truths), (matched, predictions)):
        if not frames:
            return f"the topics of {what}s have no messages"
    apart = [
        int(np.abs(np.array([stamp for name, stamp in predictions if name == camera], dtype=np.int64) - truth).min())
        for camera, truth in truths
        if any(name == camera for name, _ in predictions)
    ]
    nearest = f"; the nearest are {min(apart) / NANOSECONDS:g} s apart (--tolerance)" if apart else ""
    return f"no {matched} has the stamp of a truth, within {tolerance / NANOSECONDS:g} s{nearest}"
