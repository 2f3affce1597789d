"""More frames than the network can take: the newest wins, and every lost one is counted with its reason."""

from __future__ import annotations

import time

import pytest
from builtin_interfaces.msg import Time
from node_harness import FakeSource, Ros, picture, stamp_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from panoptic_ros.nodes.statistics import Drop


def test_the_newest_frame_wins_and_the_count_is_exact(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or panoptic, "the first result")
    statistics = node.cameras[0].statistics
    ros.until(lambda: statistics.summary().received == statistics.summary().processed, "quiet")
    del panoptic[:]
    before = statistics.summary()
    source.pipeline.delay = 0.15
    sent = []
    for _ in range(60):
        message = ros.image(picture())
        sent.append(stamp_of(message))
        camera.publish(message)
        ros.spin(0.02)

    def quiet() -> bool:
        now = statistics.summary()
        return now.received == now.processed + sum(now.dropped.values())

    ros.until(quiet, "the end of the work")
    after = statistics.summary()
    received, processed = after.received - before.received, after.processed - before.processed
    superseded = after.dropped[Drop.SUPERSEDED] - before.dropped.get(Drop.SUPERSEDED, 0)
    assert received == processed + superseded
    ros.until(lambda: len(panoptic) == processed, "the results")
    assert 50 <= received <= 60  # best effort
    assert 6 <= processed <= 20
    order = [sent.index(stamp_of(message)) for message in panoptic]
    assert order == sorted(set(order))
    assert order[-1] >= 58  # the last one is not lost behind older ones
    # Two processing periods: the one that runs when a frame arrives, and its own.
    assert after.output_age is not None
    assert after.output_age.p99 < 2 * 0.15 + 0.1


def test_max_rate_drops_what_is_over_it_and_changes_live(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_rate=10.0)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or panoptic, "the first result")
    statistics = node.cameras[0].statistics
    begin, first = time.monotonic(), statistics.summary()
    while time.monotonic() - begin < 1.5:
        camera.publish(ros.image(picture()))
        ros.spin(0.02)
    last = statistics.summary()
    assert 10 <= last.processed - first.processed <= 18
    assert last.dropped[Drop.RATE] > 20
    ros.set(node, max_rate=0)
    rate_drops = statistics.summary().dropped[Drop.RATE]
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.02) or len(panoptic) > 30, "all frames")
    assert statistics.summary().dropped[Drop.RATE] == rate_drops


def test_a_max_rate_that_is_raised_counts_at_once(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_rate=0.01)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or panoptic, "the first result")
    assert ros.set(node, max_rate=20).successful
    begin = time.monotonic()
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.02) or len(panoptic) > 5, "more", 5.0)
    assert time.monotonic() - begin > 4 / 20  # and it is kept


def test_max_age_drops_old_frames_and_says_how_old(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_age=0.5)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    old, new = ros.image(picture()), ros.image(picture())
    old.header.stamp.sec -= 5
    statistics = node.cameras[0].statistics
    ros.until(lambda: camera.publish(old) or ros.spin(0.05) or statistics.summary().dropped.get(Drop.OLD), "the drop")
    assert not panoptic
    assert node.log.find("frames on /camera/image_raw are 5.", "max_age is 0.5 s")
    new.header.stamp = ros.peer.get_clock().now().to_msg()
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or panoptic, "a result")


def test_time_that_jumps_back_is_said_once_and_frames_go_on(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_rate=200.0)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)

    def play(seconds: range) -> list[int]:
        del panoptic[:]
        for second in seconds:
            message = ros.image(picture())
            message.header.stamp = Time(sec=second)
            expected = len(panoptic) + 1
            ros.until(lambda: camera.publish(message) or ros.spin(0.05) or len(panoptic) >= expected, "a result")  # noqa: B023
        return sorted({message.header.stamp.sec for message in panoptic})

    assert play(range(100, 104)) == [100, 101, 102, 103]
    assert play(range(50, 54)) == [50, 51, 52, 53]
    assert len(node.log.find("time jumped back by 53.0 s on /camera/image_raw")) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, ("images on /camera/image_raw have no stamp",)), (60, ("stamped 60.", "s in the future", "use_sim_time"))],
)
def test_a_stamp_of_zero_or_of_the_future_is_said_and_the_frame_published(
    ros: Ros, source: FakeSource, seconds: int, words: tuple[str, ...]
) -> None:
    node = ros.start(source, max_age=1.0)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)

    def exchange() -> bool:
        message = ros.image(picture())
        message.header.stamp = (
            Time(sec=message.header.stamp.sec + seconds, nanosec=message.header.stamp.nanosec) if seconds else Time()
        )
        camera.publish(message)
        ros.spin(0.05)
        return bool(panoptic)

    ros.until(exchange, "a result")
    assert node.log.find(*words)
    assert node.cameras[0].statistics.summary().output_age is None


def test_ages_are_told_by_simulated_time(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, use_sim_time=True)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    clock = ros.publisher(Clock, "/clock")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.connected(clock)

    def exchange() -> bool:
        clock.publish(Clock(clock=Time(sec=1000, nanosec=250_000_000)))
        ros.spin(0.02)
        message = ros.image(picture())
        message.header.stamp = Time(sec=1000)
        if node.get_clock().now().nanoseconds == 1_000_250_000_000:
            camera.publish(message)
        ros.spin(0.02)
        return bool(panoptic)

    ros.until(exchange, "a result")
    summary = node.cameras[0].statistics.summary()
    assert summary.output_age is not None
    assert summary.output_age.p50 == pytest.approx(0.25)
