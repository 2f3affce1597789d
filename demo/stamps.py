"""The stamp of a serialized message whose first field is a header (CDR, little-endian), without the message."""

from __future__ import annotations

import struct

from panoptic_ros.messages import NANOSECONDS

_PLACE = slice(4, 12)  # behind the four bytes that say how the message is encoded
_TIME = struct.Struct("<iI")


def header_stamp(data: bytes | memoryview) -> int:
    """The stamp, nanoseconds since the epoch."""
    seconds, nanoseconds = _TIME.unpack(data[_PLACE])
    return int(seconds) * NANOSECONDS + int(nanoseconds)


def with_header_stamp(data: bytes, stamp: int) -> bytes:
    """The same message with another stamp, nanoseconds since the epoch."""
    return data[: _PLACE.start] + _TIME.pack(*divmod(stamp, NANOSECONDS)) + data[_PLACE.stop :]
