"""What a camera alone says of the ground before it: the contact-line method.

Seen along the ground, away from the camera, the first obstacle stands where the ground ends: there its contact line is.
Ground before it is seen, the contact is occupied, and what is behind is unknown but for the body of what has one:
behind the front of a house there is a house.  Naive inverse perspective mapping paints whole images onto the ground
instead, and smears everything that stands away from the camera.

We look along rays on the ground rather than along columns of the image, which is the same for a level camera without
distortion, and right for all others.  The ground is the plane z = 0 of the base frame: where the body pitches, that
frame must be one on the ground (``base_footprint``, REP 120) and tf must have the attitude.  What the options call
raised, as sidewalks are, lies a kerb higher, and so does what stands on it: from 1.5 m above the road, a kerb of 0.12 m
that is left out puts everything on the sidewalk 8 % too far away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.labelling import CameraView, ClassTable
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import LabelSet

LOWEST = 0.05
"""Metres that a camera must be above the ground."""

RUN = 2
"""Pixels along a ray that an obstacle must have: one alone is a speck."""

GAP = 6
"""Pixels without a label that may lie between the ground and the contact."""

MAXIMUM_RAYS = 2048
MAXIMUM_STEPS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    """Where rays end.

    Attributes
    ----------
    rays, steps:
        (H,) intp, the rays that meet an obstacle, and at which step.
    ranges, rises:
        (H,) float32, metres from the foot to the contacts, and by which these lie above z = 0.
    seen_until:
        (A,) float32, metres up to which each ray has seen the ground, 0 for none.
    """

    rays: NDArray[np.intp]
    steps: NDArray[np.intp]
    ranges: NDArray[np.float32]
    rises: NDArray[np.float32]
    seen_until: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Rays:
    """Rays on the ground; A azimuths and S steps outward, one pixel of the image each at the nearest.

    Attributes
    ----------
    azimuths:
        (A,) float32, radians about the foot of the camera, in the base frame, ascending.
    ranges:
        (S,) float32, metres from the foot on z = 0, ascending.
    classes:
        (A, S) int16, the class there, -1 for none; -2 outside the image.
    pixels:
        (A, S) int64, the pixel's place in the flattened image, -1 outside.
    """

    azimuths: NDArray[np.float32]
    ranges: NDArray[np.float32]
    classes: NDArray[np.int16]
    pixels: NDArray[np.int64]


def observe_contact_line(view: CameraView, tree: PoseTree, labels: LabelSet, options: GridOptions) -> Observation:
    """Free ground and contact points of one image.

    Ground is sampled once per cell of the grid, at the cell's middle, so that near ground does not outvote far ground.
    What lies z higher than the plane of the base is at 1 - z/h of the range at which its ray meets that plane; an
    obstacle stands on the ground before it.  A point at range r, seen from h above its ground, has the range error
    σ = (r² + h²)/h · σ_θ, with `contact_line.attitude_sigma` as σ_θ, and the weight min(1, (resolution / σ)²).  Points
    of a body behind its contact have the contact's weight and no instance: boxes are measured by what is seen.

    Parameters
    ----------
    view:
        The image.
    tree:
        Poses.
    labels, options:
        The label set and the settings of the grid.

    Raises
    ------
    PoseError
        If a pose is missing.
    CameraError
        If the camera is not above the ground.
    """
    base = tree.lookup(options.fixed_frame, options.base_frame, view.stamp)
    optical = tree.lookup(view.frame, options.base_frame, view.stamp)
    centre = optical.inverse.compose(Pose(np.eye(3), view.camera.centre)).translation
    height = float(centre[2])
    if height < LOWEST:
        raise CameraError(
            f"camera {view.name}: {view.frame} is {height:.2f} m above z = 0 of {options.base_frame}; a contact line "
            "needs the ground there, and the camera above it"
        )
    table = ClassTable.of(labels, options)
    classes = table.of_ids(view.segmentation.ids)
    if options.contact_line.bonnet_rows:
        classes[-options.contact_line.bonnet_rows :] = -2
    foot = np.array([centre[0], centre[1], 0.0])
    rays = _cast(view.camera, optical.taking(foot), height, classes, options)
    # A kerb as high as the camera is none that it looks over.
    rises = np.where(table.rises < height - LOWEST, table.rises, np.float32(0))
    ends = _contacts(rays, table, rises, height)
    at_azimuth = rays.azimuths[ends.rays]
    hits = np.stack([np.cos(at_azimuth) * ends.ranges, np.sin(at_azimuth) * ends.ranges, ends.rises], axis=1)
    ids = view.segmentation.ids.ravel()[rays.pixels[ends.rays, ends.steps]]

    anchor = base.compose(Pose(np.eye(3), foot)).translation
    to_fixed = Pose(base.rotation, np.zeros(3))
    free = _free_cells(rays, ends.seen_until, anchor, to_fixed, options)
    free_classes, free = _classes_at(view.camera, optical.taking(foot), classes, free, table, rises)
    in_base = np.concatenate([free, hits.astype(np.float32)])
    found = np.concatenate([free_classes, rays.classes[ends.rays, ends.steps]])
    distance = np.hypot(in_base[:, 0], in_base[:, 1])
    above = np.float32(height) - in_base[:, 2]
    sigma = (distance**2 + above**2) / above * np.float32(np.deg2rad(options.contact_line.attitude_sigma))
    weights = np.minimum(1.0, (options.resolution / np.maximum(sigma, 1e-6)) ** 2).astype(np.float32)
    instances = np.zeros(len(in_base), dtype=np.int32)
    instances[len(free) :] = np.where(table.thing[found[len(free) :]], ids, 0)
    obstacle = np.zeros(len(in_base), dtype=np.bool_)
    obstacle[len(free) :] = True
    behind, of = _bodies(in_base, np.flatnonzero(obstacle & table.body[found]), options)
    in_base = np.concatenate([in_base, behind])
    found, weights, obstacle = (np.concatenate([one, one[of]]) for one in (found, weights, obstacle))
    instances = np.concatenate([instances, np.zeros(len(of), dtype=np.int32)])
    origin = base.compose(Pose(np.eye(3), centre)).translation
    points = to_fixed.relative_to(origin - anchor).apply(in_base)
    return Observation(
        stamp=view.stamp,
        source="contact_line",
        origin=origin,
        points=points,
        heights=np.zeros(len(in_base), dtype=np.float32),
        classes=found,
        instances=instances,
        cameras=np.full(len(in_base), view.index, dtype=np.int8),
        obstacle=obstacle,
        weights=weights,
    )


def _cast(
    camera: Camera, optical_from_foot: Pose, height: float, classes: NDArray[np.int16], options: GridOptions
) -> _Rays:
    """Rays over the ground that the image shows, about one pixel apart."""
    reach = options.contact_line.maximum_range
    border = _border(camera)
    down = optical_from_foot.inverse.rotation.astype(np.float32)
    directions = camera.rays(border[:, 0], border[:, 1])
    directions = directions[np.isfinite(directions).all(axis=1)] @ down.T
    pixel = 1.0 / float(camera.matrix[0, 0])  # radians, at the image's centre
    below = directions[:, 2] < -height / np.hypot(height, reach)
    if not below.any():
        empty = np.zeros((0, 1))
        return _Rays(
            empty[:, 0].astype(np.float32), np.zeros(1, np.float32), empty.astype(np.int16), empty.astype(np.int64)
        )
    steepest = float(np.arcsin(np.clip(-directions[:, 2].min(), 0.0, 1.0)))
    flattest = float(np.arctan2(height, reach))
    steps = int(np.clip((steepest - flattest) / pixel + 1, 2, MAXIMUM_STEPS))
    ranges = (height / np.tan(np.linspace(min(steepest, np.pi / 2 - 1e-3), flattest, steps))).astype(np.float32)
    ahead = optical_from_foot.inverse.rotation[:, 2]
    middle = float(np.arctan2(ahead[1], ahead[0]))
    turned = np.arctan2(directions[below, 1], directions[below, 0]) - middle
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    count = int(np.clip(np.ptp(turned) / pixel + 1, 2, MAXIMUM_RAYS))
    azimuths = (middle + np.linspace(turned.min(), turned.max(), count)).astype(np.float32)
    ground = np.zeros((count, steps, 3), dtype=np.float32)
    np.multiply(np.cos(azimuths)[:, None], ranges, out=ground[:, :, 0])
    np.multiply(np.sin(azimuths)[:, None], ranges, out=ground[:, :, 1])
    pixels = _pixels(camera, optical_from_foot, ground.reshape(-1, 3))
    found = np.where(pixels >= 0, classes.ravel()[pixels], np.int16(-2))
    return _Rays(azimuths, ranges, found.reshape(count, steps), pixels.reshape(count, steps))


def _contacts(rays: _Rays, table: ClassTable, rises: NDArray[np.float32], height: float) -> _Ends:
    """Where each ray meets its obstacle, and up to where it has seen the ground."""
    steps = rays.classes.shape[1]
    ground = table.ground[rays.classes] & (rays.classes >= 0)
    stands = (rays.classes >= 0) & ~ground
    run = stands.copy()
    for ahead in range(1, RUN):
        run[:, :-ahead] &= stands[:, ahead:]
        run[:, -ahead:] = False
    first = np.where(run.any(axis=1), run.argmax(axis=1), steps)
    before = np.arange(steps)[None] < first[:, None]
    last = np.where(ground & before, np.arange(steps)[None], -1).max(axis=1, initial=-1)
    met = np.flatnonzero((first < steps) & (last >= 0) & (first - last <= GAP + 1))
    known, last = last >= 0, np.maximum(last, 0)
    rise = np.where(known, rises[rays.classes[np.arange(len(last)), last]], np.float32(0))
    nearer = 1 - rise / np.float32(height)
    seen_until = np.where(known, rays.ranges[last] * nearer, np.float32(0))
    return _Ends(met, first[met], rays.ranges[first[met]] * nearer[met], rise[met], seen_until)


def _free_cells(
    rays: _Rays, seen_until: NDArray[np.float32], anchor: NDArray[np.float64], to_fixed: Pose, options: GridOptions
) -> NDArray[np.float32]:
    """(M, 3) float32 middles of the grid's cells that lie before every contact, in the base's axes about the foot."""
    resolution, reach = options.resolution, options.contact_line.maximum_range
    if not len(rays.azimuths):
        return np.zeros((0, 3), dtype=np.float32)
    low = np.floor((anchor[:2] - reach) / resolution)
    cells = np.arange(int(np.ceil(2 * reach / resolution)) + 1)
    x = ((low[0] + cells + 0.5) * resolution - anchor[0]).astype(np.float32)
    y = ((low[1] + cells + 0.5) * resolution - anchor[1]).astype(np.float32)
    # On the ground, at the height that the plane has there.
    normal = to_fixed.rotation[:, 2]
    grid = np.empty((len(y), len(x), 3), dtype=np.float32)
    grid[:, :, 0], grid[:, :, 1] = x, y[:, None]
    grid[:, :, 2] = -(normal[0] * grid[:, :, 0] + normal[1] * grid[:, :, 1]) / normal[2]
    in_base = to_fixed.inverse.apply(grid.reshape(-1, 3))
    distance = np.hypot(in_base[:, 0], in_base[:, 1])
    turned = np.arctan2(in_base[:, 1], in_base[:, 0]) - rays.azimuths[0]
    turned -= np.floor(turned / np.float32(2 * np.pi)) * np.float32(2 * np.pi)
    span = rays.azimuths[-1] - rays.azimuths[0]
    nearest = np.rint(turned * ((len(rays.azimuths) - 1) / span)).astype(np.intp)
    inside = (nearest < len(rays.azimuths)) & (distance < reach)
    candidates = np.flatnonzero(inside)
    kept = candidates[distance[candidates] < seen_until[nearest[candidates]]]
    return np.ascontiguousarray(in_base[kept])


def _bodies(
    points: NDArray[np.float32], contacts: NDArray[np.intp], options: GridOptions
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(M, 3) float32 points behind contacts, as high and at most a cell apart, and (M,) which contact each is of."""
    depth = options.contact_line.body_depth
    count = int(np.ceil(depth / options.resolution))
    if not count or not len(contacts):
        return np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.intp)
    of = np.repeat(contacts, count)
    further = np.tile(depth / count * np.arange(1, count + 1), len(contacts)).astype(np.float32)
    behind = points[of]
    behind[:, :2] *= (1 + further / np.hypot(behind[:, 0], behind[:, 1]))[:, None]
    return behind, of


def _classes_at(
    camera: Camera,
    optical_from_foot: Pose,
    classes: NDArray[np.int16],
    ground: NDArray[np.float32],
    table: ClassTable,
    rises: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """The classes of places on the ground, of those that show ground, with these places at the height they have.

    A place is of a class if its pixel is, at the height of that class.  Before a kerb that holds for the road and may
    hold for the sidewalk behind, over which the ray goes on: the lower one is seen.
    """
    found = np.full(len(ground), -1, dtype=np.int16)
    lifted = ground.copy()
    for rise in np.unique(rises[table.ground]):
        rest = np.flatnonzero(found < 0)
        at = ground[rest] + np.array([0, 0, rise], dtype=np.float32)
        pixels = _pixels(camera, optical_from_foot, at)
        seen = np.where(pixels >= 0, classes.ravel()[pixels], np.int16(-1))
        of_rise = (seen >= 0) & table.ground[seen] & (rises[seen] == rise)
        found[rest[of_rise]], lifted[rest[of_rise]] = seen[of_rise], at[of_rise]
    kept = found >= 0
    return found[kept], lifted[kept]


def _pixels(camera: Camera, optical_from_foot: Pose, ground: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place of each point's pixel in the flattened image, -1 outside."""
    uv, _ = camera.project(optical_from_foot.apply(ground))
    found = np.full(len(ground), -1, dtype=np.int64)
    inside, rows, columns = camera.pixels(uv)
    found[inside] = rows * camera.width + columns
    return found


def _border(camera: Camera) -> NDArray[np.float64]:
    """(B, 2) rows and columns around the image and along its middle lines, some 64 a side."""
    rows, columns = np.linspace(0, camera.height - 1, 64), np.linspace(0, camera.width - 1, 64)
    lines = [(row, columns) for row in (0.0, (camera.height - 1) / 2, camera.height - 1.0)]
    found = [np.stack([np.full(64, row), along], axis=1) for row, along in lines]
    found += [
        np.stack([rows, np.full(64, column)], axis=1) for column in (0.0, (camera.width - 1) / 2, camera.width - 1.0)
    ]
    return np.concatenate(found)
