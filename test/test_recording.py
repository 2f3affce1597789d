"""A recording in parts: what is safe when, and what goes on with what."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import Reader

from panoptic_ros import messages
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.recording import Message, Recording, RecordingError, fingerprint

TYPES = BagMessageTypes()
IDENTITY = {"IN": "video", "--model": "small"}


def _frame(index: int) -> list[Message]:
    """Two messages of one frame."""
    header = messages.make_header(TYPES, index, f"frame{index}")
    return [Message(f"/n/{name}", "std_msgs/msg/Header", index, header) for name in ("a", "b")]


def _record(path: Path, frames: range, stop: str = "finish", **options: Any) -> Recording:
    """Record `frames` in parts of three, then `finish`, `commit` or `crash`."""
    with Recording(path, TYPES, {**IDENTITY, **options.pop("identity", {})}, part_frames=3, **options) as recording:
        for index in frames:
            recording.add(_frame(index))
        if stop == "crash":
            raise ZeroDivisionError
        getattr(recording, stop)()
    return recording


def _content(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


def test_parts_become_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    recording = _record(out, range(8))
    assert (recording.frames, recording.bad) == (8, 0)
    assert [file.name for file in tmp_path.iterdir()] == ["out.mcap"]
    expected = [(topic, index) for index in range(8) for topic in ("/n/a", "/n/b")]
    assert [(topic, time) for topic, time, _ in _content(out)] == expected
    stamps = [TYPES.store.deserialize_cdr(data, "std_msgs/msg/Header").frame_id for _, _, data in _content(out)]
    assert stamps == [f"frame{time}" for _, time in expected]


@pytest.mark.parametrize(("stop", "kept"), [("crash", 6), ("commit", 8)])
def test_a_recording_goes_on(tmp_path: Path, stop: str, kept: int) -> None:
    out, whole = tmp_path / "out.mcap", tmp_path / "whole.mcap"
    _record(whole, range(11))
    try:
        _record(out, range(8), stop)
    except ZeroDivisionError:
        assert stop == "crash"
    assert not out.exists()
    with Recording(out, TYPES, IDENTITY, part_frames=3) as recording:
        assert recording.frames == kept
        for index in range(kept, 11):
            recording.add(_frame(index))
        recording.finish()
    assert _content(out) == _content(whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mcap", "whole.mcap"]


def test_bad_frames_are_counted_over_runs(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    with Recording(out, TYPES, IDENTITY, part_frames=2) as recording:
        for _ in range(4):
            recording.add((), bad=True)  # whole parts without any message
        recording.add(_frame(4))
        recording.commit()
    with Recording(out, TYPES, IDENTITY, part_frames=2) as recording:
        assert (recording.frames, recording.bad) == (5, 4)
        recording.add((), bad=True)
        recording.finish()
    assert (recording.frames, recording.bad) == (6, 5)
    assert [time for _, time, _ in _content(out)] == [4, 4]


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    with Recording(tmp_path / "out.mcap", TYPES, IDENTITY) as recording:
        recording.add(_frame(0))
    assert list(tmp_path.iterdir()) == []


def test_another_run_does_not_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    _record(out, range(4), "commit")
    with pytest.raises(RecordingError, match=r"another kind \(--model was small, is large\).* --restart"):
        _record(out, range(4, 5), identity={"--model": "large"})
    with pytest.raises(RecordingError, match=r"--rate was None, is 5"):
        _record(out, range(4, 5), identity={"--rate": "5"})
    assert _record(out, range(9, 10), identity={"--model": "large"}, restart=True).frames == 1
    assert [time for _, time, _ in _content(out)] == [9, 9]


def test_a_finished_file_is_only_replaced_when_told(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    _record(out, range(2))
    before = out.read_bytes()
    with pytest.raises(RecordingError, match=r"out\.mcap: exists already; .*--restart"):
        _record(out, range(3))
    with pytest.raises(ZeroDivisionError):
        _record(out, range(5), "crash", restart=True)
    assert out.read_bytes() == before  # until the new one is whole
    _record(out, range(1), restart=True)
    assert [time for _, time, _ in _content(out)] == [0, 0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.bag", "expected a name that ends in .mcap"),
        ("folder.mcap", "is a folder"),
        ("no/out.mcap", "in no folder"),
    ],
)
def test_where_nothing_can_be_written(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.mcap").mkdir()
    with pytest.raises(RecordingError, match=said):
        Recording(tmp_path / name, TYPES, IDENTITY)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "state.json").write_text("{"), r"state\.json: cannot be read .* --restart"),
        (lambda folder: (folder / "state.json").write_text("{}"), r"state\.json: cannot be read \(KeyError"),
        (
            lambda folder: (folder / "state.json").write_text(
                json.dumps({**json.loads((folder / "state.json").read_text()), "format": 99})
            ),
            "another version",
        ),
        (lambda folder: (folder / "00001.mcap").unlink(), r"00001\.mcap: is missing"),
    ],
)
def test_a_spoilt_recording_is_refused(tmp_path: Path, spoil, said: str) -> None:
    out = tmp_path / "out.mcap"
    _record(out, range(6), "commit")
    spoil(tmp_path / "out.mcap.parts")
    with pytest.raises(RecordingError, match=said):
        _record(out, range(6, 7))
    assert _record(out, range(6), restart=True).frames == 6


def _try_to_record(out: Path, said: Any) -> None:
    try:
        _record(out, range(1))
    except RecordingError as error:
        said.put(str(error))


def test_two_processes_cannot_record_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    with Recording(tmp_path / "out.mcap", TYPES, IDENTITY) as recording:
        recording.add(_frame(0))
        other = context.Process(target=_try_to_record, args=(tmp_path / "out.mcap", said))
        other.start()
        assert "another process is recording there" in said.get(timeout=60)
        other.join()
        recording.finish()
    assert len(_content(tmp_path / "out.mcap")) == 2


def test_a_fingerprint_tells_files_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    first = fingerprint([one])
    assert fingerprint([one]) == first
    one.write_bytes(b"12")
    assert len({first, fingerprint([one]), fingerprint([two]), fingerprint([one, two]), fingerprint([])}) == 5
