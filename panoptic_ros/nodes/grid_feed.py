"""Messages become the grid builder's inputs: whatever is wrong with one is said, counted, and ends with it.

Every input is taken with the pose at its own stamp, which the builder waits for; nothing here asks for the latest.
All of it runs in one thread, the grid's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from panoptic_ros.encodings import ImageError
from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.clouds import CloudError
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.poses import Pose
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import nanoseconds, segmentation_from_messages
from panoptic_ros.messages.camera import matrix_of
from panoptic_ros.messages.geometry import Transform, TransformError
from panoptic_ros.messages.grid import camera_from, cloud_from, depth_from, odometry_from, transforms_from
from panoptic_ros.nodes.grid_statistics import GridStatistics
from panoptic_ros.nodes.reports import Reports, kind_of
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.grid.builder import GridBuilder

_MOST_PENDING = 8  # images of a camera that wait for its first CameraInfo

REFUSALS = (ImageError, CameraError, CloudError, TransformError, ValueError)
"""What the message is to blame for."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where inputs of one kind come from.

    Attributes
    ----------
    topic:
        Name of the topic, for people.
    info_topic:
        That of its CameraInfo; '' for clouds and poses.
    rectified:
        Whether its images are rectified.
    name, index:
        Of a camera.
    """

    topic: str
    info_topic: str = ""
    rectified: bool = False
    name: str = ""
    index: int = 0


@dataclass(slots=True)
class _Calibration:
    """A source's CameraInfo, what was made of it, and the images that wait for the first one."""

    info: Any = None
    key: Any = None
    camera: Camera | None = None
    pending: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)


class GridFeed:
    """Gives a builder what messages say.

    Parameters
    ----------
    reports:
        Where troubles are said.
    statistics:
        Where they are counted.
    static:
        Transforms that hold for good, from a file.
    use_times:
        Whether times of points are used.
    patience:
        Seconds that an image waits for its camera's first CameraInfo.
    """

    def __init__(
        self,
        reports: Reports,
        statistics: GridStatistics,
        static: Sequence[Transform] = (),
        use_times: bool = True,
        patience: float = 0.5,
    ) -> None:
        self._reports = reports
        self._statistics = statistics
        self._use_times = use_times
        self._patience = patience
        self._builder: GridBuilder | None = None
        self._labels: LabelSet | None = None
        # Kept, because a latched transform is told once, and another builder needs it too.
        self._static = {child: (parent, child, stamp, pose) for parent, child, stamp, pose in static}
        self._calibrations: dict[str, _Calibration] = {}

    def attach(self, builder: GridBuilder, labels: LabelSet) -> None:
        """Feed this builder from now on."""
        self._builder, self._labels = builder, labels
        self._add_static()

    # --- messages

    def transforms(self, source: Source, message: Any, static: bool) -> None:
        """A ``tf2_msgs/TFMessage``."""
        for parent, child, stamp, pose in transforms_from(
            message, lambda error: self._refuse(source, "bad pose", error)
        ):
            if static:
                self._static[child] = (parent, child, stamp, pose)
            self._add_pose(parent, child, stamp, pose, static)

    def odometry(self, source: Source, message: Any) -> None:
        """A ``nav_msgs/Odometry``."""
        try:
            parent, child, stamp, pose = odometry_from(message)
        except TransformError as error:
            self._refuse(source, "bad pose", error)
            return
        self._add_pose(parent, child, stamp, pose, False)

    def cloud(self, source: Source, message: Any) -> None:
        """A ``sensor_msgs/PointCloud2``."""
        try:
            cloud = cloud_from(message, self._use_times)
        except REFUSALS as error:
            self._refuse(source, "bad cloud", error)
            return
        if not len(cloud):
            self._refuse(source, "empty cloud", ValueError(f"cloud in {cloud.frame}: no point has a position"))
        elif (builder := self._ready(source)) is not None:
            builder.add_cloud(cloud)

    def info(self, source: Source, message: Any) -> None:
        """A ``sensor_msgs/CameraInfo`` of a camera or depth camera; images that waited for it go on."""
        calibration = self._calibration(source)
        calibration.info = message
        while calibration.pending:
            calibration.pending.popleft()[1]()

    def depth(self, source: Source, message: Any) -> None:
        """A depth image; without a CameraInfo it waits for one."""
        if self._waits(source, lambda: self.depth(source, message)):
            return
        try:
            image = depth_from(message, self._camera(source, (int(message.height), int(message.width))))
        except REFUSALS as error:
            self._refuse(source, "bad depth image", error)
            return
        if (builder := self._ready(source)) is not None:
            builder.add_depth(image)

    def mask(self, source: Source, message: Any) -> None:
        """A panoptic mask (32SC1); without a CameraInfo it waits for one."""
        if self._labels is None:
            self._drop_for_labels(source)
            return
        try:
            segmentation = segmentation_from_messages(message, None, self._labels)
        except REFUSALS as error:
            self._refuse(source, "bad mask", error)
            return
        self.view(source, message.header, segmentation)

    def view(self, source: Source, header: Any, segmentation: PanopticSegmentation) -> None:
        """The segmentation of a camera's frame; without a CameraInfo it waits for one."""
        if self._waits(source, lambda: self.view(source, header, segmentation)):
            return
        stamp, frame = nanoseconds(header.stamp), str(header.frame_id).lstrip("/")
        try:
            if not frame:
                raise ValueError("the image has no frame_id: nobody knows where its camera is")
            camera = self._camera(source, (segmentation.height, segmentation.width))
            view = CameraView(stamp, frame, camera, segmentation, source.name, source.index)
        except REFUSALS as error:
            self._refuse(source, "bad CameraInfo" if isinstance(error, CameraError) else "bad mask", error)
            return
        if (builder := self._ready(source)) is not None:
            builder.add_view(view)

    def expire(self) -> None:
        """Give up images that have waited too long for a CameraInfo."""
        now = time.monotonic()
        for topic, calibration in self._calibrations.items():
            while calibration.pending and now - calibration.pending[0][0] > self._patience:
                calibration.pending.popleft()
                self._statistics.dropped("no CameraInfo")
                self._reports.error(
                    ("no info", topic), f"no CameraInfo on {topic}: images without cannot be placed, they are dropped"
                )

    # --- inside

    def _ready(self, source: Source) -> GridBuilder | None:
        """The builder; where there is none yet, the input is lost."""
        if self._builder is None:
            self._drop_for_labels(source)
        return self._builder

    def _add_static(self) -> None:
        for parent, child, stamp, pose in self._static.values():
            self._add_pose(parent, child, stamp, pose, True)

    def _add_pose(self, parent: str, child: str, stamp: int, pose: Pose, static: bool) -> None:
        if self._builder is not None:
            self._builder.add_pose(parent, child, stamp, pose, static)

    def _calibration(self, source: Source) -> _Calibration:
        return self._calibrations.setdefault(source.info_topic, _Calibration())

    def _waits(self, source: Source, go_on: Callable[[], None]) -> bool:
        """Whether there is no CameraInfo yet: `go_on` is then called when there is."""
        calibration = self._calibration(source)
        if calibration.info is not None:
            return False
        if len(calibration.pending) == _MOST_PENDING:
            calibration.pending.popleft()
            self._statistics.dropped("no CameraInfo")
        calibration.pending.append((time.monotonic(), go_on))
        return True

    def _camera(self, source: Source, size: tuple[int, int]) -> Camera:
        """The geometry of images of (height, width), made anew only when the CameraInfo has changed."""
        calibration = self._calibration(source)
        info = calibration.info
        region = info.roi
        key = (
            *(size, info.width, info.height, info.distortion_model, info.binning_x, info.binning_y),
            *(region.x_offset, region.y_offset, region.width, region.height),
            *(matrix_of(info, name).tobytes() for name in "dkrp"),
        )
        if calibration.camera is None or calibration.key != key:
            try:
                calibration.camera = camera_from(info, source.rectified, size)
            except CameraError as error:
                raise CameraError(f"{source.info_topic}: {error}") from error
            calibration.key = key
        return calibration.camera

    def _drop_for_labels(self, source: Source) -> None:
        self._statistics.dropped("no labels yet")
        self._reports.warning("no labels", f"{source.topic} is not used until label_info says what the ids mean")

    def _refuse(self, source: Source, reason: str, error: Exception) -> None:
        self._statistics.dropped(reason)
        self._reports.error((reason, source.topic, kind_of(str(error))), f"{reason} on {source.topic}: {error}")
