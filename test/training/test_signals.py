"""Traffic lights: what a camera sees of them at a time is what vehicles obey at that time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from panoptic_training.synthetic.camera import Camera, Intrinsics, look
from panoptic_training.synthetic.city import City, make_world
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.motion import Follower, LanePath
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.scene import Weather
from panoptic_training.synthetic.shading import Quality
from panoptic_training.synthetic.signals import LightHead, SignalLamps, light_heads, signal_lamps
from panoptic_training.synthetic.street import Junction, Layout
from panoptic_training.synthetic.traffic import make_traffic
from panoptic_training.synthetic.truth import ViewTruth, objects_near

DURATION = 45.0


@pytest.fixture(scope="module")
def city() -> City:
    return make_world(3, DURATION, Weather(sun_elevation=0.7, cloudiness=0.2), density=0.0)


@pytest.fixture(scope="module")
def raycaster(city: City) -> Raycaster:
    return Raycaster(city)


def expected(junction: Junction, main: bool, time: float) -> set[str]:
    """The lamps that shine, from the cycle spelled out: green for 18 s and 12 s, amber for 3 s, all red for 2 s."""
    timeline = [(18.0, "G", "R"), (3.0, "A", "R"), (1.0, "R", "R"), (1.0, "R", "RA")]
    timeline += [(12.0, "R", "G"), (3.0, "R", "A"), (1.0, "R", "R"), (1.0, "RA", "R")]
    now = (time + junction.phase) % sum(seconds for seconds, *_ in timeline)
    for seconds, on_main, on_cross in timeline:
        if now < seconds:
            shown = on_main if main else on_cross
            return {{"R": "red", "A": "amber", "G": "green"}[letter] for letter in shown}
        now -= seconds
    raise AssertionError


def seen_lamps(raycaster: Raycaster, head: LightHead, time: float) -> set[str]:
    """The lamps of a head that rays from half a metre before it find shining, by their place and colour."""
    names = set()
    out = head.normal / np.linalg.norm(head.normal)
    for name, up, color in (("red", 0.29, 0), ("amber", 0.0, 0), ("green", -0.29, 1)):
        hits = raycaster.cast(head.center + [0, 0, up] + 0.5 * out, -out[None], time)
        assert hits.ids.tolist() == [19000]
        assert hits.distance[0] == pytest.approx(0.5 - 0.103, abs=2e-3)
        if hits.material[0] == Material.LIGHT:
            assert hits.color[0].argmax() == color
            names.add(name)
        else:
            assert hits.color[0].max() < 0.1
    return names


def test_lamps_seen_at_a_time_are_those_of_the_cycle(city: City, raycaster: Raycaster) -> None:
    heads = light_heads(city.layout)
    assert len({head.junction for head in heads}) > 1
    shown = set()
    for time in (0.0, 44.0, *np.random.default_rng(0).uniform(0, DURATION, 12)):
        for head in heads:
            junction = city.layout.junctions[head.junction]
            lamps = seen_lamps(raycaster, head, float(time))
            assert lamps == expected(junction, head.road == 0, float(time)), (time, head.junction, head.road)
            shown.add(tuple(sorted(lamps)))
    assert shown == {("red",), ("amber", "red"), ("green",), ("amber",)}


def picture(city: City, raycaster: Raycaster, head: LightHead, time: float) -> NDArray[np.uint8]:
    """(96, 96, 3) R, G, B of a head, from 6 m before it."""
    out = head.normal / np.linalg.norm(head.normal)
    matrix = np.array([[450.0, 0, 47.5], [0, 450.0, 47.5], [0, 0, 1]])
    camera = Camera(Intrinsics(96, 96, matrix), Effects(), Quality())
    pose = look((head.center + 6 * out).tolist(), yaw=float(np.arctan2(-out[1], -out[0])))
    return camera.render(raycaster, pose, time, np.random.default_rng(0)).image[..., ::-1]


def test_pictures_show_red_while_it_is_red_and_green_while_it_is_green(city: City, raycaster: Raycaster) -> None:
    head = next(head for head in light_heads(city.layout) if head.road == 0 and head.high)
    junction = city.layout.junctions[head.junction]
    times = np.arange(0.0, DURATION, 0.5)
    red, green = (next(t for t in times if expected(junction, True, t) == {name}) for name in ("red", "green"))
    means = {}
    for name, time in (("red", red), ("green", green)):
        image = picture(city, raycaster, head, float(time)).astype(float)
        for lamp, row in (("red", 47.5 - 0.29 * 450 / 5.9), ("green", 47.5 + 0.29 * 450 / 5.9)):
            means[name, lamp] = image[round(row) - 2 : round(row) + 3, 45:51].mean(axis=(0, 1))
    assert means["red", "red"][0] > 2.5 * means["red", "red"][1]
    assert means["green", "green"][1] > 1.5 * means["green", "green"][0]
    assert means["red", "green"].max() < 0.5 * means["green", "green"].max()  # the other lamp is dark
    assert means["green", "red"].max() < 0.5 * means["red", "red"].max()


def test_vehicles_pass_lamps_that_are_not_red(city: City, raycaster: Raycaster) -> None:
    """Fronts that cross a stop line, in the simulation, and the lamp beside that line at that moment, by rays."""
    traffic = make_traffic(city.layout, 3, DURATION)
    posts = [head for head in light_heads(city.layout) if not head.high]
    crossed = 0
    for body in traffic.bodies:
        if not (isinstance(body, Follower) and isinstance(body.track.path, LanePath) and body.class_id in (26, 27, 28)):
            continue
        times = np.arange(0.0, DURATION, 0.1)
        poses = np.array([body.pose(float(time)) for time in times])
        fronts = poses[:, :3, 3] + poses[:, :3, 0] * body.size[0] / 2
        for head in posts:
            ahead = (fronts - head.center) @ head.normal + 0.4  # of the line, 0.4 m before the post
            aside = (fronts - head.center) @ np.cross(head.normal, [0, 0, 1])
            for index in np.flatnonzero((ahead[:-1] >= 0) & (ahead[1:] < 0) & (np.abs(aside[1:]) < 6.0)):
                facing = poses[index, :3, 0] @ head.normal < -0.9
                rolls_on = np.linalg.norm(fronts[min(index + 30, len(fronts) - 1)] - fronts[index]) > 0.5
                if facing and rolls_on:
                    crossed += 1
                    assert "red" not in seen_lamps(raycaster, head, float(times[index]))
    assert crossed > 5


def test_lamps_keep_their_triangles_and_change_colours_only_with_the_phase() -> None:
    for lamps in signal_lamps(Layout.make(1, 200.0)):
        assert isinstance(lamps, SignalLamps)
        first = lamps.mesh(0.0)
        meshes = [lamps.mesh(float(time)) for time in np.arange(0, lamps.junction.cycle, 0.25)]
        assert all(mesh.faces is first.faces and mesh.vertices is first.vertices for mesh in meshes)
        assert len({id(mesh.colors) for mesh in meshes}) == 7  # all red comes twice
        assert (2 * np.abs(first.vertices[:, :2]).max(axis=0) <= np.array(lamps.size[:2]) + 1e-4).all()


def test_lamps_are_stuff_and_no_objects(city: City, raycaster: Raycaster) -> None:
    head = light_heads(city.layout)[0]
    assert any(body.class_id == 19 for body in city.bodies)
    assert objects_near(city, 1.0, head.center) == ()
    intrinsics = Intrinsics(96, 96, np.array([[200.0, 0, 47.5], [0, 200.0, 47.5], [0, 0, 1]]))
    out = head.normal / np.linalg.norm(head.normal)
    pose = look((head.center + 6 * out).tolist(), yaw=float(np.arctan2(-out[1], -out[0])))
    frame = Camera(intrinsics, Effects(), Quality()).render(raycaster, pose, 1.0, np.random.default_rng(0))
    assert 19000 in frame.ids
    assert ViewTruth(city, intrinsics)(frame.ids, pose, 1.0) == ()
