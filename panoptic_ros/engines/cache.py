"""Files that engines make of a network, kept for the next start.

A file lies under what it was made of (system, size, precision, hash of weights and configuration), with a record beside
it of what made it (versions) and of its bytes.  A file that another version has made, or that is not what was written,
is made anew and takes the old one's place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from panoptic_ros.engines.engine import EngineError, Network
from panoptic_ros.files import written_whole
from panoptic_ros.models import describe

CACHE_VARIABLE = "PANOPTIC_ROS_CACHE"


def cache_folder() -> Path:
    """``$PANOPTIC_ROS_CACHE``, else ``panoptic_ros`` in the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptic_ros"


def network_key(network: Network) -> str:
    """A hash of weights, configuration and label set."""
    digest = hashlib.sha256(json.dumps(describe(network.config, network.model.labels), sort_keys=True).encode())
    for name, tensor in sorted(network.model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()[:20]


def cached_file(
    network: Network, kind: str, suffix: str, made_by: Mapping[str, str], make: Callable[[Path], None]
) -> tuple[Path, tuple[str, ...]]:
    """The file of a network, made now if it is not there.

    Parameters
    ----------
    kind:
        What else tells the file from others of the network: the precision, a device.
    suffix:
        The file's.
    made_by:
        Versions, or what else makes a file stale when it changes.
    make:
        Writes the file to a path; it appears whole or not at all.

    Returns
    -------
    The file, and sentences about what was done.

    Raises
    ------
    EngineError
        If the folder cannot be written to.
    """
    height, width = network.size
    name = f"{network.config.system}_{width}x{height}_{kind}_{network_key(network)}"
    folder = cache_folder()
    path, record = folder / f"{name}{suffix}", folder / f"{name}{suffix}.json"
    trouble = _trouble(path, record, made_by)
    if trouble is None:
        return path, ()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            make(file)
            content = {"made_by": dict(made_by), "bytes": file.stat().st_size, "sha256": _sha256(file)}
        with written_whole(record) as file:
            file.write_text(json.dumps(content))
    except OSError as error:
        raise EngineError(
            f"{folder}: cannot be written to ({error}); set {CACHE_VARIABLE} to a folder that can"
        ) from error
    return path, (f"{path}: {trouble or 'made'}",)


def _trouble(path: Path, record: Path, made_by: Mapping[str, str]) -> str | None:
    """Why a file has to be made anew; '' where there was none, None where it is well."""
    if not path.is_file():
        return ""
    try:
        known = json.loads(record.read_text())
        if known["made_by"] != dict(made_by):
            old = ", ".join(f"{name} {version}" for name, version in known["made_by"].items())
            return f"stale, made by {old}: made anew"
        if known["bytes"] != path.stat().st_size:
            return f"truncated, {path.stat().st_size} of {known['bytes']} bytes: made anew"
        return None if known["sha256"] == _sha256(path) else "not what was written: made anew"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"without a readable record ({error}): made anew"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
