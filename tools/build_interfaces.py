#!/usr/bin/env python3
"""Compile Python type support for the message packages in ``interfaces/`` into the running environment.

An environment of ROS wheels (``pip install -e '.[ros]'``) has rclpy and the common messages, but not every package
that we publish. The wheels bring ROS's own generators, so the missing type support is generated from the definitions
and compiled with gcc: the C structures, their serialisation for Fast DDS, and the Python classes.

    python tools/build_interfaces.py [INTERFACES]

A package that comes from elsewhere (a ROS installation, a wheel) is left as it is. A package of ours is built again
only when its definitions or the tools have changed; it is built and imported in a temporary folder first, so that an
error leaves the installed one untouched.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from unittest import mock

PREFIX = Path(sys.prefix)  # the wheels unpack a whole ament prefix into the environment
STAMP = "panoptic_ros.stamp"  # beside package.xml in share/<package>: the package is ours, and of which build
UNFINISHED = "unfinished"

# What is generated, as `rosidl generate` names it, and the library it becomes; each library may use the ones before it.
LIBRARIES = (
    ("type", "c", "rosidl_generator_c"),
    ("typesupport", "fastrtps_c", "rosidl_typesupport_fastrtps_c"),
    ("typesupport", "introspection_c", "rosidl_typesupport_introspection_c"),
    ("typesupport", "c", "rosidl_typesupport_c"),
    ("type", "py", "rosidl_generator_py"),
)
PYTHON_LIBRARY = "rosidl_generator_py"
# The modules rclpy loads by name. Introspection is only needed as a library, which Fast DDS opens itself.
EXTENSIONS = ("rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c")
RUNTIME_LIBRARIES = (
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_fastrtps_cpp",
    "rosidl_typesupport_introspection_c",
    "rosidl_typesupport_c",
    "rosidl_runtime_c",
    "rosidl_dynamic_typesupport",
    "fastcdr",
    "rmw",
    "rcutils",
)


class BuildError(RuntimeError):
    """Type support could not be built; the message says what is missing or wrong."""


@dataclass(frozen=True)
class InterfacePackage:
    """A folder with ``package.xml`` and ``msg/*.msg``.

    Raises
    ------
    BuildError
        If the folder is not that, or if ``package.xml`` names another package than the folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        try:
            name = ET.parse(self.folder / "package.xml").findtext("name")
        except (OSError, ET.ParseError) as error:
            raise BuildError(f"{self.folder / 'package.xml'}: {error}") from error
        if name != self.folder.name:
            raise BuildError(f"{self.folder / 'package.xml'}: name is {name!r}, expected the folder's, {self.name!r}")
        if not self.definitions:
            raise BuildError(f"{self.folder / 'msg'}: no message definitions (*.msg)")

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def definitions(self) -> list[Path]:
        return sorted((self.folder / "msg").glob("*.msg"))

    def dependencies(self) -> list[str]:
        """The message packages that the definitions use, and those that these use in turn, sorted.

        Raises
        ------
        BuildError
            If one of them is not installed in this environment.
        """
        index = PREFIX / "share" / "ament_index" / "resource_index"
        wanted = [str(entry.text) for entry in ET.parse(self.folder / "package.xml").iterfind("depend")]
        for name in wanted:
            if not (index / "rosidl_interfaces" / name).is_file():
                raise BuildError(f"{self.name} uses the messages of {name}, which are not installed in {PREFIX}")
        found: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name not in found and (index / "rosidl_interfaces" / name).is_file():
                found.add(name)
                wanted += (index / "package_run_dependencies" / name).read_text().split(";")
        return sorted(found)

    def fingerprint(self) -> str:
        """Changes whenever a build would come out differently."""
        parts = [sys.implementation.cache_tag, sysconfig.get_platform(), importlib.metadata.version("numpy")]
        parts += sorted(
            f"{distribution.name}=={distribution.version}"
            for distribution in importlib.metadata.distributions()
            if distribution.name.startswith("ros-")
        )
        digest = hashlib.sha256("\n".join(parts).encode())
        for path in (Path(__file__), self.folder / "package.xml", *self.definitions):
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
        return digest.hexdigest()


def main(arguments: Sequence[str]) -> int:
    """Build what is missing or out of date; the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1] / "interfaces"
    try:
        for manifest in sorted(root.glob("*/package.xml")):
            print(build(InterfacePackage(manifest.parent.resolve())))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(package: InterfacePackage) -> str:
    """Make one package importable, if it is not so already; returns what was done, in a line.

    Raises
    ------
    BuildError
        If it cannot be built; what was installed before is then still there.
    """
    stamp = PREFIX / "share" / package.name / STAMP
    found = importlib.util.find_spec(package.name)
    origin = found.origin if found else None  # None, too, for a mere folder of that name
    if origin and not stamp.is_file():
        return f"{package.name}: uses the one installed in {Path(origin).parent}"
    fingerprint = package.fingerprint()
    if origin and stamp.read_text() == fingerprint:
        return f"{package.name}: type support is up to date"
    began = time.monotonic()
    check_tools()
    # Inside the prefix, so that moving the result to its place is a rename.
    with tempfile.TemporaryDirectory(prefix=".build_interfaces_", dir=PREFIX) as temporary:
        work, stage = Path(temporary, "work"), Path(temporary, "stage")
        generate(package, work)
        compile_package(package, work, stage)
        add_resources(package, stage)
        check_import(package, stage)
        install(stage, stamp, fingerprint)
    return f"{package.name}: type support built in {time.monotonic() - began:.0f} s"


def check_tools() -> None:
    """Raise BuildError unless the generators and the compilers are there."""
    if importlib.util.find_spec("rosidl_cli") is None or importlib.util.find_spec("rosidl_generator_py") is None:
        raise BuildError(f"ROS's message generators are not in {PREFIX}: pip install -c constraints.txt -e '.[ros]'")
    missing = [tool for tool in ("gcc", "g++") if shutil.which(tool) is None]
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python.h")
    if missing:
        raise BuildError(
            f"{', '.join(missing)} not found, needed to compile ROS messages; "
            "on Debian and Ubuntu: sudo apt install gcc g++ python3-dev"
        )


def generate(package: InterfacePackage, work: Path) -> None:
    """Write the sources of each library to ``work/<library>/<package>``."""
    os.environ["AMENT_PREFIX_PATH"] = str(PREFIX)  # where the generators look for their templates
    from rosidl_cli import entry_points
    from rosidl_cli.command.generate.api import generate as rosidl_generate

    lookup = entry_points.get_entry_points

    def first_of_each(group: str, *, specs: object = None, strict: bool = False) -> object:
        """The wheels register every generator twice; rosidl's strict lookup stops there, this takes the first."""
        return lookup(group, specs=specs)

    entry_points.logger.setLevel(logging.ERROR)
    interfaces = [f"{package.folder}:msg/{path.name}" for path in package.definitions]
    with quiet(), mock.patch.object(entry_points, "get_entry_points", first_of_each):
        for kind, generator, library in LIBRARIES:
            try:
                rosidl_generate(
                    package_name=package.name,
                    interface_files=interfaces,
                    include_paths=[PREFIX / "share"],
                    output_path=work / library / package.name,
                    types=[generator] if kind == "type" else None,
                    typesupports=[generator] if kind == "typesupport" else None,
                )
            except Exception as error:  # each parser and template has its own errors; all mean a bad definition
                raise BuildError(f"{package.folder / 'msg'}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what the generators print.

    empy puts a proxy in the place of stdout, once a process, and insists on finding it again for the next package.
    """
    with contextlib.redirect_stdout(_swallowed[-1]):
        try:
            yield
        finally:
            _swallowed.append(sys.stdout)


_swallowed: list[TextIO] = [io.StringIO()]


def compile_package(package: InterfacePackage, work: Path, stage: Path) -> None:
    """Compile and link ``work`` into the prefix layout ``stage``: libraries, the Python package, its two modules."""
    import numpy as np

    site = stage / Path(sysconfig.get_path("platlib")).relative_to(PREFIX) / package.name
    libraries = stage / "lib"
    libraries.mkdir(parents=True)
    includes = [work / library for _, _, library in LIBRARIES]
    includes += [PREFIX / "include", *(path for path in (PREFIX / "include").iterdir() if path.is_dir())]
    includes += [Path(sysconfig.get_path("include")), Path(np.get_include())]
    flags = ["-O2", "-fPIC", "-DNDEBUG", *(f"-I{path}" for path in includes)]

    python_source = work / PYTHON_LIBRARY / package.name
    modules = {name: python_source / f"_{package.name}_s.ep.{name}.c" for name in EXTENSIONS}
    sources = {library: sorted((work / library).rglob("*.c*")) for _, _, library in LIBRARIES}
    sources[PYTHON_LIBRARY] = sorted((python_source / "msg").glob("*_s.c"))
    everything = [source for group in sources.values() for source in group] + list(modules.values())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda source: compile_source(source, flags), everything))

    search = [f"-L{libraries}", f"-L{PREFIX / 'lib'}", f"-Wl,-rpath-link,{PREFIX / 'lib'}", "-Wl,--as-needed"]
    available = [f"-l{name}__{library}" for name in package.dependencies() for _, _, library in LIBRARIES]
    available += [f"-l{name}" for name in RUNTIME_LIBRARIES]
    for _, _, library in LIBRARIES:
        complete = (
            [] if library == PYTHON_LIBRARY else ["-Wl,-z,defs"]
        )  # Python's own symbols come with the interpreter
        output = libraries / f"lib{package.name}__{library}.so"
        objects = [source.with_suffix(".o") for source in sources[library]]
        run_tool(["g++", "-shared", "-o", output, *objects, *search, *complete, *available])
        available.insert(0, f"-l{package.name}__{library}")
    (site / "msg").mkdir(parents=True)
    for name, source in modules.items():
        output = site / f"{package.name}_s__{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
        run_tool(["g++", "-shared", "-o", output, source.with_suffix(".o"), *search, *available])
    (site / "__init__.py").touch()
    for source in (python_source / "msg").glob("*.py"):
        shutil.copy(source, site / "msg")


def compile_source(source: Path, flags: Sequence[str]) -> None:
    """Compile one generated file to an object beside it."""
    compiler = ["g++", "-std=c++17"] if source.suffix == ".cpp" else ["gcc", "-std=c11"]
    run_tool([*compiler, *flags, "-c", source, "-o", source.with_suffix(".o")])


def run_tool(command: Sequence[str | Path], **environment: str) -> None:
    """Run a program; BuildError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed for {command[-1]}:\n{done.stderr.strip()}")


def add_resources(package: InterfacePackage, stage: Path) -> None:
    """Add what makes it a ROS package: the manifest, the definitions, and the ament index's marker."""
    share = stage / "share" / package.name
    (share / "msg").mkdir(parents=True)
    shutil.copy(package.folder / "package.xml", share)
    for definition in package.definitions:
        shutil.copy(definition, share / "msg")
    marker = stage / "share" / "ament_index" / "resource_index" / "packages" / package.name
    marker.parent.mkdir(parents=True)
    marker.touch()


def check_import(package: InterfacePackage, stage: Path) -> None:
    """Load every message's type support from ``stage`` in a fresh interpreter, so that no broken one is installed."""
    site = next(stage.rglob(f"{package.name}/msg/__init__.py")).parents[2]
    messages = [definition.stem for definition in package.definitions]
    script = f"import {package.name}.msg as m; [getattr(m, n).__class__.__import_type_support__() for n in {messages}]"
    # The wheels restart an interpreter to set the library path unless told that this was done.
    libraries = os.pathsep.join([str(stage / "lib"), str(PREFIX / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    run_tool(
        [sys.executable, "-c", script],
        PYTHONPATH=str(site),
        LD_LIBRARY_PATH=libraries,
        _ROS_WHEELS_BOOTSTRAP_COMPLETE="1",
    )


def install(stage: Path, stamp: Path, fingerprint: str) -> None:
    """Move each file of ``stage`` to its place in the prefix; the stamp is written last."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(UNFINISHED)  # an interrupted installation is ours to repair
    for source in sorted(path for path in stage.rglob("*") if path.is_file()):
        target = PREFIX / source.relative_to(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    stamp.write_text(fingerprint)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
