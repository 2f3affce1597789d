"""Where the files that are installed beside the code (configuration, label sets, cfgs, profiles) are found."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = "panoptic_ros"

WEIGHTS_SUFFIX = ".safetensors"
"""Of the weights of a whole system, which may hold their model's configuration."""

EXPORTED_SUFFIXES = (".onnx", ".xml")
"""Of networks that `panoptic-ros export` has written: ONNX, and OpenVINO's with its ``.bin`` beside it."""


DEFAULT_MODEL = "yolo_panoptic_small_synthetic"
"""The network of node, commands and demo where none is named: the trained one that comes with the package."""

SMALL_MODEL, FULL_MODEL = "yolo_panoptic_small", "yolo_panoptic"
"""The networks of benchmarks where none is named: for machines without a GPU, and as its paper has it."""


@cache
def share_directory() -> Path:
    """The folder that holds ``config/`` and ``launch/``.

    In a checkout (an editable or symlinked install) it is the checkout; in an installation by pip or colcon it is
    ``<prefix>/share/panoptic_ros``, with the prefix found from where this file lies.

    Raises
    ------
    FileNotFoundError
        If the package's data files were not installed with it.
    """
    here = Path(__file__).resolve()
    for folder in here.parents[1:]:
        for candidate in (folder, folder / "share" / PACKAGE):
            if (candidate / "package.xml").is_file() and (candidate / "config" / "labels").is_dir():
                return candidate
    raise FileNotFoundError(f"the data files of {PACKAGE} (share/{PACKAGE}/config) were not found above {here}")


def find_config(kind: str, name: str, suffix: str = ".yaml") -> Path:
    """The file that a name or a path stands for.

    A name without a folder or suffix is one of ours, ``config/<kind>/<name><suffix>``; anything else is a path.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists the names there are.
    """
    folder = share_directory() / "config" / kind
    path = folder / f"{name}{suffix}" if "/" not in name and not name.endswith(suffix) else Path(name).expanduser()
    if not path.is_file():
        files = [*folder.glob(f"*{suffix}"), *(shipped_weights() if kind == "models" else ())]
        names = ", ".join(sorted({file.stem for file in files}))
        raise FileNotFoundError(f"{path}: no such file; {kind} that come with {PACKAGE}: {names}")
    return path


def shipped_weights() -> tuple[Path, ...]:
    """The trained networks that come with the package."""
    return tuple(sorted((share_directory() / "weights").glob(f"*{WEIGHTS_SUFFIX}")))


def weights_of(model: str, weights: str) -> str:
    """The weights to load for a model, empty for none.

    They are those that are named, or those that hold the model's configuration: the model is then their path or, if no
    file of ``config/models`` has that name, the name of weights that come with the package.
    """
    if weights or model.endswith((WEIGHTS_SUFFIX, *EXPORTED_SUFFIXES)):
        return weights or model
    if (share_directory() / "config" / "models" / f"{model}.yaml").is_file():
        return ""
    return next((str(path) for path in shipped_weights() if path.stem == model), "")
