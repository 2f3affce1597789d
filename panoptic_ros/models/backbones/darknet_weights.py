"""Darknet ``.weights`` files.

int32 major, minor and revision, then how many images the network has seen: 8 bytes if ``major · 10 + minor >= 2``, else
4.  After it little-endian float32: for each convolution, in the cfg's order, the shift, scale, running mean and running
variance of its batch norm, or its bias, and then its weights (out, in, k, k).  (``save_weights_upto`` in Darknet.)
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from panoptic_ros.files import written_whole
from panoptic_ros.models.backbones.darknet import Convolution, Darknet
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig

FLOAT = np.dtype("<f4")
_VERSION = struct.Struct("<3i")
_MAX_VERSION = 1000  # Darknet took greater ones for a sign of transposed matrices


class DarknetWeightsError(ValueError):
    """A file that does not hold the weights of the network; the message names the file and what was expected."""


def check_darknet_weights(config: DarknetConfig, path: Path, cutoff: int | None = None) -> None:
    """Check a file's header and size against a cfg without reading its weights.

    Parameters
    ----------
    config:
        The network.
    path:
        The file.
    cutoff:
        How many of the network's layers the file holds, from the first on; None for all.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DarknetWeightsError
        If it is not a weights file, or is short, long or of another network.
    ValueError
        If `cutoff` is not a number of layers.
    """
    with _open(path) as file:
        _read_header(file, path, config, cutoff)


def load_darknet_weights(model: Darknet, path: Path, cutoff: int | None = None) -> None:
    """Load a file into a network, whole or not at all.

    ``cutoff=75`` loads ``darknet53.conv.74``, the backbone of YOLOv3; the other layers keep what they have.

    Raises
    ------
    FileNotFoundError, DarknetWeightsError, ValueError
        See `check_darknet_weights`; also if a weight is not finite or a variance is negative.
    """
    with _open(path) as file:
        expected = _read_header(file, path, model.config, cutoff)
        # Read, not mapped: a mapped file that is replaced while it is read ends the process.
        values = np.fromfile(file, FLOAT, expected)
    if values.size != expected:
        raise DarknetWeightsError(f"{path}: changed while it was read; expected {expected} floats, got {values.size}")
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DarknetWeightsError(f"{path}: float {first} of {expected} is {values[first]}; expected finite weights")
    targets = list(_tensors(model, cutoff))
    pieces = np.split(values, list(accumulate(tensor.numel() for _, tensor in targets))[:-1])
    for (name, _), piece in zip(targets, pieces, strict=True):
        if name.endswith("running_var") and piece.min() < 0:
            raise DarknetWeightsError(f"{path}: {name} would be negative ({piece.min()}): weights of another network")
    with torch.no_grad():
        for (_, tensor), piece in zip(targets, pieces, strict=True):
            tensor.copy_(torch.from_numpy(piece.astype(np.float32, copy=False)).view(tensor.shape))


def save_darknet_weights(
    model: Darknet, path: Path, seen: int = 0, version: tuple[int, int, int] = (0, 2, 5), cutoff: int | None = None
) -> None:
    """Write a network's weights; the file appears whole or not at all.

    Parameters
    ----------
    model, path:
        The network and the file.
    seen:
        How many images it was trained on.
    version:
        Of the format; before 0.2 `seen` is stored in 4 bytes.
    cutoff:
        How many layers to write, from the first on; None for all.

    Raises
    ------
    ValueError
        If `seen`, `version` or `cutoff` cannot be written.
    OSError
        If the file cannot be written.
    """
    _layer_count(model.config, cutoff)
    if min(version) < 0 or max(version[:2]) >= _MAX_VERSION:
        raise ValueError(f"version must be below {_MAX_VERSION}, got {version}")
    long = _has_long_header(version)
    if not 0 <= seen < 2 ** (64 if long else 31):
        raise ValueError(f"seen does not fit into the header of version {version}: {seen}")
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(_VERSION.pack(*version) + struct.pack("<Q" if long else "<i", seen))
        for _, tensor in _tensors(model, cutoff):
            values: NDArray[np.float32] = tensor.detach().float().cpu().contiguous().numpy()
            file.write(values.astype(FLOAT, copy=False).tobytes())


def _tensors(model: Darknet, cutoff: int | None) -> Iterator[tuple[str, Tensor]]:
    """The names and tensors of the network in the order of the file."""
    for index, layer in enumerate(model.layers[: _layer_count(model.config, cutoff)]):
        if not isinstance(layer, Convolution):
            continue
        convolution, normalization = layer.convolution, layer.normalization
        if isinstance(normalization, nn.BatchNorm2d):
            for name in ("bias", "weight", "running_mean", "running_var"):
                yield f"layer {index} {name}", getattr(normalization, name)
        elif convolution.bias is not None:
            yield f"layer {index} bias", convolution.bias
        yield f"layer {index} weights", convolution.weight


def _layer_count(config: DarknetConfig, cutoff: int | None) -> int:
    if cutoff is None:
        return len(config.layers)
    if not 1 <= cutoff <= len(config.layers):
        raise ValueError(f"cutoff must be 1 to {len(config.layers)}, the layers of {config.source}, got {cutoff}")
    return cutoff


def _has_long_header(version: tuple[int, int, int]) -> bool:
    return version[0] * 10 + version[1] >= 2


def _open(path: Path) -> BinaryIO:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    return path.open("rb")


def _read_header(file: BinaryIO, path: Path, config: DarknetConfig, cutoff: int | None) -> int:
    """Read past the header and return how many floats follow, having checked that they are what the network needs."""
    expected = sum(config.parameter_counts[: _layer_count(config, cutoff)])
    size = os.fstat(file.fileno()).st_size
    start = file.read(_VERSION.size)
    if len(start) < _VERSION.size:
        raise DarknetWeightsError(f"{path}: {size} bytes are no weights file; {_want(config, expected, 20)}")
    major, minor, revision = _VERSION.unpack(start)
    if not (0 <= major < _MAX_VERSION and 0 <= minor < _MAX_VERSION and revision >= 0):
        raise DarknetWeightsError(
            f"{path}: not a Darknet weights file: its header says version {major}.{minor}.{revision}; "
            "expected one such as 0.2.5"
        )
    header = 20 if _has_long_header((major, minor, revision)) else 16
    file.seek(header)
    if size != header + expected * FLOAT.itemsize:
        reason = _reason(config, size - header, expected)
        raise DarknetWeightsError(f"{path}: {size} bytes, {reason}; {_want(config, expected, header)}")
    return expected


def _want(config: DarknetConfig, expected: int, header: int) -> str:
    total = header + expected * FLOAT.itemsize
    return f"expected {total} bytes ({header} of header and {expected} floats) for {config.source}"


def _reason(config: DarknetConfig, found: int, expected: int) -> str:
    """What a file of `found` bytes after its header may be instead."""
    difference = found - expected * FLOAT.itemsize
    short_or_long = f"{abs(difference)} bytes too {'short' if difference < 0 else 'long'}"
    floats, rest = divmod(found, FLOAT.itemsize)
    if rest:
        return f"{short_or_long} and no whole number of floats: truncated or not a weights file"
    if floats == config.num_parameters:
        return f"{short_or_long}: exactly all {len(config.layers)} layers of the network (no cutoff)"
    layers = bisect_right(list(accumulate(config.parameter_counts)), floats)
    if floats and sum(config.parameter_counts[:layers]) == floats:
        return f"{short_or_long}: exactly the first {layers} layers of the network (cutoff={layers})"
    classes = _other_classes(config, floats)
    if classes:
        return f"{short_or_long}: the same network with {classes} classes has this size"
    return (
        f"{short_or_long}: truncated or of another network"
        if difference < 0
        else f"{short_or_long}: of another network"
    )


def _other_classes(config: DarknetConfig, floats: int) -> int:
    """With how many classes the network would have so many parameters; 0 if with none."""
    try:
        one, two = (config.with_classes(count).num_parameters for count in (1, 2))
    except ValueError:  # no heads, or heads whose classes cannot be changed
        return 0
    classes, rest = divmod(floats - one, two - one)
    return classes + 1 if classes >= 0 and not rest else 0
