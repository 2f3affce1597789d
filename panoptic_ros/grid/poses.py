"""Poses of frames over time: what tf2's buffer does, without ROS and without ever guessing.

A pose is asked for at a stamp and is interpolated between the two samples around it, as tf2 does (position linearly,
rotation by slerp).  Nothing is extrapolated: a stamp that is newer than the newest sample raises `NotYetError`, and
whoever asks waits.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from operator import itemgetter
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

NANOSECONDS = 1_000_000_000
HISTORY = 10 * NANOSECONDS  # as tf2's buffer
CLOCK_JUMP = NANOSECONDS
"""A sample this much older than the newest of its frame means that the clock has jumped back, as in a looping bag."""


class PoseError(LookupError):
    """There is no pose; the message names the frames and the stamp."""


class NotYetError(PoseError):
    """The newest sample is older than the stamp: the pose may still come."""


class TooOldError(PoseError):
    """The stamp is before the oldest sample that is kept."""


class UnknownFrameError(PoseError):
    """A frame that no transform has named, or two frames that nothing connects."""


class PoseJumpError(PoseError):
    """Around the stamp the frame moves faster than anything does: one of the two samples is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A frame in another: ``p_parent = rotation · p_child + translation``.

    Attributes
    ----------
    rotation:
        (3, 3) float64, a proper rotation.
    translation:
        (3,) float64, metres.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @classmethod
    def identity(cls) -> Pose:
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_quaternion(cls, quaternion: NDArray[np.float64], translation: NDArray[np.float64]) -> Pose:
        """From a quaternion (4,) x, y, z, w, as ROS orders it, and a translation (3,).

        Raises
        ------
        ValueError
            If a number is not finite, or the quaternion's length is not 1 within 0.01.
        """
        quaternion = np.asarray(quaternion, dtype=np.float64)
        translation = np.asarray(translation, dtype=np.float64)
        length = float(np.linalg.norm(quaternion))
        if quaternion.shape != (4,) or not abs(length - 1.0) < 0.01:
            raise ValueError(f"expected a quaternion x, y, z, w of length 1, got {quaternion.tolist()}")
        if translation.shape != (3,) or not np.isfinite(translation).all():
            raise ValueError(f"expected a finite translation x, y, z, got {translation.tolist()}")
        return cls(Rotation.from_quat(quaternion / length).as_matrix(), translation)

    @property
    def inverse(self) -> Pose:
        """The parent in the child."""
        return Pose(self.rotation.T.copy(), -(self.rotation.T @ self.translation))

    def compose(self, other: Pose) -> Pose:
        """Apply `other` first: with this of b in a and `other` of c in b, the pose of c in a."""
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def apply(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (N, 3) of the child, in the parent.

        The result is float32: far from the parent's origin move the translation to an anchor first, see `relative_to`.
        """
        if not len(points):
            return np.zeros((0, 3), dtype=np.float32)
        matrix = np.hstack([self.rotation, self.translation[:, None]])
        moved: NDArray[np.float32] = cv2.transform(np.ascontiguousarray(points, dtype=np.float32)[None], matrix)[0]
        return moved

    def relative_to(self, anchor: NDArray[np.float64]) -> Pose:
        """The same with results relative to `anchor` (3,) of the parent, so that float32 holds them."""
        return Pose(self.rotation, self.translation - anchor)

    def taking(self, anchor: NDArray[np.float64]) -> Pose:
        """The same for points that are given relative to `anchor` (3,) of the child."""
        return Pose(self.rotation, self.rotation @ anchor + self.translation)


def interpolate(first: Pose, second: Pose, share: float) -> Pose:
    """Between two poses: position linearly, rotation by slerp; `share` is 0 at the first and 1 at the second."""
    turn = Rotation.from_matrix(first.rotation.T @ second.rotation).as_rotvec()
    rotation = first.rotation @ Rotation.from_rotvec(share * turn).as_matrix()
    return Pose(rotation, (1.0 - share) * first.translation + share * second.translation)


@dataclass(slots=True, eq=False)
class _Edge:
    """A child frame's samples in its parent, by stamp."""

    parent: str
    static: bool
    samples: list[tuple[int, Pose]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class PoseTree:
    """All frames and how they have moved in the last seconds.

    Parameters
    ----------
    maximum_jump:
        Metres between two consecutive samples that are never a jump.
    maximum_speed:
        Metres a second.  Farther apart than both bounds, two samples have a jump between them.
    """

    maximum_jump: float = 2.0
    maximum_speed: float = 60.0
    _edges: dict[str, _Edge] = field(default_factory=dict)
    _stamp: ClassVar = itemgetter(0)

    def add(self, parent: str, child: str, stamp: int, pose: Pose, static: bool = False) -> bool:
        """Take a sample of `child` in `parent`.

        A sample may come late (it is put where it belongs); one of a stamp that is there already replaces it.  A frame
        has one parent: the last that was named.

        Returns
        -------
        bool
            Whether the sample is so old that the clock must have jumped back: everything but static transforms is then
            forgotten.

        Raises
        ------
        ValueError
            If a frame has no name or is its own parent, or the pose holds what is not finite or no rotation.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child or parent == child:
            raise ValueError(f"transform of {child!r} in {parent!r}: expected two frames with different names")
        check_rotation(pose.rotation, f"transform of {child} in {parent}")
        if not np.isfinite(pose.translation).all():
            raise ValueError(f"transform of {child} in {parent}: translation {pose.translation.tolist()} is not finite")
        if self._leads_to(parent, child):
            raise ValueError(f"transform of {child} in {parent}: {parent} hangs on {child} already, a loop")
        edge = self._edges.get(child)
        if edge is None or edge.parent != parent or edge.static != static:
            edge = self._edges[child] = _Edge(parent, static)
        if static:
            edge.samples[:] = [(stamp, pose)]
            return False
        samples = edge.samples
        jumped = bool(samples) and stamp < samples[-1][0] - CLOCK_JUMP
        if jumped:
            self.clear()
        if not samples or stamp > samples[-1][0]:
            samples.append((stamp, pose))
        else:
            at = bisect_left(samples, stamp, key=self._stamp)
            if samples[at][0] == stamp:
                samples[at] = (stamp, pose)
            else:
                insort(samples, (stamp, pose), key=self._stamp)
        first = bisect_left(samples, samples[-1][0] - HISTORY, key=self._stamp)
        # In pieces: cutting a list at its front moves all of it.
        if first > 64:
            del samples[:first]
        return jumped

    def clear(self) -> None:
        """Forget all samples but those of static transforms, which tf2 keeps too."""
        for edge in self._edges.values():
            if not edge.static:
                edge.samples.clear()

    def knows(self, frame: str) -> bool:
        """Whether a transform has named the frame."""
        frame = frame.lstrip("/")
        return frame in self._edges or any(edge.parent == frame for edge in self._edges.values())

    def lookup(self, target: str, source: str, stamp: int) -> Pose:
        """The frame `source` in `target` at `stamp` (nanoseconds): the pose that takes points of `source` to `target`.

        Raises
        ------
        UnknownFrameError
            If a frame is unknown, or nothing connects the two.
        NotYetError
            If a sample that is needed is not there yet.
        TooOldError
            If the stamp is before what is kept.
        PoseJumpError
            If there is a jump between the samples around the stamp.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        for frame in (target, source):
            if not self.knows(frame):
                known = sorted({*self._edges, *(edge.parent for edge in self._edges.values())})
                raise UnknownFrameError(f"no transform names frame {frame!r}; known: {', '.join(known) or 'none'}")
        up = self._ancestors(source)
        down = self._ancestors(target)
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            raise UnknownFrameError(
                f"nothing connects frame {source!r} (root {up[-1]!r}) with {target!r} (root {down[-1]!r})"
            )
        return self._to(common, target, stamp).inverse.compose(self._to(common, source, stamp))

    def newest(self, frame: str) -> int | None:
        """The stamp of a frame's newest sample in its parent; None where there is none."""
        edge = self._edges.get(frame.lstrip("/"))
        return edge.samples[-1][0] if edge is not None and edge.samples else None

    def _ancestors(self, frame: str) -> list[str]:
        found = [frame]
        while (edge := self._edges.get(found[-1])) is not None:
            found.append(edge.parent)
        return found

    def _leads_to(self, frame: str, ancestor: str) -> bool:
        return ancestor in self._ancestors(frame)

    def _to(self, ancestor: str, frame: str, stamp: int) -> Pose:
        """The frame in one of its ancestors."""
        pose = Pose.identity()
        while frame != ancestor:
            edge = self._edges[frame]
            pose = self._at(edge, frame, stamp).compose(pose)
            frame = edge.parent
        return pose

    def _at(self, edge: _Edge, child: str, stamp: int) -> Pose:
        samples = edge.samples
        if edge.static:
            return samples[0][1]
        where = f"{child} in {edge.parent} at {seconds(stamp)}"
        if not samples or stamp > samples[-1][0]:
            newest = f"the newest is at {seconds(samples[-1][0])}" if samples else "there is none yet"
            raise NotYetError(f"no pose of {where}: {newest}")
        if stamp < samples[0][0]:
            raise TooOldError(f"no pose of {where}: the oldest that is kept is at {seconds(samples[0][0])}")
        at = bisect_left(samples, stamp, key=self._stamp)
        for low, high in ((at - 1, at), (at, at + 1) if samples[at][0] == stamp else (at, at)):
            if 0 <= low < high < len(samples):
                self._refuse_jump(samples[low], samples[high], where)
        if samples[at][0] == stamp:
            return samples[at][1]
        (begin, first), (end, second) = samples[at - 1], samples[at]
        return interpolate(first, second, (stamp - begin) / (end - begin))

    def _refuse_jump(self, first: tuple[int, Pose], second: tuple[int, Pose], where: str) -> None:
        moved = float(np.linalg.norm(second[1].translation - first[1].translation))
        elapsed = (second[0] - first[0]) / NANOSECONDS
        if moved > max(self.maximum_jump, self.maximum_speed * elapsed):
            raise PoseJumpError(
                f"pose jump: {where} lies between samples {moved:.1f} m and {elapsed:.3f} s apart; "
                f"at most {max(self.maximum_jump, self.maximum_speed * elapsed):.1f} m were expected"
            )


def seconds(stamp: int) -> str:
    """A stamp as people read it."""
    return f"{stamp / NANOSECONDS:.3f} s"


def check_rotation(rotation: NDArray[np.float64], where: str) -> None:
    """Refuse what is no proper rotation.

    Raises
    ------
    ValueError
        If the matrix is not (3, 3), finite, orthonormal within 0.001 and without a reflection.
    """
    if rotation.shape != (3, 3) or not np.isfinite(rotation).all():
        raise ValueError(f"{where}: expected a finite (3, 3) rotation, got {rotation.tolist()}")
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    determinant = float(np.linalg.det(rotation))
    if error > 1e-3 or determinant < 0:
        raise ValueError(
            f"{where}: not a rotation: R·Rᵀ differs from 1 by {error:.3g}, determinant {determinant:.3g} (expected +1)"
        )
