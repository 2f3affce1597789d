"""YAML into dataclasses: right ones and every kind of wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from panoptic_ros.configuration import ConfigurationError, beside, from_mapping, parse_size, plain, read_yaml


@dataclass(frozen=True)
class Inner:
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float = 1.0
    on: bool = False
    kind: Literal["a", "b"] = "a"
    depth: int | None = None
    taps: tuple[int, ...] = ()
    pair: tuple[float, float] = (0.0, 0.0)
    named: tuple[tuple[str, float], ...] = ()
    inner: Inner = field(default_factory=Inner)
    steps: Mapping[str, int] = field(default_factory=dict)


def test_every_type() -> None:
    content = {
        "name": "x",
        "rate": 2,
        "on": True,
        "kind": "b",
        "depth": 3,
        "taps": [1, 2],
        "pair": [1, 2.5],
        "named": [["a", 1], ["b", 2.5]],
        "inner": {"size": 4},
        "steps": {"long": 5},
    }
    expected = Outer("x", 2.0, True, "b", 3, (1, 2), (1.0, 2.5), (("a", 1.0), ("b", 2.5)), Inner(4), {"long": 5})
    assert from_mapping(Outer, content, "f.yaml") == expected
    assert plain(content | {"taps": (1, 2), "inner": {"of": ((1,), 2)}}) == content | {"inner": {"of": [[1], 2]}}
    assert from_mapping(Outer, {"name": "x", "depth": None}, "f.yaml") == Outer("x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "'name' is missing; expected str"),
        ({"name": "x", "rat": 1}, "unknown key 'rat'; expected one of depth"),
        ({"name": 1}, "name: expected str, got 1"),
        ({"name": "x", "rate": "fast"}, "rate: expected float, got 'fast'"),
        ({"name": "x", "rate": True}, "rate: expected float, got True"),
        ({"name": "x", "on": 1}, "on: expected bool, got 1"),
        ({"name": "x", "kind": "c"}, "kind: expected one of 'a', 'b', got 'c'"),
        ({"name": "x", "steps": [1]}, r"steps: expected keys with values, got \[1\]"),
        ({"name": "x", "steps": {"long": "far"}}, "steps: long: expected int, got 'far'"),
        ({"name": "x", "depth": "deep"}, "depth: expected int, got 'deep'"),
        ({"name": "x", "depth": True}, "depth: expected int, got True"),
        ({"name": "x", "taps": 3}, "taps: expected a list of int, got 3"),
        ({"name": "x", "taps": [1, "a"]}, r"taps\[1\]: expected int, got 'a'"),
        ({"name": "x", "pair": [1]}, "pair: expected a list of 2 float"),
        ({"name": "x", "named": [["a"]]}, r"named\[0\]: expected a list of str, float, got \['a'\]"),
        ({"name": "x", "named": [[1, "a"]]}, r"named\[0\]\[0\]: expected str, got 1"),
        ({"name": "x", "inner": 3}, "inner: expected Inner, got 3"),
        ({"name": "x", "inner": {"sise": 3}}, "inner: unknown key 'sise'"),
        ({"name": "x", "inner": {"size": 0}}, "inner: size must be positive, got 0"),
    ],
)
def test_a_fault_is_named_with_file_and_key(content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"f.yaml: .*{said}|f.yaml: {said}"):
        from_mapping(Outer, content, "f.yaml")


@pytest.mark.parametrize("text", [b"a: [1", b"- 1", b"1: 2", b"\xff\xfe\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"wrong\.yaml"):
        read_yaml(path)


def test_files_beside_a_configuration_are_found(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").touch()
    assert beside(tmp_path, "net.cfg") == str(tmp_path / "net.cfg")
    for value in ("other.cfg", "", ".", "[net]\nwidth=1", 3, None):
        assert beside(tmp_path, value) == value


def test_sizes_are_typed_width_first() -> None:
    assert parse_size("640x384", "--size") == (384, 640)
    assert parse_size("", "--size") is None
    for text in ("640", "640x", "0x384", "-1x2", "640x384x3", "640 x 384"):
        with pytest.raises(ConfigurationError, match=f"^--size {text}: expected width and height as 640x384$"):
            parse_size(text, "--size")
