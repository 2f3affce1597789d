"""Weather, and a world that joins streets, traffic and the ego vehicle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the synthetic world is not installed")

from panoptic_training.synthetic.city import Skies, make_world, random_weather
from panoptic_training.synthetic.scene import Weather


def test_weather_comes_in_the_shares_that_are_set() -> None:
    rng = np.random.default_rng(0)
    kinds = Counter()
    for _ in range(600):
        weather = random_weather(rng, Skies(clear=0.5, overcast=0.2, dusk=0.2, fog=0.1, wet=0.5))
        fog, dusk = weather.fog > 0.004, weather.sun_elevation < 0.13
        kinds["fog" if fog else "dusk" if dusk else "overcast" if weather.cloudiness > 0.7 else "clear"] += 1
        kinds["wet"] += weather.wetness > 0
    assert kinds["clear"] / 600 == pytest.approx(0.5, abs=0.08)
    assert kinds["overcast"] / 600 == pytest.approx(0.2, abs=0.06)
    assert kinds["dusk"] / 600 == pytest.approx(0.2, abs=0.07)
    assert kinds["fog"] / 600 == pytest.approx(0.1, abs=0.05)
    assert 100 < kinds["wet"] < 500


@pytest.mark.parametrize("skies", [Skies(clear=-1.0), Skies(clear=0, overcast=0, dusk=0, fog=0), Skies(wet=1.5)])
def test_impossible_shares_are_refused(skies: Skies) -> None:
    with pytest.raises(ValueError, match="shares"):
        random_weather(np.random.default_rng(0), skies)


def test_world_is_whole_and_the_same_again() -> None:
    first, again = (make_world(4, duration=4.0, density=0.3) for _ in range(2))
    assert first.weather == again.weather
    np.testing.assert_array_equal(first.static.vertices, again.static.vertices)
    assert len(first.static.faces) > 10_000
    things = [body.instance for body in first.bodies if body.instance]
    assert things == list(range(1, len(things) + 1))
    assert {body.class_id for body in first.bodies if not body.instance} == {19}
    np.testing.assert_array_equal(first.ego_pose(2.2), again.ego_pose(2.2))
    assert first.ego_velocity(2.0)[0] > 0
    # the ego vehicle stands on the road, in its lane
    s, d = first.layout.main.curve.project(first.ego_pose(1.0)[None, :2, 3])
    assert 0 < s[0] < first.layout.length
    assert -first.layout.main.lane_width < d[0] < 0


def test_lamps_shine_at_dusk_only() -> None:
    dusk, day = (make_world(4, 2.0, Weather(sun_elevation=sun), 0.3) for sun in (0.02, 0.8))
    lit = [
        [bool((body.mesh(0.0).materials == 20).any()) for body in world.bodies if body.class_id == 26]
        for world in (dusk, day)
    ]
    assert any(lit[0])
    assert sum(lit[1]) < sum(lit[0])


@pytest.mark.parametrize("arguments", [{"duration": 0.0}, {"duration": float("inf")}, {"density": -0.1}])
def test_impossible_worlds_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make_world(0, **{"duration": 2.0, **arguments})
