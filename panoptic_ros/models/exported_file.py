"""What an exported network's file says of itself, read without the engine that runs it.

An ONNX file is a protocol buffer whose outermost fields are the graph and the metadata; only their heads are read, so
that a file of any size is looked at in no time.  OpenVINO's ``.xml`` has the metadata among its ``rt_info``, and its
weights in the ``.bin`` beside it.
"""

from __future__ import annotations

import io
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import BinaryIO

from panoptic_ros.configuration import ConfigurationError

OPENVINO_SECTION = "panoptic_ros"
"""Under which section of ``rt_info`` OpenVINO's files keep the metadata."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf.dev/programming-guides/encoding, wire types
_GRAPH, _METADATA = 7, 14  # onnx.proto, message ModelProto
_KEY, _VALUE = 1, 2  # message StringStringEntryProto


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ``.onnx`` file or of OpenVINO's ``.xml``, by key.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no ``.bin`` beside an ``.xml``.
    ConfigurationError
        If it is not whole, or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such exported network")
    return _openvino_metadata(path) if path.suffix == ".xml" else _onnx_metadata(path)


def _onnx_metadata(path: Path) -> dict[str, str]:
    metadata: dict[str, str] = {}
    has_graph = False
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            while file.tell() < end:
                field, length = _next_field(file, end)
                if field == _METADATA:
                    key, value = _entry(file.read(length))
                    metadata[key] = value
                else:
                    has_graph |= field == _GRAPH
                    file.seek(length, os.SEEK_CUR)
    except (EOFError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not a whole ONNX file: {error}") from error
    if not has_graph:
        raise ConfigurationError(f"{path}: not a whole ONNX file: it has no graph")
    return metadata


def _next_field(file: BinaryIO, end: int) -> tuple[int, int]:
    """The number of the field that begins here, and the bytes of its content that follow."""
    tag = _varint(file)
    kind = tag & 7
    if kind == _VARINT:
        _varint(file)
        return tag >> 3, 0
    if kind not in (_BYTES, _FIXED32, _FIXED64):
        raise EOFError(f"byte {file.tell()} begins no field")
    length = _varint(file) if kind == _BYTES else 4 if kind == _FIXED32 else 8
    if file.tell() + length > end:
        raise EOFError(f"it ends at byte {end}, expected {file.tell() + length} at least")
    return tag >> 3, length


def _varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError("it ends within a field")
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
    raise EOFError(f"byte {file.tell()} ends no number")


def _entry(content: bytes) -> tuple[str, str]:
    texts = {_KEY: "", _VALUE: ""}
    file = io.BytesIO(content)
    while file.tell() < len(content):
        field, length = _next_field(file, len(content))
        texts[field] = file.read(length).decode()
    return texts[_KEY], texts[_VALUE]


def _openvino_metadata(path: Path) -> dict[str, str]:
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ConfigurationError(f"{path}: not a whole OpenVINO file: {error}") from error
    if root.tag != "net":
        raise ConfigurationError(f"{path}: not a file of OpenVINO's: expected <net>, got <{root.tag}>")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights}: no such file; it has the weights of {path.name}")
    constants = (data.attrib for data in root.iterfind("layers/layer/data") if "offset" in data.attrib)
    needed = max((int(data["offset"]) + int(data["size"]) for data in constants), default=0)
    if (size := weights.stat().st_size) < needed:
        raise ConfigurationError(f"{weights}: {size} bytes, expected {needed} at least: not whole, or of another .xml")
    section = root.find(f"rt_info/{OPENVINO_SECTION}")
    return {entry.tag: entry.get("value", "") for entry in section} if section is not None else {}
