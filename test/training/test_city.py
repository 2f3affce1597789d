"""Weather, and a world that joins streets, traffic and the ego vehicle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the synthetic world is not installed")

from panoptic_training.synthetic.city import make_world
from panoptic_training.synthetic.scene import Weather
from panoptic_training.synthetic.weather import KINDS, RANDOM, random_weather, weather_shares


def test_weather_comes_in_the_shares_that_are_set() -> None:
    rng = np.random.default_rng(0)
    shares = weather_shares(["clear=5", "overcast=2", "dusk=2", "fog"])
    assert shares == {"clear": 0.5, "overcast": 0.2, "dusk": 0.2, "fog": 0.1}
    kinds: Counter[str] = Counter()
    for _ in range(600):
        weather = random_weather(rng, shares)
        fog, dusk = weather.fog > 10**-2.3, weather.sun_elevation < 0.12
        kinds["fog" if fog else "dusk" if dusk else "overcast" if weather.cloudiness > 0.7 else "clear"] += 1
        kinds["wet"] += weather.wetness > 0
    for kind, share in shares.items():  # four standard deviations
        assert kinds[kind] / 600 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 600))
    expected = sum(share * KINDS[kind].wet for kind, share in shares.items())
    assert kinds["wet"] / 600 == pytest.approx(expected, abs=0.07)


def test_random_weather_has_every_kind() -> None:
    assert weather_shares(["random"]) == dict(RANDOM)
    assert set(RANDOM) == set(KINDS)
    assert sum(RANDOM.values()) == pytest.approx(1.0)
    assert weather_shares(["rain"]) == {"rain": 1.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hail"], "got 'hail'"),
        (["random", "fog"], "got 'random'"),
        (["fog=-1"], "share of at least 0 after fog=, got '-1'"),
        (["fog="], "got ''"),
        (["fog=nan"], "got 'nan'"),
        (["fog=0", "clear=0"], "some share above 0"),
        (["fog", "fog=2"], "fog is there twice"),
        ([], "got nothing"),
    ],
)
def test_impossible_shares_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        weather_shares(words)


def test_variation_repaints_whole_kinds_of_surfaces() -> None:
    plain, varied = (make_world(4, 1.0, Weather(), 0.0, variation).static for variation in (0.0, 1.0))
    np.testing.assert_array_equal(plain.vertices, varied.vertices)
    np.testing.assert_array_equal(plain.classes, varied.classes)
    kinds = np.unique(np.stack([plain.classes, plain.materials]), axis=1).T
    factors = []
    for class_id, material in kinds:
        chosen = (plain.classes == class_id) & (plain.materials == material)
        before, after = plain.colors[chosen], varied.colors[chosen]
        unclipped = (before > 1e-3).all(axis=1) & (after < 1).all(axis=1)
        ratio = after[unclipped] / before[unclipped]
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), rtol=1e-4)
        factors.append(ratio[0])
    assert np.log(factors).mean(axis=1).std() > 0.15
    assert np.log(factors).std(axis=1).mean() > 0.04


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


@pytest.mark.parametrize(
    "arguments", [{"duration": 0.0}, {"duration": float("inf")}, {"density": -0.1}, {"variation": 2.0}]
)
def test_impossible_worlds_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        make_world(0, **{"duration": 2.0, **arguments})
