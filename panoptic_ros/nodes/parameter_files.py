"""Parameter files among a process's arguments that have nothing for the node, which rclpy passes over in silence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml


def unread_files(arguments: Sequence[str], node: str) -> list[str]:
    """A sentence for each parameter file among a process's arguments that has nothing for a node.

    Parameters
    ----------
    arguments:
        The process's arguments; rclpy has read the files before, so that they are there and are YAML.
    node:
        The node's full name, ``/namespace/name``.
    """
    sentences = []
    for option, path in itertools.pairwise(arguments):
        if option != "--params-file":
            continue
        sections = list(_sections(yaml.safe_load(Path(path).read_text(encoding="utf-8")), ""))
        if not any(re.fullmatch(_pattern(section), node) for section in sections):
            names = ", ".join(sections) or "nothing"
            sentences.append(f"{path} has no parameters for {node}, only for {names}: it has no effect")
    return sentences


def _sections(content: Any, name: str) -> Iterator[str]:
    """The names of nodes that a parameter file has ``ros__parameters`` for; namespaces may be nested keys."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key == "ros__parameters":
            yield name
        else:
            yield from _sections(value, f"{name}/{str(key).strip('/')}")


def _pattern(section: str) -> str:
    """The regular expression of a section's name, where ``*`` is one token and ``**`` any number of them."""
    tokens = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    return "".join(tokens.get(token, "/" + re.escape(token)) for token in section.split("/")[1:])
