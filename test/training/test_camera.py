"""Pictures, ids and depth of cameras, against closed forms, OpenCV's projection and an independent painter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import BUILDING, CAR, ROAD, MovingBox, SmallWorld, box, ground

from panoptic_training.synthetic.camera import Camera, Intrinsics, look
from panoptic_training.synthetic.depth import DepthCamera
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.scene import Weather
from panoptic_training.synthetic.shading import Quality

LENSES = {
    "none": ((), "plumb_bob"),
    "plumb_bob": ((-0.25, 0.08, 0.001, -0.002, -0.01), "plumb_bob"),
    "rational": ((0.4, -0.1, 0.0005, 0.001, 0.02, 0.65, -0.05, 0.03), "rational_polynomial"),
}
MOUNT = look((0.0, 0.0, 1.6), yaw=0.05, pitch=0.04, roll=0.02)


def street(weather: Weather | None = None) -> SmallWorld:
    static = Mesh.join([ground(300), box((10, 6, 9), (30, 12, 0), BUILDING), box((14, 6, 5), (25, -11, 0), BUILDING)])
    bodies = [
        MovingBox(1, (12.0, 2.0), yaw=0.4),
        MovingBox(2, (16.0, 0.5), velocity=(3.0, 0.0)),
        MovingBox(3, (20.0, -4.0), (1.0, 0.6, 1.8), velocity=(0.0, 1.0), class_id=24),
    ]
    return SmallWorld(static, bodies, weather)


def camera(lens: str = "plumb_bob", size: tuple[int, int] = (320, 192), effects: Effects | None = None) -> Camera:
    distortion, model = LENSES[lens]
    return Camera(Intrinsics.from_field_of_view(*size, 75, distortion, model), effects)


@pytest.mark.parametrize("lens", LENSES)
def test_rays_are_the_inverse_of_opencvs_projection(lens: str) -> None:
    intrinsics = camera(lens).intrinsics
    pixels = intrinsics.project(intrinsics.rays().reshape(-1, 3)).reshape(intrinsics.height, intrinsics.width, 2)
    columns, rows = np.meshgrid(np.arange(intrinsics.width), np.arange(intrinsics.height))
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=2), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(intrinsics.rays(), axis=2), 1, atol=1e-6)


@pytest.mark.parametrize("lens", LENSES)
def test_depth_of_a_wall_and_of_the_ground_in_closed_form(lens: str) -> None:
    shot = camera(lens)
    wall = box((1, 200, 100), (15.5, 0, 0), BUILDING)
    ids, depth = shot.trace(Raycaster(SmallWorld(Mesh.join([ground(), wall]))), look((0, 0, 2.0)), 0.0)
    np.testing.assert_allclose(depth[ids == BUILDING * 1000], 15.0, rtol=1e-5)
    rays = shot.intrinsics.rays()
    with np.errstate(divide="ignore"):
        expected = 2.0 / rays[..., 1] * rays[..., 2]  # y points down
    road = ids == ROAD * 1000
    assert road.sum() > 5000
    np.testing.assert_allclose(depth[road], expected[road], rtol=1e-5)


def test_sky_is_infinitely_far() -> None:
    frame = camera().render(Raycaster(street()), MOUNT, 0.0)
    sky = frame.ids == 23000
    assert 0.1 < sky.mean() < 0.7
    np.testing.assert_array_equal(np.isinf(frame.depth), sky)


@pytest.mark.parametrize("lens", LENSES)
def test_points_on_surfaces_are_projected_on_pixels_of_their_instance(lens: str) -> None:
    """`cv2.projectPoints` of points that random rays find."""
    world, shot, time = street(), camera(lens), 1.0
    raycaster = Raycaster(world)
    frame = shot.render(raycaster, MOUNT, time)
    rng = np.random.default_rng(0)
    spread = rng.uniform([-0.7, -0.5], [0.7, 0.3], (6000, 2))
    aim = np.concatenate([spread, np.ones((6000, 1))], axis=1)
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)
    hits = raycaster.cast(MOUNT[:3, 3], aim @ MOUNT[:3, :3].T, time)
    solid = np.isfinite(hits.distance)
    pixels = np.rint(shot.intrinsics.project(aim * np.where(solid, hits.distance, 1)[:, None])).astype(int)
    inside = solid & (pixels >= 0).all(axis=1) & (pixels < [320, 192]).all(axis=1)
    seen = frame.ids[pixels[inside, 1], pixels[inside, 0]]
    around = np.ones((3, 3), np.uint8)
    lowest, highest = (
        function(frame.ids.astype(np.float32), around).astype(int)[pixels[inside, 1], pixels[inside, 0]]
        for function in (cv2.erode, cv2.dilate)
    )
    plain = lowest == highest  # no edge within a pixel
    assert plain.sum() > 1500
    np.testing.assert_array_equal(seen[plain], hits.ids[inside][plain])
    assert (seen == hits.ids[inside]).mean() > 0.97
    assert {CAR, 24} <= set(np.unique(frame.ids[frame.ids % 1000 > 0]) // 1000)


def test_areas_agree_with_an_independent_painter() -> None:
    """Each box projected by OpenCV and filled from far to near, against the rays' ids."""
    world, shot = street(), camera("none", (400, 240))
    ids, _ = shot.trace(Raycaster(world), MOUNT, 0.0)
    fine = 8  # OpenCV also fills the pixels that a border touches, here an eighth of ours
    painted = np.full((240 * fine, 400 * fine), 23000, dtype=np.int32)
    boxes: list[tuple[float, list[np.ndarray], int]] = []
    optical_from_world = np.linalg.inv(MOUNT)

    def add(mesh: Mesh, transform: np.ndarray, segment: int) -> None:
        points = mesh.vertices @ (optical_from_world @ transform)[:3, :3].T + (optical_from_world @ transform)[:3, 3]
        assert points[:, 2].min() > 0.1
        polygons = [shot.intrinsics.project(corners) for corners in points[mesh.faces]]
        boxes.append((float(np.linalg.norm(points.mean(axis=0))), polygons, segment))

    for mesh in (box((10, 6, 9), (30, 12, 0), BUILDING), box((14, 6, 5), (25, -11, 0), BUILDING)):
        add(mesh, np.eye(4), BUILDING * 1000)
    for body in world.bodies:
        add(body.mesh(0.0), body.pose(0.0), body.class_id * 1000 + body.instance)
    road = (shot.intrinsics.rays() @ MOUNT[:3, :3].T.astype(np.float32))[..., 2] < -1.6 / 300
    painted[np.kron(road, np.ones((fine, fine), dtype=bool))] = ROAD * 1000
    for _, polygons, segment in sorted(boxes, key=lambda one: -one[0]):
        for pixels in polygons:
            within = (pixels + 0.5) * fine - 0.5
            cv2.fillConvexPoly(painted, np.rint(within * 256).astype(np.int32), segment, cv2.LINE_8, 8)
    painted = painted[fine // 2 :: fine, fine // 2 :: fine]
    for segment in np.unique(ids[ids // 1000 != 23]):
        mine, theirs = ids == segment, painted == segment
        edges = [cv2.morphologyEx(one.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) for one in (mine, theirs)]
        edge = (edges[0] | edges[1]) > 0
        assert not ((mine != theirs) & ~edge).any(), segment
        perimeter = int(edge.sum()) / 2
        assert abs(int(mine.sum()) - int(theirs.sum())) < 2.5 / fine * perimeter + 2, segment


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads() -> None:
    effects = Effects(0.3, 0.1, 0.01, 1.0, 0.3, 80, 0.05, seed=4)
    velocity = ((0.0, 0.0, 8.0), (0.0, 0.1, 0.0))
    frames = []
    for threads in (1, 1, 3):
        shot = Camera(camera().intrinsics, effects, Quality(threads=threads))
        frames.append(shot.render(Raycaster(street()), MOUNT, 0.5, np.random.default_rng(3), velocity))
    for other in frames[1:]:
        np.testing.assert_array_equal(frames[0].image, other.image)
        np.testing.assert_array_equal(frames[0].ids, other.ids)
        np.testing.assert_array_equal(frames[0].depth, other.depth)
    different = Camera(camera().intrinsics, effects).render(
        Raycaster(street()), MOUNT, 0.5, np.random.default_rng(4), velocity
    )
    assert (different.image != frames[0].image).any()
    np.testing.assert_array_equal(different.ids, frames[0].ids)


def test_the_sun_casts_shadows_and_clouds_take_them() -> None:
    def road_brightness(weather: Weather) -> tuple[float, float]:
        """Of the ground beside a tower on the side away from the sun, and on the side towards it."""
        world = SmallWorld(Mesh.join([ground(), box((4, 4, 30), (20, 0, 0), BUILDING)]), weather=weather)
        image = camera("none").render(Raycaster(world), look((20, 0, 60), pitch=np.pi / 2), 0.0).image.astype(float)
        return float(image[93:100, 60:120].mean()), float(image[93:100, 200:260].mean())

    # Seen from above with x up: the picture's left is y.
    shaded, lit = road_brightness(Weather(sun_elevation=0.5, sun_azimuth=-np.pi / 2, cloudiness=0.0))
    assert shaded < 0.6 * lit
    first, second = road_brightness(Weather(sun_elevation=0.5, sun_azimuth=-np.pi / 2, cloudiness=1.0))
    assert abs(first - second) < 0.1 * first


def test_a_wet_road_mirrors_what_stands_on_it() -> None:
    """A white wall far ahead shows in the road at its foot when it is wet, not when it is dry."""
    wall = box((1, 40, 8), (40, 0, 0), BUILDING, color=(0.9, 0.9, 0.9))

    def brightness(wetness: float) -> float:
        weather = Weather(sun_elevation=0.5, sun_azimuth=np.pi, cloudiness=0.2, wetness=wetness)
        world = SmallWorld(Mesh.join([ground(), wall]), weather=weather)
        frame = Camera(camera("none").intrinsics).render(Raycaster(world), look((0, 0, 1.5)), 0.0)
        road = (frame.ids == ROAD * 1000) & (frame.depth > 25)
        return float(frame.image[road].mean()) / float(frame.image[frame.ids == BUILDING * 1000].mean())

    assert brightness(1.0) > 1.2 * brightness(0.0)


def test_lamps_light_the_street_after_dark() -> None:
    lamp = box((0.4, 0.4, 0.1), (30, 5, 6), 17, Material.LIGHT, (1.0, 0.9, 0.7))
    image = {}
    for name, parts in {"dark": [ground()], "lit": [ground(), lamp]}.items():
        world = SmallWorld(Mesh.join(parts), weather=Weather(sun_elevation=-0.3, cloudiness=0.0))
        shot = Camera(camera("none").intrinsics)
        image[name] = shot.render(Raycaster(world), look((20, 5, 20), pitch=1.0), 0.0).image.astype(int)
    spot = np.s_[60:140, 120:200]
    assert (image["lit"] - image["dark"])[spot].mean() > 15


def test_fog_hides_what_is_far() -> None:
    def contrast(fog: float) -> float:
        frame = camera().render(Raycaster(street(Weather(fog=fog, cloudiness=1.0))), MOUNT, 0.0)
        return float(frame.image[frame.ids // 1000 == BUILDING].mean() - frame.image[frame.ids == 23000].mean())

    assert abs(contrast(0.05)) < 0.5 * abs(contrast(0.0))


def test_motion_blurs_what_passes_and_not_what_drives_along() -> None:
    world = SmallWorld(Mesh.join([ground(), *(box((0.2, 0.2, 3), (6 + x, 4, 0), BUILDING) for x in range(0, 30, 1))]))
    along = {True: MovingBox(1, (9, -1), (1.0, 1.0, 1.5), (15.0, 0.0)), False: MovingBox(1, (9, -1), (1.0, 1.0, 1.5))}
    sharpness = {}
    for moves, body in along.items():
        world.bodies = [body]
        shot = Camera(camera("none").intrinsics, Effects(motion_blur=0.04), Quality(smooth_edges=False))
        velocity = ((0.0, 0.0, 15.0), (0.0, 0.0, 0.0))
        still = shot.render(Raycaster(world), look((0, 0, 1.5)), 0.0)
        blurred = shot.render(Raycaster(world), look((0, 0, 1.5)), 0.0, velocity=velocity)
        np.testing.assert_array_equal(still.ids, blurred.ids)
        change = np.abs(still.image.astype(int) - blurred.image).mean(axis=2)
        inner = cv2.erode((still.ids == CAR * 1000 + 1).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        sharpness[moves] = change[inner].mean()
        assert change[still.ids == BUILDING * 1000].mean() > 3
    assert sharpness[True] < 0.5
    assert sharpness[True] < sharpness[False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matrix": [[0, 0, 10], [0, 100, 10], [0, 0, 1]]}, "camera matrix"),
        ({"matrix": [[100, 0, 1e5], [0, 100, 10], [0, 0, 1]]}, "principal point"),
        ({"distortion": [0.1, 0.2]}, "plumb_bob takes"),
        ({"distortion": [-3.0, 0, 0, 0, 0]}, "folds"),
        ({"model": "fisheye"}, "distortion model"),
        ({"width": 0}, "at least 1 x 1"),
    ],
)
def test_impossible_intrinsics_are_refused(settings: dict[str, object], message: str) -> None:
    good = {"width": 100, "height": 80, "matrix": [[60, 0, 50], [0, 60, 40], [0, 0, 1]], "distortion": []}
    with pytest.raises(ValueError, match=message):
        Intrinsics(**{**good, **settings})  # type: ignore[arg-type]


def test_effects_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="jpeg_quality"):
        Effects(jpeg_quality=101)


def test_depth_camera_reports_metres_or_millimetres_and_nothing_beyond_its_range() -> None:
    intrinsics, raycaster = camera().intrinsics, Raycaster(street())
    _, exact = camera().trace(raycaster, MOUNT, 0.0)
    metres = DepthCamera(intrinsics, 2.0, 14.0).render(raycaster, MOUNT, 0.0)
    within = (exact >= 2.0) & (exact <= 14.0)
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(metres), within)
    np.testing.assert_array_equal(metres[within], exact[within])
    millimetres = DepthCamera(intrinsics, 2.0, 14.0, encoding="16UC1").from_depth(exact)
    assert millimetres.dtype == np.uint16
    np.testing.assert_array_equal(millimetres > 0, within)
    np.testing.assert_allclose(millimetres[within] / 1000, exact[within], atol=0.00051)


def test_depth_noise_grows_with_the_square_of_the_depth() -> None:
    exact = np.repeat(np.float32([[2.0], [8.0]]), 20000, axis=1)
    measured = DepthCamera(camera().intrinsics, noise=0.002, dropout=0.25).from_depth(exact, np.random.default_rng(0))
    np.testing.assert_allclose(np.nanstd(measured, axis=1), [0.008, 0.128], rtol=0.05)
    np.testing.assert_allclose(np.isnan(measured).mean(), 0.25, atol=0.02)
