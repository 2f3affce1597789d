"""Points take the labels of images.

A point is put into each image by the poses at both stamps.  It takes the label of its pixel if nothing of the same
cloud hides it there (a depth buffer, coarser than the image since a cloud is), if the label suits its height (what is
above the gate is no road, what lies on the ground is no car), and if the pixel is not at the border of a segment, where
labels and calibration are least exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.clouds import Cloud, CloudError, deskew, finite
from panoptic_ros.grid.depth import DepthImage, depth_to_cloud
from panoptic_ros.grid.ground import heights_above_ground
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import MAX_CLASS_ID, LabelSet
from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """One image's segmentation and where it was seen from.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    frame:
        The optical frame.
    camera:
        Geometry of the mask.
    segmentation:
        What is seen.
    name:
        Of the camera.
    index:
        Of the camera, 0 to 127; `Observation.cameras` has it.

    Raises
    ------
    CameraError
        If the mask is not of the camera's size, there is no frame, or the index does not fit.
    """

    stamp: int
    frame: str
    camera: Camera
    segmentation: PanopticSegmentation
    name: str
    index: int

    def __post_init__(self) -> None:
        if not self.frame:
            raise CameraError(f"camera {self.name}: no frame_id, nobody knows where it is")
        if self.segmentation.ids.shape != (self.camera.height, self.camera.width):
            height, width = self.segmentation.ids.shape
            expected = f"{self.camera.width}x{self.camera.height}"
            raise CameraError(f"camera {self.name}: the mask is {width}x{height}, its geometry is of {expected}")
        if not 0 <= self.index <= 127:
            raise CameraError(f"camera {self.name}: expected an index of 0 to 127, got {self.index}")


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """What the options make of each class.

    Attributes
    ----------
    indices:
        (256,) int16, the position of each class id in the label set; -1 for void, unknown and ignored ones.
    ground, thing:
        (C + 1,) bool by that position; the last entry is that of -1.
    rises:
        (C + 1,) float32, metres by which the ground of a class lies above the plane of the base.
    body:
        (C + 1,) bool, which are deeper than the side that is seen.
    """

    indices: NDArray[np.int16]
    ground: NDArray[np.bool_]
    thing: NDArray[np.bool_]
    rises: NDArray[np.float32]
    body: NDArray[np.bool_]

    @classmethod
    @lru_cache(maxsize=16)  # matching names costs a millisecond
    def of(cls, labels: LabelSet, options: GridOptions) -> ClassTable:
        indices = np.full(MAX_CLASS_ID + 1, -1, dtype=np.int16)
        ignored = options.is_ignored(labels)
        for index, label in enumerate(labels.labels):
            indices[label.id] = -1 if ignored[index] else index
        thing = np.array([label.is_thing for label in labels.labels])
        rises = np.append(options.is_raised(labels), False) * np.float32(options.contact_line.kerb_height)
        ground, body = (np.append(flags, False) for flags in (options.is_ground(labels), options.is_body(labels)))
        return cls(indices, ground, np.append(thing, False), rises, body)

    def of_ids(self, ids: NDArray[np.int32]) -> NDArray[np.int16]:
        """Positions in the label set of segment ids; what no label set has is -1."""
        classes = ids // np.int32(INSTANCE_DIVISOR)
        found: NDArray[np.int16] = self.indices[np.minimum(classes, MAX_CLASS_ID)]
        found[classes > MAX_CLASS_ID] = -1
        return found


def label_points(
    origin: NDArray[np.float64],
    points: NDArray[np.float32],
    heights: NDArray[np.float32],
    views: Sequence[tuple[CameraView, Pose]],
    labels: LabelSet,
    options: GridOptions,
) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int8], NDArray[np.float32]]:
    """Labels of points from the images that see them.

    Where several cameras see a point, the most confident pixel counts; among equals the camera with the least index.

    Parameters
    ----------
    origin:
        (3,) float64 in the fixed frame, metres.
    points:
        (N, 3) float32, metres, relative to `origin`.  All of the cloud: what is too high for the grid still hides what
        is behind it.
    heights:
        (N,) float32, metres above the ground.
    views:
        Each image with the pose of the fixed frame in its optical frame, at the image's stamp.
    labels, options:
        The label set, and `options.labelling`.

    Returns
    -------
    classes, instances, cameras, weights:
        (N,) int16, int32, int8 and float32, as `Observation` has them; the weights are 1: what a lidar hits is there,
        however unsure its class.
    """
    table = ClassTable.of(labels, options)
    count = len(points)
    classes = np.full(count, -1, dtype=np.int16)
    instances = np.zeros(count, dtype=np.int32)
    cameras = np.full(count, -1, dtype=np.int8)
    believed = np.full(count, -1, dtype=np.int16)
    stands = heights > options.labelling.gate_height
    for view, pose in sorted(views, key=lambda pair: pair[0].index):
        uv, depth = view.camera.project(pose.taking(origin).apply(points))
        seen, rows, columns = view.camera.pixels(uv)
        cameras[seen[cameras[seen] < 0]] = view.index
        clear = _not_hidden(view.camera, depth.take(seen), rows, columns, stands.take(seen), options)
        seen, rows, columns = seen.take(clear), rows.take(clear), columns.take(clear)
        ids = view.segmentation.ids
        pixels = rows * view.camera.width + columns  # one index is taken four times as fast as two
        found = ids.take(pixels)
        indices = table.of_ids(found)
        suits = table.ground.take(indices) == (heights.take(seen) <= options.labelling.gate_height)
        confidence = view.segmentation.confidence
        sure = np.full(len(seen), 255, dtype=np.int16)
        if confidence is not None:
            sure[:] = confidence.take(pixels)
        good = np.flatnonzero((indices >= 0) & suits & (sure > believed.take(seen)))
        if options.labelling.edge_margin:
            at_edge = near_edge(ids, rows.take(good), columns.take(good), options.labelling.edge_margin)
            good = good.take(np.flatnonzero(~at_edge))
        seen, indices, found = seen.take(good), indices.take(good), found.take(good)
        classes[seen] = indices
        instances[seen] = np.where(table.thing.take(indices), found, 0)
        cameras[seen] = view.index
        believed[seen] = sure[good]
    return classes, instances, cameras, np.ones(count, dtype=np.float32)


def visible(
    camera: Camera, points_optical: NDArray[np.float32], hides: NDArray[np.bool_], options: GridOptions
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Which points a camera sees, and in which pixels.

    Parameters
    ----------
    camera:
        Geometry of the mask.
    points_optical:
        (N, 3) float32, metres, in the optical frame.
    hides:
        (N,) bool, which of them can hide others: what stands.  Flat ground hides nothing, and seen at a grazing angle
        its near points would hide its far ones in the same block of the buffer.
    options:
        `options.labelling` has the numbers of the depth buffer.

    Returns
    -------
    seen, rows, columns:
        (M,) each: positions of the points that are inside the image and not hidden, and their pixels.
    """
    uv, depth = camera.project(points_optical)
    seen, rows, columns = camera.pixels(uv)
    clear = _not_hidden(camera, depth.take(seen), rows, columns, hides.take(seen), options)
    return seen.take(clear), rows.take(clear), columns.take(clear)


def _not_hidden(
    camera: Camera,
    depth: NDArray[np.float32],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    hides: NDArray[np.bool_],
    options: GridOptions,
) -> NDArray[np.intp]:
    """Which points inside the image, (M,) each, have nothing before them in their block of the buffer."""
    scale = options.labelling.buffer_scale
    width = -(-camera.width // scale)
    places = (rows // scale) * width + columns // scale
    hiding = np.flatnonzero(hides)
    nearest = np.full(width * -(-camera.height // scale), np.inf, dtype=np.float32)
    np.minimum.at(nearest, places.take(hiding), depth.take(hiding))
    limit = nearest.take(places) * np.float32(1 + options.labelling.buffer_relative)
    return np.flatnonzero(depth <= limit + np.float32(options.labelling.buffer_absolute))


def near_edge(
    ids: NDArray[np.int32], rows: NDArray[np.intp], columns: NDArray[np.intp], margin: int
) -> NDArray[np.bool_]:
    """Whether a pixel of another segment lies within `margin` rows and columns, (M,); beyond the image is none."""
    height, width = ids.shape
    flat = ids.ravel()
    own = flat.take(rows * width + columns)
    found = np.zeros(len(rows), dtype=np.bool_)
    steps = range(-margin, margin + 1)
    beside = [np.clip(columns + right, 0, width - 1) for right in steps]
    for down in steps:
        begins = np.clip(rows + down, 0, height - 1) * width
        for column in beside:
            found |= flat.take(begins + column) != own
    return found


def observe_cloud(
    cloud: Cloud,
    views: Sequence[CameraView],
    tree: PoseTree,
    labels: LabelSet,
    options: GridOptions,
    source: str = "lidar",
) -> Observation:
    """What a sweep of a lidar and the images of about its time say.

    Points on the vehicle itself (`labelling.ego_box`), out of range, or above `obstacle_height` are left out.  A point
    is of an obstacle if it is higher than the lower `obstacle_height`, or is labelled as one.

    Parameters
    ----------
    cloud:
        The sweep; deskewed where it has times.
    views:
        Images that label it, at most one of each camera; may be empty.
    tree:
        Poses.
    labels, options:
        The label set and the settings of the grid.
    source:
        What `Observation.source` becomes.

    Raises
    ------
    PoseError
        If a pose is missing.
    CloudError
        If no point is finite.
    """
    cloud = finite(cloud)
    if not len(cloud):
        raise CloudError(
            f"{source} in {cloud.frame}: no point is finite; the sensor is covered, or its data is not read"
        )
    origin, points = deskew(cloud, tree, options.fixed_frame)
    base = tree.lookup(options.base_frame, options.fixed_frame, cloud.stamp).taking(origin).apply(points)
    squared = points[:, 0] ** 2 + points[:, 1] ** 2
    kept = (squared >= options.minimum_range**2) & (squared <= options.maximum_range**2)
    if options.labelling.ego_box is not None:
        least, greatest = np.array(options.labelling.ego_box, dtype=np.float32)
        own = np.ones(len(base), dtype=np.bool_)
        for axis in range(3):
            own &= (base[:, axis] >= least[axis]) & (base[:, axis] <= greatest[axis])
        kept &= ~own
    chosen = np.flatnonzero(kept)
    points, heights = points.take(chosen, axis=0), base[:, 2].take(chosen)
    if options.labelling.ground_height == "estimated":
        heights = heights_above_ground(points)
    posed = [(view, tree.lookup(view.frame, options.fixed_frame, view.stamp)) for view in views]
    classes, instances, cameras, weights = label_points(origin, points, heights, posed, labels, options)
    low, high = options.obstacle_height
    obstacle = (heights > low) | ((classes >= 0) & ~ClassTable.of(labels, options).ground.take(classes))
    under = np.flatnonzero(heights <= high)
    return Observation(
        stamp=cloud.stamp,
        source=source,
        origin=origin,
        points=points.take(under, axis=0),
        heights=heights.take(under),
        classes=classes.take(under),
        instances=instances.take(under),
        cameras=cameras.take(under),
        obstacle=obstacle.take(under),
        weights=weights.take(under),
    )


def observe_depth(
    image: DepthImage, views: Sequence[CameraView], tree: PoseTree, labels: LabelSet, options: GridOptions
) -> Observation:
    """What a depth image and the images of about its time say; see `observe_cloud`.

    Raises
    ------
    PoseError
        If a pose is missing.
    """
    cloud = depth_to_cloud(image, options.labelling.depth_stride)
    return observe_cloud(cloud, views, tree, labels, options, source="depth")
