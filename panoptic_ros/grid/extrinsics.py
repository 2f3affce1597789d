"""Extrinsics from a YAML file, for robots that publish no static transforms.

    transforms:
      - {parent: base_link, child: lidar, translation: [0.5, 0.0, 1.8], rpy: [0.0, 0.0, 0.0]}
      - {parent: base_link, child: camera_optical, translation: [1.2, 0.0, 1.5], quaternion: [-0.5, 0.5, -0.5, 0.5]}
      - {parent: lidar, child: imu, translation: [0, 0, 0], matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}

Each has one of `quaternion` (x, y, z, w), `rpy` (roll, pitch, yaw in radians, as in URDF) and `matrix`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.grid.poses import Pose, PoseTree, check_rotation

Row = tuple[float, float, float]


@dataclass(frozen=True)
class Extrinsic:
    """One child frame in its parent, as the file has it; see the head of this module."""

    parent: str
    child: str
    translation: Row
    quaternion: tuple[float, float, float, float] | None = None
    rpy: Row | None = None
    matrix: tuple[Row, Row, Row] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("quaternion", "rpy", "matrix") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{self.child} in {self.parent}: needs quaternion, rpy or matrix, got {' and '.join(given) or 'none'}"
            )
        self.pose()

    def pose(self) -> Pose:
        """The child in the parent.

        Raises
        ------
        ValueError
            If it is not a rotation, or a number is not finite.
        """
        translation = np.array(self.translation, dtype=np.float64)
        where = f"{self.child} in {self.parent}"
        if not np.isfinite(translation).all():
            raise ValueError(f"{where}: translation {list(self.translation)} is not finite")
        if self.quaternion is not None:
            try:
                return Pose.from_quaternion(np.array(self.quaternion), translation)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        if self.rpy is not None:
            if not np.isfinite(self.rpy).all():
                raise ValueError(f"{where}: rpy {list(self.rpy)} is not finite")
            return Pose(Rotation.from_euler("xyz", self.rpy).as_matrix(), translation)
        rotation = np.array(self.matrix, dtype=np.float64)
        check_rotation(rotation, where)
        return Pose(rotation, translation)


@dataclass(frozen=True)
class Extrinsics:
    """All static transforms of a file.

    Raises
    ------
    ValueError
        If there is none, or a child occurs twice.
    """

    transforms: tuple[Extrinsic, ...]

    def __post_init__(self) -> None:
        children = [extrinsic.child for extrinsic in self.transforms]
        if not children:
            raise ValueError("transforms: expected at least one")
        if repeated := sorted({child for child in children if children.count(child) > 1}):
            raise ValueError(f"transforms: frame {repeated[0]!r} has more than one parent")

    def add_to(self, tree: PoseTree) -> None:
        """Put them into a tree as static transforms.

        Raises
        ------
        ValueError
            If they do not make a tree.
        """
        for extrinsic in self.transforms:
            tree.add(extrinsic.parent, extrinsic.child, 0, extrinsic.pose(), static=True)


def load_extrinsics(path: str | Path) -> Extrinsics:
    """Read a file of extrinsics.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is not what the head of this module shows; the message names the file, the
        frames and what was expected.
    """
    path = Path(path)
    extrinsics = from_mapping(Extrinsics, read_yaml(path), str(path))
    try:
        extrinsics.add_to(PoseTree())
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return extrinsics
