"""The floors of the house: a room imports only rooms above it, and only the nodes know rclpy (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "panoptic_ros"
CODE = Path(__file__).resolve().parents[1] / PACKAGE

SOURCES = {".py", ".sh", ".yaml", ".xml", ".html", ".css", ".js"}

# From the ground floor up; a room may import itself and the rooms before it.
ROOMS = (
    "regions",
    "segmentation",
    "files",
    "workers",
    "resources",
    "configuration",
    "registry",
    "labels",
    "confusion",
    "letterbox",
    "fusion",
    "models",
    "engines",
    "pipeline",
    "drawing",
    "grid",
    "encodings",
    "messages",
    "frames",
    "bags",
    "recording",
    "recorded_grid",
    "datasets",
    "label_mapping",
    "evaluation",
    "benchmarking",
    "nodes",
    "commands",
)
ONLY_IN_NODES = {"rclpy", "tf2_ros", "launch", "launch_ros"}
BESIDE_THE_HOUSE = {"training", "panoptic_training", "test", "tools", "demo", "benchmarks"}


def imported(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """The line and full name of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")
            base = parents[: len(parents) - node.level + is_package] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def broken_rules(source: str, module: str, is_package: bool = False) -> list[str]:
    """What the source of ``module`` imports and must not, one sentence each."""
    room = module.split(".")[1] if "." in module else ""
    found = []
    for line, name in imported(source, module, is_package):
        top, _, rest = name.partition(".")
        wanted = rest.split(".")[0]
        if top in BESIDE_THE_HOUSE:
            found.append(f"{module}:{line}: imports {name}, which is not part of the package")
        elif top in ONLY_IN_NODES and room != "nodes":
            found.append(f"{module}:{line}: imports {name}, which only nodes/ may")
        elif top == PACKAGE and wanted in ROOMS and (room not in ROOMS or ROOMS.index(wanted) > ROOMS.index(room)):
            found.append(f"{module}:{line}: imports {name}, which lies below it")
    return found


def sources() -> Iterator[tuple[Path, str, bool]]:
    """Every file of the package with its module's name, and whether it is a package's ``__init__``."""
    for path in sorted(CODE.rglob("*.py")):
        parts = path.relative_to(CODE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if is_package else parts), is_package


def test_no_import_runs_upward() -> None:
    files = list(sources())
    assert len(files) > 10
    broken = [rule for path, module, package in files for rule in broken_rules(path.read_text(), module, package)]
    assert not broken, "\n".join(broken)


def test_training_stays_offline() -> None:
    """`panoptic_training` may import the house, but never what runs on a robot only."""
    files = sorted((CODE.parent / "training").rglob("*.py"))
    assert files
    found = [
        f"{path}:{line}: imports {name}"
        for path in files
        for line, name in imported(path.read_text(), "panoptic_training", is_package=False)
        if name.split(".")[0] in ONLY_IN_NODES | {"training", "test"} or name.startswith(f"{PACKAGE}.nodes")
    ]
    assert not found, "\n".join(found)


def test_every_room_has_its_floor() -> None:
    """A new module or folder gets its place in ROOMS, here and in docs/architecture.md."""
    there = {module.split(".")[1] for _, module, _ in sources() if "." in module}
    assert not there - set(ROOMS)


NAMES = re.compile("yolo_panoptic|jsis|panoptic_fpn", re.IGNORECASE)
"""The systems."""


def test_systems_are_named_in_their_rooms_only() -> None:
    """In models/, training/ and config/; which network is taken where none is named stands in resources.py alone."""
    from panoptic_ros.models import SYSTEMS  # here, because torch takes seconds to import

    root = CODE.parent
    assert all(NAMES.search(name) for name in SYSTEMS)
    folders = [folder for name in (PACKAGE, "demo", "benchmarks", "launch") if (folder := root / name).is_dir()]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in SOURCES]
    assert len(files) > 100
    named = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in files
        if path != CODE / "resources.py" and not path.is_relative_to(CODE / "models")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if NAMES.search(line)
    ]
    assert not named, "\n".join(named)
    choices = [line for line in (CODE / "resources.py").read_text().splitlines() if NAMES.search(line)]
    assert all(re.match(r"[A-Z_, ]+_MODEL = ", line) for line in choices)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("panoptic_ros.fusion", "from panoptic_ros.pipeline import Pipeline"),
        ("panoptic_ros.fusion", "from panoptic_ros import pipeline"),
        ("panoptic_ros.fusion", "def late():\n    import panoptic_ros.nodes.panoptic_node"),
        ("panoptic_ros.models.model", "from ..pipeline import Pipeline"),
        ("panoptic_ros.segmentation", "from .labels import LabelSet"),
        ("panoptic_ros.bags", "import rclpy"),
        ("panoptic_ros.messages", "from rclpy.node import Node"),
        ("panoptic_ros.messages", "import importlib\nimportlib.import_module('rclpy')"),
        ("panoptic_ros.nodes.panoptic_node", "from training.losses import loss"),
        ("panoptic_ros.commands.main", "import panoptic_training"),
        ("panoptic_ros", "from panoptic_ros.labels import LabelSet"),
    ],
)
def test_an_import_that_runs_upward_is_found(module: str, source: str) -> None:
    assert len(broken_rules(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("panoptic_ros.pipeline", "from panoptic_ros.fusion import fuse\nimport numpy"),
        ("panoptic_ros.models.yolo", "from .layers.conv import Conv\nfrom ..fusion import fuse"),
        ("panoptic_ros.nodes.panoptic_node", "import rclpy\nfrom panoptic_ros.messages import instances"),
        ("panoptic_ros.labels", "from panoptic_ros import __version__"),
    ],
)
def test_an_import_that_runs_downward_is_allowed(module: str, source: str) -> None:
    assert not broken_rules(source, module)


def test_a_package_resolves_its_relative_imports() -> None:
    """``from .x`` in ``models/__init__.py`` is ``panoptic_ros.models.x``, and ``from ..x`` is the house's x."""
    assert not broken_rules("from .pipeline import Pipeline", "panoptic_ros.models", is_package=True)
    assert len(broken_rules("from ..pipeline import Pipeline", "panoptic_ros.models", is_package=True)) == 1
