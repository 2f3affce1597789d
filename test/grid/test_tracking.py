"""Tracks against closed forms, literal filters and a raster: numbers that stay, and velocities that are true."""

from __future__ import annotations

import numpy as np
import pytest
from grid_boxes import FAR, INDEX, LABELS, observed, visible_points

from panoptic_ros.grid.objects import MeasuredObject, find_objects
from panoptic_ros.grid.options import GridOptions, TrackingOptions
from panoptic_ros.grid.tracking import TrackedObject, Tracker, box_corners, box_iou, constant_velocity, kalman_update

SECOND = 1_000_000_000
OPTIONS = GridOptions()
CAR = (4.4, 1.8, 1.5)


def measured(
    x: float, y: float, *, name: str = "car", instance: int = 26001, camera: int = 0, points: int = 50, yaw: float = 0.0
) -> MeasuredObject:
    """A box at (x, y) of the fixed frame that a sensor behind its right rear corner sees."""
    extent = CAR if name == "car" else (0.5, 0.5, 1.7)
    centre = FAR + np.array([x, y, extent[2] / 2])
    return MeasuredObject(camera, instance, INDEX[name], centre - [40, 40, 0], centre, yaw, extent, 0.8, points)


def run(tracker: Tracker, *steps: tuple[float, list[MeasuredObject]]) -> tuple[TrackedObject, ...]:
    for seconds, boxes in steps:
        found = tracker.update(round(seconds * SECOND), boxes)
    return found


def test_a_step_of_the_filter_is_the_textbooks() -> None:
    """Without Joseph's form, term by term, with the noise integrated over the step."""
    generator = np.random.default_rng(1)
    state, root = generator.normal(size=4), generator.normal(size=(4, 4))
    covariance = root @ root.T
    transition, noise = constant_velocity(0.3, 1.7)
    assert transition @ state == pytest.approx([state[0] + 0.3 * state[2], state[1] + 0.3 * state[3], *state[2:]])
    a = 1.7**2
    for i, j, expected in ((0, 0, a * 0.3**4 / 4), (0, 2, a * 0.3**3 / 2), (2, 2, a * 0.09), (0, 1, 0), (0, 3, 0)):
        assert noise[i, j] == pytest.approx(expected)
        assert noise[j, i] == pytest.approx(expected)
    observe = np.array([[1.0, 0, -0.1, 0], [0, 1.0, 0, -0.1]])
    innovation, spread = np.array([0.4, -0.2]), np.diag([0.04, 0.09])
    total = observe @ covariance @ observe.T + spread
    gain = covariance @ observe.T @ np.linalg.inv(total)
    new_state, new_covariance = kalman_update(state, covariance, observe, innovation, spread)
    assert new_state == pytest.approx(state + gain @ innovation)
    assert new_covariance == pytest.approx(covariance - gain @ observe @ covariance)


def test_overlap_is_that_of_a_raster() -> None:
    generator = np.random.default_rng(2)
    x, y = np.meshgrid(np.arange(-8, 8, 0.02), np.arange(-8, 8, 0.02))

    def covered(centre: np.ndarray, yaw: float, extent: tuple[float, float, float]) -> np.ndarray:
        along = np.cos(yaw) * (x - centre[0]) + np.sin(yaw) * (y - centre[1])
        across = -np.sin(yaw) * (x - centre[0]) + np.cos(yaw) * (y - centre[1])
        return (np.abs(along) <= extent[0] / 2) & (np.abs(across) <= extent[1] / 2)

    overlaps = []
    for _ in range(20):
        boxes = [
            (generator.uniform(-1.5, 1.5, 2), generator.uniform(-3, 3), (*generator.uniform(0.8, 5, 2), 1.0))
            for _ in range(2)
        ]
        first, second = (covered(*box) for box in boxes)
        moved = [(centre + FAR[:2], yaw, extent) for centre, yaw, extent in boxes]
        overlaps.append((first & second).sum() / (first | second).sum())
        assert box_iou(*moved[0], *moved[1]) == pytest.approx(overlaps[-1], abs=0.01)
    assert min(overlaps) < 0.2 < 0.5 < max(overlaps)
    assert box_iou(FAR[:2], 0.0, CAR, FAR[:2] + np.array([9.0, 0.0]), 0.3, CAR) == 0.0
    assert box_iou(FAR[:2], 0.3, CAR, FAR[:2], 0.3 - np.pi, CAR) == pytest.approx(1.0, abs=1e-5)


def test_corners_are_front_left_first_and_go_around() -> None:
    corners = box_corners(np.array([10.0, 5.0, 0.0]), np.pi / 2, (4.0, 2.0, 1.0))
    assert corners == pytest.approx(np.array([[9.0, 7.0], [9.0, 3.0], [11.0, 3.0], [11.0, 7.0]]))


def test_a_drive_past_a_car_gives_its_velocity_box_and_heading() -> None:
    """From points of the sides that a moving sensor sees, over four seconds, at 10 Hz."""
    tracker, generator = Tracker(OPTIONS, LABELS), np.random.default_rng(0)
    velocity = np.array([-7.0, 1.0])
    yaw = float(np.arctan2(velocity[1], velocity[0]))
    for step in range(40):
        seconds = 0.1 * step
        car = np.array([40.0, 4.0]) + velocity * seconds
        sensor = np.array([2.0 * seconds, 0.0])
        points = visible_points(tuple(car - sensor), yaw, CAR, step=0.2)
        points += generator.normal(0, 0.02, points.shape).astype(np.float32)
        view = observed((points, "car", 26001 + step % 3, 0), origin=FAR + np.array([*sensor, 0.0]))
        found = tracker.update(round(seconds * SECOND), find_objects(view, LABELS, OPTIONS))
    (one,) = found
    assert one.track == 1
    assert one.velocity == pytest.approx(velocity, abs=0.3)
    assert one.centre - FAR == pytest.approx([*car, -2.0 + CAR[2] / 2], abs=0.25)
    assert one.extent == pytest.approx(CAR, abs=0.25)
    assert abs(one.yaw - yaw) < np.deg2rad(3)
    assert np.linalg.eigvalsh(one.covariance).min() > 0


def test_a_parked_car_that_comes_into_view_does_not_move() -> None:
    """The middle of what is seen drifts by two metres; the near corner does not."""
    tracker = Tracker(OPTIONS, LABELS)
    middles = []
    for step in range(15):
        points = visible_points((12.0, 6.0), 0.0, (7.0, 1.8, 1.5), share=0.45 + 0.55 * step / 14)
        boxes = find_objects(observed((points, "car", 26001, 0)), LABELS, OPTIONS)
        middles.append(boxes[0].centre[0])
        found = tracker.update(step * SECOND // 10, boxes)
        if found:
            assert np.hypot(*found[0].velocity) < 0.3
    assert middles[-1] - middles[0] > 1.5
    assert found[0].centre[0] - found[0].extent[0] / 2 == pytest.approx(FAR[0] + 12.0 - 3.5, abs=0.1)


def test_the_matching_is_the_best_of_all_together() -> None:
    """The first box is nearer to the second track; if it took it, the second box would be left with none."""
    tracker = Tracker(OPTIONS, LABELS)
    first, second = measured(0.0, 0.0, name="person", instance=1), measured(1.5, 0.0, name="person", instance=2)
    run(tracker, (0.0, [first, second]), (0.1, [first, second]))
    shifted = [measured(0.8, 0.0, name="person", instance=7), measured(2.9, 0.0, name="person", instance=8)]
    run(tracker, (0.2, shifted))
    assert tracker.tracks_of(shifted) == {(0, 7): 1, (0, 8): 2}


def test_tracks_are_of_one_class_and_within_the_gate() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    run(tracker, (0.0, [measured(0, 0)]), (0.1, [measured(0, 0)]))
    other, far = measured(0, 0, name="person", instance=24001), measured(0, 7.0, instance=26002)
    run(tracker, (0.2, [other, far]), (0.3, [other, far]))
    assert tracker.tracks_of([other, far]) == {(0, 24001): 2, (0, 26002): 3}


def test_a_track_is_said_when_confirmed_and_ends_when_forgotten() -> None:
    tracker = Tracker(GridOptions(tracking=TrackingOptions(confirm=3, forget=0.5)), LABELS)
    box = measured(0, 0)
    assert run(tracker, (0.0, [box]), (0.1, [box])) == ()
    assert tracker.tracks_of([box]) == {}
    (one,) = run(tracker, (0.2, [box]))
    assert (one.track, one.points, one.stamp) == (1, 50, SECOND // 5)
    assert one.score == pytest.approx(0.8)
    assert tracker.tracks_of([box]) == {(0, 26001): 1}
    assert len(tracker.advance(round(0.7 * SECOND))) == 1
    assert tracker.advance(round(0.71 * SECOND)) == ()
    (again,) = run(tracker, (0.8, [box]), (0.9, [box]), (1.0, [box]))
    assert again.track == 2
    tracker.reset()
    assert tracker.advance(0) == ()
    (first,) = run(tracker, (0.0, [box]), (0.1, [box]), (0.2, [box]))
    assert first.track == 1


def test_what_is_not_seen_goes_on_as_it_moved() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    (one,) = run(tracker, *((0.1 * step, [measured(0.5 * step, 0)]) for step in range(12)))
    (later,) = tracker.advance(round(1.5 * SECOND))
    assert later.centre[:2] == pytest.approx(one.centre[:2] + 0.4 * one.velocity)
    assert later.covariance[0, 0] > one.covariance[0, 0]
    assert one.velocity == pytest.approx([5.0, 0.0], abs=0.1)


def test_a_measurement_that_comes_late_counts_for_its_own_time() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    run(tracker, *((0.1 * step, [measured(1.0 * step, 0)]) for step in range(15)))
    before = tracker.advance(round(1.4 * SECOND))[0]
    late = measured(13.5, 0, camera=1)  # where it was 0.05 s ago
    (after,) = run(tracker, (1.35, [late]))
    assert after.stamp == round(1.4 * SECOND)
    assert after.centre[:2] == pytest.approx(before.centre[:2], abs=0.03)
    assert after.velocity == pytest.approx([10.0, 0.0], abs=0.1)


def test_what_two_cameras_see_of_one_object_is_one() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    boxes = [measured(0, 0, camera=0), measured(0.4, 0, camera=1, instance=26005, points=20)]
    (one,) = run(tracker, (0.0, boxes), (0.1, boxes))
    assert one.points == 50
    assert tracker.tracks_of(boxes) == {(0, 26001): 1, (1, 26005): 1}
    crowd = [measured(0, 0), measured(0.4, 0, instance=26002)]  # of one camera they are two
    tracker.reset()
    assert len(run(tracker, (0.0, crowd), (0.1, crowd))) == 2


def test_length_and_width_are_exchanged_after_three_measurements_that_say_so() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    run(tracker, (0.0, [measured(0, 0)]), (0.1, [measured(0, 0)]))
    yaws = [run(tracker, (0.2 + 0.1 * step, [measured(0, 0, yaw=np.pi / 2 - 0.01)]))[0].yaw for step in range(4)]
    assert [abs(yaw) > 1 for yaw in yaws] == [False, False, True, True]


def test_a_class_that_is_none_is_refused() -> None:
    tracker = Tracker(OPTIONS, LABELS)
    box = measured(0, 0)
    wrong = MeasuredObject(0, 1, 19, box.sensor, box.centre, 0.0, CAR, 1.0, 9)
    with pytest.raises(ValueError, match="class 19 is not one of the 19 of cityscapes"):
        tracker.update(0, [wrong])
