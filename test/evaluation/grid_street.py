"""A bag of a straight road that ends at a wall, with a car before it: everything that a grid is built from, by hand.

The vehicle drives along x with 2 m/s; the wall stands at x = 14 m, the car, 4 x 2 x 1.5 m, at (9, 3).  Everything that
a sensor sees is where its ray first meets the ground, the wall or the car.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bag_cases import CITYSCAPES, START, TYPES, Bag, value

from panoptic_ros import messages
from panoptic_ros.messages.topics import CAMERA_INFO, IMAGE

ROAD, BUILDING, CAR = 7, 11, 26
WALL, CAR_CENTRE, CAR_EXTENT = 14.0, (9.0, 3.0), (4.0, 2.0, 1.5)
SPEED, RATE, HEIGHT = 2.0, 10, 1.5
WIDTH, ROWS, FOCAL = 160, 120, 80.0
CELL, COUNT = 0.5, 80
TF, CLOUD, GRID = "tf2_msgs/msg/TFMessage", "sensor_msgs/msg/PointCloud2", "nav_msgs/msg/OccupancyGrid"
OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""Axes of the optical frame in those of the vehicle."""


def meet(origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far along each ray (N, 3) something is met, infinite for nothing, and its id."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
        wall = np.where(rays[:, 0] > 0, (WALL - origin[0]) / rays[:, 0], np.inf)
        half = np.array(CAR_EXTENT) / 2
        middle = np.array([*CAR_CENTRE, half[2]])
        first, second = (middle - half - origin) / rays, (middle + half - origin) / rays
        near, far = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
        car = np.where((near <= far) & (near > 0), near, np.inf)
    high = origin[2] + wall * rays[:, 2] > 4  # the wall's top
    wall = np.where(high, np.inf, wall)
    distances = np.stack([ground, wall, car])
    nearest = distances.argmin(axis=0)
    ids = np.array([ROAD * 1000, BUILDING * 1000, CAR * 1000 + 1])[nearest]
    found = distances.min(axis=0)
    return found, np.where(np.isfinite(found), ids, 0)


def pixel_rays() -> np.ndarray:
    """(ROWS * WIDTH, 3) in the vehicle's axes; the optical axis has length 1."""
    v, u = np.mgrid[:ROWS, :WIDTH].reshape(2, -1)
    optical = np.stack([(u - (WIDTH - 1) / 2) / FOCAL, (v - (ROWS - 1) / 2) / FOCAL, np.ones(u.size)], axis=1)
    return optical @ OPTICAL.T


def lidar_rays() -> np.ndarray:
    elevations, azimuths = np.meshgrid(np.radians(np.linspace(-25, 3, 32)), np.radians(np.arange(0, 360, 0.5)))
    e, a = elevations.reshape(-1), azimuths.reshape(-1)
    return np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)


def write_street(path: Path, seconds: float = 1.5, truth: bool = True, transforms: bool = True) -> Path:
    """Write the bag; without `transforms` there is only odometry."""
    with Bag(path) as bag:
        bag.labels("/truth")
        bag.labels("/panoptic_node")
        if transforms:
            static = [
                transform(START, "base_link", "lidar", (0.0, 0.0, HEIGHT), np.eye(3)),
                transform(START, "base_link", "optical", (0.0, 0.0, HEIGHT), OPTICAL),
            ]
            bag.add("/tf_static", TF, TYPES.make(TF, transforms=static), START)
        for index in range(int(seconds * 50) + 1):
            stamp = START + index * 20_000_000
            here = SPEED * index / 50
            if transforms:
                moved = [
                    transform(stamp, "map", "odom", (1.0, 0.0, 0.0), np.eye(3)),
                    transform(stamp, "odom", "base_link", (here, 0.0, 0.0), np.eye(3)),
                ]
                bag.add("/tf", TF, TYPES.make(TF, transforms=moved), stamp)
            bag.add("/odom", "nav_msgs/msg/Odometry", odometry(stamp, here), stamp)
        for index in range(int(seconds * RATE) + 1):
            stamp = START + index * 1_000_000_000 // RATE
            origin = np.array([SPEED * index / RATE, 0.0, HEIGHT])
            _camera(bag, stamp, origin)
            distance, _ = meet(origin, lidar_rays())
            seen = np.isfinite(distance) & (distance < 60)
            bag.add("/lidar/points", CLOUD, cloud(stamp, "lidar", (lidar_rays() * distance[:, None])[seen]), stamp + 1)
            if truth and index % 5 == 0:
                _truth(bag, stamp, origin[0])
    return path


def _camera(bag: Bag, stamp: int, origin: np.ndarray) -> None:
    header = messages.make_header(TYPES, stamp, "optical")
    matrix = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (ROWS - 1) / 2], [0, 0, 1]])
    info = TYPES.make(
        CAMERA_INFO,
        header=header,
        width=WIDTH,
        height=ROWS,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
    )
    distance, ids = meet(origin, pixel_rays())
    ids = ids.reshape(ROWS, WIDTH).astype(np.int32)
    bag.picture("/front/image_raw", stamp, CITYSCAPES.colors[ids // 1000])
    for topic in ("/truth/front/panoptic", "/panoptic_node/front/panoptic"):
        bag.add(topic, IMAGE, messages.panoptic_image(TYPES, header, value(ids)), stamp)
    for name in ("/front", "/truth/front", "/panoptic_node/front", "/depth"):
        bag.add(f"{name}/camera_info", CAMERA_INFO, info, stamp)
    depth = np.where(np.isfinite(distance) & (distance < 20), distance, np.nan).astype(np.float32)
    image = TYPES.make(
        IMAGE, header=header, height=ROWS, width=WIDTH, encoding="32FC1", step=4 * WIDTH, data=depth.view(np.uint8)
    )
    bag.add("/depth/image_raw", IMAGE, image, stamp)


def _truth(bag: Bag, stamp: int, here: float) -> None:
    low = np.floor(here / CELL) * CELL - COUNT * CELL / 2, -COUNT * CELL / 2
    x, y = (low[axis] + (np.arange(COUNT) + 0.5) * CELL for axis in (0, 1))
    wall = np.abs(x - (WALL + 0.01)) <= CELL / 2  # the cell behind its face
    inside = (
        np.abs(y[:, None] - CAR_CENTRE[1]) <= CAR_EXTENT[1] / 2,
        np.abs(x[None] - CAR_CENTRE[0]) <= CAR_EXTENT[0] / 2,
    )
    car = inside[0] & inside[1]
    classes = np.where(car, CAR, np.where(wall[None], BUILDING, ROAD)) * np.ones((COUNT, 1), int)
    known = (x < WALL + CELL)[None] & np.ones((COUNT, 1), bool)
    occupied = np.where(known, np.where(car | wall[None], 100, 0), -1)
    bag.add("/truth/occupancy", GRID, cells(stamp, low, occupied), stamp)
    bag.add("/truth/semantic_grid", GRID, cells(stamp, low, np.where(known, classes, -1)), stamp)
    state = [(CAR_CENTRE[0] + 1, CAR_CENTRE[1], 0.75, *CAR_EXTENT, 0, 0, 0, 0, CAR, 1)]  # in map
    names = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "vz")
    layout = np.dtype([*((name, "<f4") for name in names), ("label", "<u2"), ("instance", "<u2")])
    bag.add("/truth/object_states", CLOUD, table(stamp, "map", np.array(state, layout)), stamp)
    seen = np.dtype([("visible", "<u4"), ("label", "<u2"), ("instance", "<u2")])
    bag.add("/truth/front/visibility", CLOUD, table(stamp, "optical", np.array([(900, CAR, 1)], seen)), stamp)


def cells(stamp: int, low: tuple[float, float], values: np.ndarray) -> Any:
    position = TYPES.make("geometry_msgs/msg/Point", x=float(low[0]), y=float(low[1]), z=0.0)
    info = TYPES.make(
        "nav_msgs/msg/MapMetaData",
        resolution=CELL,
        width=values.shape[1],
        height=values.shape[0],
        origin=TYPES.make("geometry_msgs/msg/Pose", position=position),
    )
    header = messages.make_header(TYPES, stamp, "odom")
    return TYPES.make(GRID, header=header, info=info, data=values.astype(np.int8).reshape(-1))


def table(stamp: int, frame: str, rows: np.ndarray) -> Any:
    kinds = {"u2": 4, "u4": 6, "f4": 7}
    fields = [
        TYPES.make("sensor_msgs/msg/PointField", name=name, offset=what[1], datatype=kinds[what[0].str[1:]], count=1)
        for name, what in rows.dtype.fields.items()
    ]
    return TYPES.make(
        CLOUD,
        header=messages.make_header(TYPES, stamp, frame),
        height=1,
        width=len(rows),
        fields=fields,
        point_step=rows.dtype.itemsize,
        row_step=rows.nbytes,
        data=np.frombuffer(rows.tobytes(), np.uint8),
        is_dense=True,
    )


def cloud(stamp: int, frame: str, points: np.ndarray) -> Any:
    rows = np.zeros(len(points), [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    for axis, name in enumerate("xyz"):
        rows[name] = points[:, axis]
    return table(stamp, frame, rows)


def transform(stamp: int, parent: str, child: str, place: tuple[float, float, float], rotation: np.ndarray) -> Any:
    moved = TYPES.make(
        "geometry_msgs/msg/Transform",
        translation=TYPES.make("geometry_msgs/msg/Vector3", x=place[0], y=place[1], z=place[2]),
        rotation=quaternion(rotation),
    )
    header = messages.make_header(TYPES, stamp, parent)
    return TYPES.make("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=moved)


def odometry(stamp: int, here: float) -> Any:
    pose = TYPES.make("geometry_msgs/msg/Pose", position=TYPES.make("geometry_msgs/msg/Point", x=here, y=0.0, z=0.0))
    return TYPES.make(
        "nav_msgs/msg/Odometry",
        header=messages.make_header(TYPES, stamp, "odom"),
        child_frame_id="base_link",
        pose=TYPES.make("geometry_msgs/msg/PoseWithCovariance", pose=pose),
    )


def quaternion(rotation: np.ndarray) -> Any:
    """Of one of the two rotations that are here."""
    x, y, z, w = (0.0, 0.0, 0.0, 1.0) if np.allclose(rotation, np.eye(3)) else (-0.5, 0.5, -0.5, 0.5)
    return TYPES.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
