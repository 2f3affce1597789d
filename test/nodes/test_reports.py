from __future__ import annotations

from panoptic_ros.nodes.reports import Reports, kind_of


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def error(self, text: str) -> None:
        self.lines.append(("error", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))


class Steady:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_subject_is_said_once_a_period_with_the_number_that_was_held_back() -> None:
    log, clock = Log(), Steady()
    reports = Reports(log, period=5.0, clock=clock)
    for clock.now in (0.0, 1.0, 2.0, 4.9):
        reports.error("topic", "broken")
    assert log.lines == [("error", "broken")]
    clock.now = 5.1
    reports.error("topic", "broken")
    assert log.lines[1:] == [("error", "broken (and 3 more like this since)")]


def test_subjects_do_not_hide_each_other() -> None:
    log = Log()
    reports = Reports(log, clock=Steady())
    reports.error(("bad", "front"), "front is broken")
    reports.error(("bad", "left"), "left is broken")
    assert [text for _, text in log.lines] == ["front is broken", "left is broken"]


def test_messages_that_differ_in_numbers_are_of_one_kind_and_kinds_do_not_pile_up() -> None:
    assert kind_of("12 bytes, expected 34") == kind_of("5 bytes, expected 678") != kind_of("12 rows")
    log = Log()
    reports = Reports(log, clock=Steady())
    for number in range(5000):
        reports.error(number, "broken")
    assert len(reports._said) < 1000


def test_once_is_never_repeated_and_forgotten_trouble_is_said_again() -> None:
    log, clock = Log(), Steady()
    reports = Reports(log, period=5.0, clock=clock)
    reports.once("a", "no stamp")
    reports.warning("b", "silent")
    clock.now = 1e6
    reports.once("a", "no stamp")
    clock.now += 1.0
    reports.warning("b", "silent")
    reports.forget("b")
    reports.warning("b", "silent")
    assert [text for _, text in log.lines] == ["no stamp", "silent", "silent", "silent"]


def test_an_unforeseen_error_has_its_traceback_the_first_time_only() -> None:
    log, clock = Log(), Steady()
    reports = Reports(log, period=5.0, clock=clock)

    def fail() -> None:
        raise KeyError("surprise")

    for clock.now in (0.0, 6.0, 12.0):
        try:
            fail()
        except KeyError as error:
            reports.exception("x", "a frame failed", error)
    assert ["Traceback" in text for _, text in log.lines] == [True, False, False]
    assert "in fail" in log.lines[0][1]
