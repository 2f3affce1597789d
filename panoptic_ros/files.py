"""Files that appear whole or not at all, and files that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes `path`'s place when the block ends, and is removed if it fails.

    Raises
    ------
    OSError
        If the file cannot be written or moved.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def lock_file(path: Path) -> IO[bytes]:
    """A file that is this process's until it is closed; it is made if it is not there.

    Raises
    ------
    BlockingIOError
        If another process has it.
    OSError
        If it cannot be made.
    """
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
