"""A bag that is recorded in parts, so that a run that was interrupted goes on where it stopped.

``OUT.mcap.parts/`` holds ``00000.mcap``, ``00001.mcap`` … of some frames each and ``state.json``, which says how many
of them count and of which input and options they are.  Each is replaced whole, the state last, so a killed process
loses only the part it was writing.  At the end the parts are joined and become OUT.mcap in one step.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from panoptic_ros.bags import BagWriter, copy_messages
from panoptic_ros.files import lock_file
from panoptic_ros.messages import BagMessageTypes

FORMAT = 1  # of state.json
PART_FRAMES = 50


class RecordingError(ValueError):
    """A recording cannot begin or go on; the message names the file and what can be done."""


class Message(NamedTuple):
    """A message to record: its topic, its type as in ``sensor_msgs/msg/Image``, when it is logged (ns), and itself.

    The content may be the message or, as `bytes`, what it is serialised to.
    """

    topic: str
    kind: str
    log_time: int
    content: Any


class Recording:
    """Records the messages of one frame after another.

    Parameters
    ----------
    path:
        The file to make, ``*.mcap``.
    types:
        The types of its messages.
    identity:
        What the result depends on; a run goes on only where that is the same.
    latched:
        See `BagWriter`.
    restart:
        Discard what there is and begin anew.
    part_frames:
        Frames in a part.

    Attributes
    ----------
    frames, bad:
        How many frames are recorded, and how many of them could not be read; those of earlier runs counted.

    Raises
    ------
    RecordingError
        If `path` is there already or cannot be made, or an unfinished recording is of another identity or is being
        written by another process now.
    """

    def __init__(
        self,
        path: Path,
        types: BagMessageTypes,
        identity: Mapping[str, str],
        latched: Sequence[str] = (),
        restart: bool = False,
        part_frames: int = PART_FRAMES,
    ) -> None:
        if path.suffix != ".mcap":
            raise RecordingError(f"{path}: expected a name that ends in .mcap")
        if path.is_dir() or not path.parent.is_dir():
            raise RecordingError(f"{path}: is a folder, or lies in no folder")
        if path.exists() and not restart:
            raise RecordingError(f"{path}: exists already; remove it, or give --restart to replace it")
        self.path = path
        self.frames = self.bad = 0
        self._folder = path.with_name(f"{path.name}.parts")
        self._types = types
        self._identity = dict(identity)
        self._latched = latched
        self._restart = restart
        self._part_frames = part_frames
        self._parts = 0
        self._writer: BagWriter | None = None
        self._lock: IO[bytes] | None = None
        self._pending = 0  # frames in the part that is being written

    def __enter__(self) -> Recording:
        self._folder.mkdir(exist_ok=True)
        try:
            self._lock = lock_file(self._folder / "lock")
        except BlockingIOError as error:
            raise RecordingError(f"{self._folder}: another process is recording there") from error
        try:
            self._resume()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.discard()  # it may end amid a frame
        if not self._parts:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def parts(self) -> tuple[Path, ...]:
        """The bags of what is safe up to now, one after another."""
        return tuple(self._part(index) for index in range(self._parts))

    def append(self, messages: Iterable[Message]) -> None:
        """Record messages that are of no frame, once all frames are there; they are lost unless `finish` follows."""
        if self._pending:
            self.commit()
        self._write(messages)

    def add(self, messages: Iterable[Message], bad: bool = False) -> None:
        """Record the messages of the next frame; `bad` counts one that could not be read."""
        self._write(messages)
        self.frames += 1
        self.bad += bad
        self._pending += 1
        if self._pending >= self._part_frames:
            self.commit()

    def _write(self, messages: Iterable[Message]) -> None:
        if self._writer is None:
            self._writer = BagWriter(self._part(self._parts), self._types, self._latched)
        for topic, kind, log_time, content in messages:
            if isinstance(content, bytes):
                self._writer.write_raw(topic, kind, log_time, content)
            else:
                self._writer.write(topic, kind, log_time, content)

    def commit(self) -> None:
        """Make safe what was recorded up to now."""
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._parts += 1
        self._pending = 0
        state = {
            "format": FORMAT,
            "identity": self._identity,
            "parts": self._parts,
            "frames": self.frames,
            "bad": self.bad,
        }
        new = self._folder / "state.json.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / "state.json")

    def finish(self) -> None:
        """Join the parts and put the whole file in its place."""
        self.commit()
        joined = self._folder / self.path.name
        with BagWriter(joined, self._types, self._latched) as writer:
            for index in range(self._parts):
                copy_messages(self._part(index), writer)
        joined.replace(self.path)
        self._parts = 0

    def _resume(self) -> None:
        """Take over what an earlier run has left."""
        state_file = self._folder / "state.json"
        if self._restart:
            state_file.unlink(missing_ok=True)
        if not state_file.exists():
            return
        try:
            state = json.loads(state_file.read_text(encoding="utf-8"))
            version, identity = state["format"], state["identity"]
            parts, frames, bad = int(state["parts"]), int(state["frames"]), int(state["bad"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"{state_file}: cannot be read ({error!r}); give --restart to begin anew") from error
        if version != FORMAT:
            raise RecordingError(f"{state_file}: is of another version of this program; give --restart to begin anew")
        different = [key for key in {**identity, **self._identity} if identity.get(key) != self._identity.get(key)]
        if different:
            changes = "; ".join(f"{key} was {identity.get(key)}, is {self._identity.get(key)}" for key in different)
            raise RecordingError(
                f"{self._folder}: holds an unfinished run of another kind ({changes}); "
                "give the same again to go on with it, or --restart to begin anew"
            )
        missing = [self._part(index) for index in range(parts) if not self._part(index).is_file()]
        if missing:
            raise RecordingError(f"{missing[0]}: is missing; give --restart to begin anew")
        self._parts, self.frames, self.bad = parts, frames, bad

    def _part(self, index: int) -> Path:
        return self._folder / f"{index:05d}.mcap"


def fingerprint(files: Iterable[Path]) -> str:
    """Changes when one of the files is another, by name, size and time of change."""
    digest = hashlib.sha256()
    for file in files:
        with suppress(FileNotFoundError):
            status = file.stat()
            digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]
