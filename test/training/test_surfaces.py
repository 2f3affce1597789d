"""Light and looks of single points, against OpenCV and whole-array arithmetic."""

from __future__ import annotations

import gc
import weakref

import cv2
import numpy as np
import pytest

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import BUILDING, SmallWorld, box, ground

from panoptic_training.synthetic.compiled import compiled
from panoptic_training.synthetic.edges import Edges
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.raycast import Hits, Raycaster
from panoptic_training.synthetic.scene import Weather
from panoptic_training.synthetic.shading import Quality, Shader, shader_of
from panoptic_training.synthetic.sky import BOTTOM, HEIGHT, WIDTH, Sky, look
from panoptic_training.synthetic.textures import COARSE_SIZE, SIZE, UNIT, Textures, factors


@compiled
def looks(dome: np.ndarray, ways: np.ndarray) -> np.ndarray:
    seen = np.empty((len(ways), 3), dtype=np.float32)
    for way in range(len(ways)):
        seen[way] = look(dome, ways[way, 0], ways[way, 1], ways[way, 2])
    return seen


@compiled
def textured(tables: object, material: np.ndarray, uv: np.ndarray, footprint: np.float32) -> np.ndarray:
    found = np.empty((len(uv), 3), dtype=np.float32)
    for point in range(len(uv)):
        found[point] = factors(tables, material[point], uv[point, 0], uv[point, 1], footprint)
    return found


def test_the_sky_is_looked_up_as_opencv_does() -> None:
    sky = Sky(Weather(cloudiness=0.4))
    ways = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)
    ways[:, 2] = np.abs(ways[:, 2])
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    rows = (np.arcsin(ways[:, 2]) - BOTTOM) * (HEIGHT - 1) / (np.pi / 2 - BOTTOM)
    columns = np.mod(np.arctan2(ways[:, 1], ways[:, 0]), 2 * np.pi) * WIDTH / (2 * np.pi) - 0.5
    expected = cv2.remap(
        sky.soft, np.float32(columns)[:, None], np.float32(rows)[:, None], cv2.INTER_LINEAR, None, cv2.BORDER_WRAP
    )
    inside = rows < HEIGHT - 1.01  # OpenCV would wrap the zenith around too
    np.testing.assert_allclose(
        looks(sky.soft, ways)[inside], expected[inside, 0], atol=0.003
    )  # it rounds to 1/32 texel


def test_textures_repeat_and_vanish_from_afar() -> None:
    textures, rng = Textures(3), np.random.default_rng(1)
    material = rng.integers(0, len(Material), 20000).astype(np.uint8)
    tables = textures.tables
    period = (SIZE / tables.per_texel)[material][:, None]
    uv = (rng.integers(0, SIZE, (20000, 2)) + 0.5) * period / SIZE
    near = textured(tables, material, uv.astype(np.float32), np.float32(0))
    coarse = (np.floor(uv * tables.per_coarse[material][:, None]).astype(int) % COARSE_SIZE).T
    patch = tables.coarse[material, coarse[1], coarse[0]] / UNIT
    cell = np.floor(uv / period * SIZE + 1e-3).astype(int)
    fine = (
        tables.texels[: len(Material) * SIZE * SIZE].reshape(-1, SIZE, SIZE, 3)[material, cell[:, 1], cell[:, 0]] / UNIT
    )
    same = np.isclose(near, fine * patch[:, None], atol=1e-4).all(axis=1)
    assert same.mean() > 0.999  # a texel's middle may round into the next coarse one
    far = textured(tables, material, uv.astype(np.float32), np.float32(50.0)) / patch[:, None]
    for kind in Material:
        np.testing.assert_allclose(far[material == kind].mean(axis=0), 1, atol=0.04)
        assert far[material == kind].std() <= near[material == kind].std() + 0.02


def test_a_lit_surface_has_the_light_that_falls_on_it() -> None:
    """Plain ground without shadows, mirrors and air: albedo times the sun's cosine, and the sky's half."""
    weather = Weather(sun_elevation=0.8, cloudiness=0.0, fog=0.0)
    raycaster = Raycaster(SmallWorld(ground(50), weather=weather))
    shader = Shader(raycaster.world, Quality(shadows=False, mirrors=False, occlusion=0, smooth_edges=False))
    ways = np.float32([[0.6, 0.0, -0.8], [0.0, 0.28, -0.96], [0.0, 0.0, -1.0]])
    origin = np.float32([[1.0, 2.0, 4.0]])
    hits = raycaster.cast(origin, ways, 0.0)
    found = shader.shade(raycaster, hits, origin, ways, 0.002, 0.0, mirrors=False)
    sky = shader.sky
    footprint = hits.distance * 0.002 / np.sqrt(-ways[:, 2])
    albedo = np.stack([hits.color[n] * textured(shader.textures.tables, hits.material[n : n + 1], hits.uv[n : n + 1],
                                                np.float32(footprint[n]))[0] for n in range(3)])  # fmt: skip
    half = sky.direction - ways
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = half[:, 2:] ** 12 * 0.02 * sky.sun  # what the roughest materials mirror of the sun
    expected = albedo * (sky.sun * np.sin(0.8) + sky.overhead) + shine
    through = np.exp(-hits.distance[:, None] * 1e-4)
    toward = np.maximum(ways @ sky.direction, 0)[:, None] ** 6 * 0.18
    haze = sky.haze + sky.sun * toward
    np.testing.assert_allclose(found, haze + (expected - haze) * through, rtol=1e-4)


def test_shadows_lie_where_the_sun_is_hidden() -> None:
    weather = Weather(sun_elevation=0.6, sun_azimuth=0.0, cloudiness=0.0)
    tower = box((2, 2, 6), (0, 0, 0), BUILDING)
    raycaster = Raycaster(SmallWorld(Mesh.join([ground(50), tower]), weather=weather))
    shader = Shader(raycaster.world, Quality(mirrors=False))
    x = np.linspace(-16, -1.5, 200)
    origins = np.stack([x, np.zeros(200), np.full(200, 3.0)], axis=1).astype(np.float32)
    ways = np.tile(np.float32([[0, 0, -1]]), (200, 1))
    hits = raycaster.cast(origins, ways, 0.0)
    red = shader.shade(raycaster, hits, origins, ways, 0.01, 0.0)[:, 0]
    end = -1 - 6 / np.tan(0.6)  # of the tower's shadow on the ground
    assert red[x < end - 0.1].min() > 1.5 * red[x > end + 0.1].max()


def test_edges_are_means_with_their_corners() -> None:
    """A vertical edge between two surfaces: pixels beside it become half their own, half the mean of four corners."""
    picture = np.zeros((4, 6, 3), np.float32)
    picture[:, 3:] = 0.8
    hits = Hits.blank(24)
    hits.distance[:] = 5.0
    hits.class_id.reshape(4, 6)[:, 3:] = BUILDING
    edges = Edges(picture, hits, 1.0)
    assert set(edges.columns.tolist()) == {3}
    assert edges.rows.tolist() == [0, 1, 2, 3, 4]
    light = np.full((5, 3), 0.2, np.float32)
    edges.smooth(picture, light)
    left, right = 0.5 * 0.0 + 0.125 * (2 * 0.2 + 2 * 0.0), 0.5 * 0.8 + 0.125 * (2 * 0.2 + 2 * 0.8)
    np.testing.assert_allclose(picture[:, :, 0], np.tile([0, 0, left, right, 0.8, 0.8], (4, 1)), atol=1e-6)


def test_nothing_holds_a_world_that_is_done_with() -> None:
    """A run makes one street after another: what was made for the last must not stay."""
    world = SmallWorld(ground(50))
    raycaster = Raycaster(world)
    shader = shader_of(raycaster, Quality())
    assert shader_of(raycaster, Quality()) is shader
    assert shader_of(raycaster, Quality(mirrors=False)) is not shader
    gone = [weakref.ref(one) for one in (world, raycaster, shader)]
    del world, raycaster, shader
    gc.collect()
    assert [one() for one in gone] == [None] * 3
