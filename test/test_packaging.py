"""The package installs in every way we promise, and declares what it uses."""

from __future__ import annotations

import ast
import configparser
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import panoptic_ros

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("panoptic_ros", "launch")
PARTS = (
    *SOURCES,
    "training",
    "config",
    "interfaces",
    "resource",
    "scripts",
    "weights",
    "package.xml",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "LICENSE",
)

# Import names whose rosdep key differs; None where rosdep has none that can be installed everywhere (see package.xml).
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "PIL": "python3-pil",
    "jinja2": "python3-jinja2",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "rosbags": None,
    "safetensors": None,
    "scipy": "python3-scipy",
    "torch": "python3-torch",
    "torchvision": "python3-torchvision",
    "typer": "python3-typer",
    "yaml": "python3-yaml",
    "nncf": None,  # the extra [int8]
    "onnx": None,  # the extra [export]
    "onnxruntime": None,  # the extra [onnxruntime]
    "onnxscript": None,  # the extra [export]
    "openvino": None,  # the extra [openvino]
    "tensorrt": None,  # of NVIDIA's own index, in a build for each CUDA
    "pycocotools": None,  # the extra [evaluation]
}
PIP_NAMES = {"PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml"}

INSTALLED = (
    "config/labels/cityscapes.yaml",
    "interfaces/vision_msgs/msg/LabelInfo.msg",
    "launch/panoptic.launch.py",
    "package.xml",
    "weights/yolo_panoptic_small_synthetic.safetensors",
)


def used_packages(*folders: str) -> set[str]:
    """Everything outside the standard library that the files in `folders` import, or name as a message."""
    used = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    used |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    used.add(str(node.module).split(".")[0])
            used |= set(re.findall(r"""["'](\w+)/msg/\w+["']""", text))
    return used - set(sys.stdlib_module_names) - {"panoptic_ros", "panoptic_training"}


def declared() -> set[str]:
    """What package.xml names as a run dependency."""
    return {str(entry.text) for entry in ET.parse(ROOT / "package.xml").iterfind("exec_depend")}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is installed, so that building leaves nothing in the tree."""
    copy = tmp_path / "src" / "panoptic_ros"
    copy.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy)
    return copy


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def found_share(site: Path, cwd: Path) -> Path:
    """Where the package that lies in ``site`` finds its data files, in a fresh interpreter and another folder."""
    script = (
        "import panoptic_ros.resources as r, panoptic_training as t\nprint(r.__file__, t.__file__, r.share_directory())"
    )
    # Without the site folder's start-up files, an editable installation of the tree cannot take the place of ``site``.
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{sysconfig.get_path('platlib')}"}
    done = run(sys.executable, "-S", "-c", script, cwd=cwd, environment=environment)
    *modules, share = done.split()
    assert all(Path(module).is_relative_to(site) for module in modules)
    return Path(share)


def setup_arguments() -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    script = (
        "import json, runpy, setuptools\n"
        "setuptools.setup = lambda **given: print(json.dumps(given))\n"
        "runpy.run_path('setup.py')"
    )
    arguments: dict[str, Any] = json.loads(run(sys.executable, "-c", script, cwd=ROOT))
    return arguments


def test_package_xml_is_valid() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="needs catkin_pkg: pip install -e '.[test]'")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert not warnings
    assert (package.name, package.package_format, package.licenses) == ("panoptic_ros", 3, ["Apache-2.0"])
    assert package.get_build_type() == "ament_python"


def test_versions_agree() -> None:
    version = setup_arguments()["version"]
    assert version == ET.parse(ROOT / "package.xml").findtext("version") == panoptic_ros.__version__
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_import_is_declared() -> None:
    used = used_packages(*SOURCES)
    assert {"numpy", "rclpy", "sensor_msgs", "launch_ros"} <= used
    keys = {ROSDEP_KEYS.get(name, name) for name in used} - {None}
    assert keys <= declared(), "in use but not in package.xml"


@pytest.mark.parametrize(
    ("folders", "extras"), [(SOURCES, ("export", "onnxruntime", "int8", "evaluation")), (("training",), ("training",))]
)
def test_every_import_that_pip_knows_is_required(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    given = setup_arguments()
    wanted = given["install_requires"] + [text for extra in extras for text in given["extras_require"][extra]]
    names = {canonicalize_name(Requirement(text).name) for text in wanted}
    from_ros = declared() - set(ROSDEP_KEYS.values())
    used = used_packages(*folders) - from_ros - {"rosgraph_msgs", "tensorrt", "tf2_msgs"}
    assert {canonicalize_name(PIP_NAMES.get(name, name)) for name in used} <= names


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_requirement_is_pinned_once(python: str) -> None:
    """A missing pin would let an installation drift; two that hold for one Python could not both be met."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [Requirement(line) for line in lines if line]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    valid = [pin for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    names = [canonicalize_name(pin.name) for pin in valid]
    assert len(names) == len(set(names))
    given = setup_arguments()
    wanted = [*given["install_requires"], *itertools.chain(*given["extras_require"].values())]
    assert {canonicalize_name(Requirement(text).name) for text in wanted} <= set(names)


def test_pip_installs_code_data_and_commands(checkout: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="needs setuptools: pip install -e '.[test]'")
    target = tmp_path / "target"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", target)
    run(sys.executable, "-m", "pip", "install", "--quiet", *options, checkout, cwd=tmp_path)
    share = found_share(target, tmp_path)
    assert share == target / "share" / "panoptic_ros"
    assert not [name for name in INSTALLED if not (share / name).is_file()]
    assert (target / "share" / "ament_index" / "resource_index" / "packages" / "panoptic_ros").is_file()
    entry_points = configparser.ConfigParser()
    entry_points.read(next(target.glob("panoptic_ros-*.dist-info/entry_points.txt")))
    for command, function in entry_points["console_scripts"].items():
        assert (target / "bin" / command).is_file()
        file = function.partition(":")[0].replace(".", "/").replace("panoptic_training/", "training/") + ".py"
        assert (ROOT / file).is_file()


@pytest.mark.parametrize("options", [(), ("--symlink-install",)], ids=["plain", "symlink"])
def test_colcon_builds_an_ament_python_package(checkout: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    pytest.importorskip("colcon_ros", reason="needs colcon: pip install -e '.[test]'")
    colcon = (
        sys.executable,
        "-c",
        "import sys; from colcon_core.command import main; sys.exit(main())",
        "--log-base",
        "log",
    )
    assert run(*colcon, "list", cwd=tmp_path).split() == ["panoptic_ros", "src/panoptic_ros", "(ros.ament_python)"]
    run(*colcon, "build", *options, cwd=tmp_path)
    prefix = tmp_path / "install" / "panoptic_ros"
    assert {path.name for path in (prefix / "lib" / "panoptic_ros").iterdir()} == {
        "panoptic-ros",
        "panoptic-train",
        "panoptic_node",
        "evaluation_node",
        "semantic_grid_node",
        "train",
    }
    assert os.access(prefix / "lib" / "panoptic_ros" / "train", os.X_OK)
    assert not [name for name in INSTALLED if not (prefix / "share" / "panoptic_ros" / name).is_file()]
    site = next(prefix.glob("lib/python*/site-packages"))
    site = tmp_path / "build" / "panoptic_ros" if options else site
    assert found_share(site, tmp_path) == (checkout if options else prefix / "share" / "panoptic_ros")
