"""YAML into dataclasses, and sizes as they are typed.

An unknown, missing or ill-typed key is an error that names the key, the file and what was expected.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")

SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")


class ConfigurationError(ValueError):
    """A configuration that is not what it should be; the message names the file, the key and what was expected."""


def parse_size(text: str, name: str) -> tuple[int, int] | None:
    """Height and width of ``WxH``; None of an empty text.

    Parameters
    ----------
    name:
        Of the option or parameter, for messages.

    Raises
    ------
    ConfigurationError
        If it is not of that form.
    """
    if not text:
        return None
    found = SIZE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{name} {text}: expected width and height as 640x384")
    return int(found.group(2)), int(found.group(1))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not YAML, or is not a mapping with text keys.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(f"{path}: expected keys with values, got {type(content).__name__}")
    return content


def beside(folder: Path, value: Any) -> Any:
    """A relative path in a configuration with a folder before it, if the file lies there.

    Parameters
    ----------
    folder:
        The configuration's, or another in which files may lie.
    value:
        What it says; anything that is no such path stays as it is.
    """
    if isinstance(value, str) and value and "\n" not in value and (folder / value).is_file():
        return str(folder / value)
    return value


def plain(value: Any) -> Any:
    """The same in dictionaries and lists, as YAML and JSON have it and `from_mapping` takes it."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    return value


def from_mapping(kind: type[T], content: Mapping[str, Any], where: str) -> T:
    """Make a dataclass of a mapping, checking every key and type.

    Parameters
    ----------
    kind:
        The dataclass.  Its fields may be bool, int, float, str, Literal, Optional of these, tuples of them,
        mappings of text to them, dataclasses, or Any.
    content:
        What was read.
    where:
        The file, for messages.

    Raises
    ------
    ConfigurationError
        If a key is unknown, missing or of another type, or the dataclass refuses the values.
    """
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in content:
        if key not in fields:
            raise ConfigurationError(f"{where}: unknown key {key!r}; expected one of {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _convert(hints[name], content[name], where, name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigurationError(f"{where}: key {name!r} is missing; expected {_describe(hints[name])}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str, key: str) -> Any:
    wrong = ConfigurationError(f"{where}: {key}: expected {_describe(hint)}, got {value!r}")
    origin = get_origin(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise wrong
        return from_mapping(hint, value, f"{where}: {key}")
    if origin is Literal:
        if value not in get_args(hint):
            raise wrong
        return value
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return None if value is None else _convert(options[0], value, where, key)
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise wrong
        item = get_args(hint)[1]
        return {name: _convert(item, entry, where, f"{key}: {name}") for name, entry in value.items()}
    if origin is tuple:
        items = get_args(hint)
        if not isinstance(value, list):
            raise wrong
        if items[1:] == (Ellipsis,):
            items = items[:1] * len(value)
        if len(value) != len(items):
            raise wrong
        pairs = enumerate(zip(items, value, strict=True))
        return tuple(_convert(item, entry, where, f"{key}[{index}]") for index, (item, entry) in pairs)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise wrong
    return value


def _describe(hint: Any) -> str:
    """What a type is called in a message."""
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join("null" if option is type(None) else _describe(option) for option in get_args(hint))
    if origin is Mapping:
        return "keys with values"
    if origin is tuple:
        items = get_args(hint)
        if items[1:] == (Ellipsis,):
            return f"a list of {_describe(items[0])}"
        if len(set(items)) == 1:
            return f"a list of {len(items)} {_describe(items[0])}"
        return "a list of " + ", ".join(map(_describe, items))
    return str(getattr(hint, "__name__", hint))
