"""The two layers of occupancy: how evidence adds up, fades, and ends."""

from __future__ import annotations

import math

import numpy as np
from grid_cases import SECOND, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_ros.grid.occupancy import NEVER, Evidence, StandingLayer, ThingLayer, fading

WATCHED = np.array([False])
NOT_FREED = np.full(2, NEVER)
CELL = np.array([0], dtype=np.intp)


def told(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@settings(deadline=None)
@given(st.integers(0, 10**12), st.floats(0.01, 100))
def test_fading_is_exponential_and_the_future_does_not_fade(nanoseconds: int, time_constant: float) -> None:
    found = fading(np.array([nanoseconds, -nanoseconds]), time_constant)
    assert math.isclose(found[0], math.exp(-nanoseconds * 1e-9 / time_constant), rel_tol=1e-4, abs_tol=1e-30)
    assert found[1] == 1


@settings(deadline=None)
@given(st.integers(0, 10**11), st.integers(0, 10**11))
def test_fading_composes(first: int, second: int) -> None:
    twice = fading(np.array([first]), 30.0) * fading(np.array([second]), 30.0)
    np.testing.assert_allclose(twice, fading(np.array([first + second]), 30.0), rtol=1e-5, atol=1e-12)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10 * SECOND), st.floats(-3, 3, width=32)), min_size=1, max_size=6), st.randoms()
)
def test_what_comes_late_counts_as_if_it_had_come_in_time(messages: list[tuple[int, float]], random: object) -> None:
    """Against the sum of every message, faded by its own age."""
    end = 11 * SECOND
    shuffled = list(messages)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    evidence = Evidence(1, 1, 5.0)
    for stamp, value in shuffled:
        evidence.values[CELL] = evidence.added(CELL, told(value)[:, None], stamp)
    expected = sum(value * math.exp(-(end - stamp) * 1e-9 / 5.0) for stamp, value in messages)
    assert math.isclose(evidence.faded(CELL, end)[0, 0], expected, rel_tol=1e-4, abs_tol=1e-4)
    assert evidence.stamps[0] == max(stamp for stamp, _ in messages)


def test_what_stands_is_bounded_and_changes_its_mind() -> None:
    layer = StandingLayer(2, 30.0, 4.0, 0.4, -0.6)
    for frame in range(50):
        layer.add(CELL, told(2.2), WATCHED, frame * SECOND // 10)
    assert layer.at(49 * SECOND // 10, NOT_FREED)[0].tolist() == [4.0, 0.0]
    for _ in range(3):
        layer.add(CELL, told(-1.39), WATCHED, 5 * SECOND)
    assert -0.2 < layer.at(5 * SECOND, NOT_FREED)[0][0] < 0
    assert layer.evidence.stamps.tolist() == [5 * SECOND, NEVER]


def test_what_moves_unwatched_into_a_free_cell_is_forgotten_as_things_are() -> None:
    """What was met first stays, as does what a camera looks at."""
    layer, end, later = StandingLayer(3, 30.0, 4.0, 0.4, -0.6), 2 * SECOND, 2 * SECOND + SECOND // 2
    moved_in, watched = np.array([0]), np.array([2])  # and the wall is 1
    for cell in (moved_in, watched):
        layer.add(cell, told(-1.39), WATCHED, SECOND)
    for _ in range(2):
        layer.add(np.array([0, 1]), told(2.0, 2.0), np.array([True, True]), end)
        layer.add(watched, told(2.0), WATCHED, end)
    free, freed = 1.39 * math.exp(-1 / 30), np.full(3, SECOND)
    slow, fast = math.exp(-0.5 / 30), math.exp(-0.5 / 0.4)
    for stamp, fades, decays in ((end, 1.0, 1.0), (later, slow, fast)):
        logs, cells, evidence = layer.at(stamp, freed)
        np.testing.assert_allclose(logs, [-free * fades, 4 * fades, (4 - free) * fades], rtol=1e-4)
        assert cells.tolist() == [0]
        np.testing.assert_allclose(evidence, [4 * fades * decays], rtol=1e-4)
    # What is seen free afterwards is gone at once; what is met again is there again.
    assert layer.at(later, np.full(3, end + 1))[2].tolist() == [0.0]
    layer.add(moved_in, told(2.0), np.array([True]), later)
    assert layer.at(later, np.full(3, end + 1))[2][0] > 2


def test_a_thing_ends_where_it_is_seen_free() -> None:
    layer = ThingLayer(1, 0.4, 4.0)
    layer.add(CELL, told(2.2), np.array([5], dtype=np.int32), SECOND)
    layer.add(CELL, told(2.2), np.array([6], dtype=np.int32), SECOND + SECOND // 10)
    expected = 2.2 * math.exp(-0.1 / 0.4) + 2.2
    assert math.isclose(layer.evidence.values[0, 0], expected, rel_tol=1e-5)
    assert layer.instances[0] == 6
    layer.free(CELL, SECOND + SECOND // 5)
    assert layer.evidence.values[0, 0] == 0
    layer.add(CELL, told(2.2), np.array([7], dtype=np.int32), SECOND + SECOND // 10)  # late: it was free since
    assert layer.evidence.values[0, 0] == 0
    assert layer.instances[0] == 6


class Ledger:
    """A thing layer that keeps every message: what counts is what came no earlier than the last free."""

    def __init__(self) -> None:
        self.hits: list[tuple[int, float, int]] = []
        self.freed = -math.inf

    def value(self, stamp: int) -> float:
        return sum(e * math.exp(-(stamp - t) * 1e-9 / 0.4) for t, e, _ in self.hits if t >= self.freed)

    def instance(self) -> int:
        valid = [(t, name) for t, _, name in self.hits if t >= self.freed]
        return max(valid)[1] if valid else 0


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_things_and_free_space_may_come_in_either_order(seed: int) -> None:
    """In the order of stamps, but for a neighbour that may come late, the layer is what the ledger of all says."""
    generator = np.random.default_rng(seed)
    stamps = np.sort(generator.choice(20, 6, replace=False)) * SECOND // 10
    order = np.arange(6)
    swap = generator.integers(0, 5)
    order[[swap, swap + 1]] = order[[swap + 1, swap]]
    kinds, layer, ledger = generator.random(6) < 0.5, ThingLayer(1, 0.4, 1e6), Ledger()
    for place in order.tolist():
        stamp, instance = int(stamps[place]), place + 1
        if kinds[place]:
            layer.add(CELL, told(2.0), np.array([instance], dtype=np.int32), stamp)
            ledger.hits.append((stamp, 2.0, instance))
        else:
            layer.free(CELL, stamp)
            ledger.freed = max(ledger.freed, stamp)
    end = 2 * SECOND
    assert math.isclose(layer.evidence.faded(CELL, end)[0, 0], ledger.value(end), rel_tol=1e-4, abs_tol=1e-5)
    if ledger.value(end) > 0:
        assert layer.instances[0] == ledger.instance()


def test_two_sensors_at_one_stamp_agree_on_what_is_met() -> None:
    """A cell that one sensor sees free and another sees met at the same moment is met."""
    for hit_first in (True, False):
        layer = ThingLayer(1, 0.4, 4.0)
        layer.add(CELL, told(1.0), np.array([1], dtype=np.int32), SECOND // 2)
        if hit_first:
            layer.add(CELL, told(2.2), np.array([2], dtype=np.int32), SECOND)
            layer.free(CELL, SECOND)
        else:
            layer.free(CELL, SECOND)
            layer.add(CELL, told(2.2), np.array([2], dtype=np.int32), SECOND)
        assert layer.evidence.values[0, 0] == np.float32(2.2)
        assert layer.instances[0] == 2


def test_clear_forgets() -> None:
    layer, fresh = ThingLayer(3, 0.4, 4.0), ThingLayer(3, 0.4, 4.0)
    cells = np.arange(3, dtype=np.intp)
    layer.add(cells, told(1, 2, 3), cells.astype(np.int32), SECOND)
    layer.free(cells[:1], 2 * SECOND)
    layer.clear(cells)
    for name in ("latest", "earlier", "freed", "instances"):
        np.testing.assert_array_equal(getattr(layer, name), getattr(fresh, name))
    np.testing.assert_array_equal(layer.evidence.values, fresh.evidence.values)
    np.testing.assert_array_equal(layer.evidence.stamps, fresh.evidence.stamps)


def test_bytes_per_cell_are_those_of_the_arrays() -> None:
    layer = ThingLayer(7, 0.4, 4.0)
    arrays = (
        layer.evidence.values,
        layer.evidence.stamps,
        layer.latest,
        layer.earlier,
        layer.freed,
        layer.instances,
    )
    assert layer.bytes_per_cell == sum(array.nbytes for array in arrays) / 7
