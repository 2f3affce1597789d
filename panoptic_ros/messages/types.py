"""Where message classes come from: installed ROS packages, or rosbags' type store where there is no ROS."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from panoptic_ros.resources import share_directory

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


class MessageTypes(Protocol):
    """Makes messages by the names of their types, as in ``sensor_msgs/msg/Image``."""

    def make(self, name: str, /, **fields: Any) -> Any:
        """Make a message; fields that are not given have ROS's defaults.

        Sequences of numbers may be given as contiguous (N,) arrays of their type.

        Raises
        ------
        TypeError
            If the type has no field of that name.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether there is a type of that name."""
        ...


class RosMessageTypes:
    """The classes of the installed ROS message packages."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, dict[str, str]]] = {}

    def make(self, name: str, /, **fields: Any) -> Any:
        """See `MessageTypes.make`.

        Raises
        ------
        ImportError
            If the package is not installed or has no such type.
        """
        kind, described = self._find(name)
        _check_names(name, fields, described)
        sequences = {
            field: fields.pop(field)
            for field, value in tuple(fields.items())
            if isinstance(value, np.ndarray) and described[field].startswith("sequence")
        }
        message = kind(**fields)
        for field, value in sequences.items():
            # Into the message's own array: rclpy copies one that it is given twice, and walks every element of anything
            # else, which takes 0.7 s for a 6 MB image.
            sequence = getattr(message, field)
            sequence.frombytes(value.astype(sequence.typecode, copy=False).view(np.uint8).data)
        return message

    def has(self, name: str) -> bool:
        """See `MessageTypes.has`."""
        try:
            self._find(name)
        except ImportError:
            return False
        return True

    def _find(self, name: str) -> tuple[Any, dict[str, str]]:
        """The class, and the types of its fields by their names."""
        if name not in self._known:
            package, _, kind = name.partition("/msg/")
            found = getattr(importlib.import_module(f"{package}.msg"), kind, None)
            if found is None:
                raise ImportError(f"the installed {package} has no message {kind}")
            self._known[name] = found, found.get_fields_and_field_types()
        return self._known[name]


class BagMessageTypes:
    """The types of ROS 2 Jazzy as rosbags has them, and those in ``interfaces/``.

    Attributes
    ----------
    store:
        rosbags' type store, which serialises the messages.

    Raises
    ------
    FileNotFoundError
        If the definitions in ``interfaces/`` were not installed.
    """

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # a robot need not have rosbags

        self.store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        folder = share_directory() / "interfaces"
        files = sorted(folder.glob("*/msg/*.msg"))
        if not files:
            raise FileNotFoundError(f"{folder}: no message definitions (*/msg/*.msg), expected those of vision_msgs")
        definitions = {}
        for file in files:
            name = f"{file.parent.parent.name}/msg/{file.stem}"
            definitions.update(get_types_from_msg(file.read_text(encoding="utf-8"), name))
        self.store.register(definitions)

    def make(self, name: str, /, **fields: Any) -> Any:
        """See `MessageTypes.make`.

        Raises
        ------
        KeyError
            If the store has no such type.
        """
        described = dict(self.store.fielddefs[name][1])
        _check_names(name, fields, described)
        if name == "geometry_msgs/msg/Quaternion":
            fields.setdefault("w", 1.0)  # its definition says so, and rosbags does not keep defaults
        for field, kind in described.items():
            if field not in fields:
                fields[field] = self._default(kind)
        return self.store.types[name](**fields)

    def has(self, name: str) -> bool:
        """See `MessageTypes.has`."""
        return name in self.store.types

    def _default(self, kind: Any) -> Any:
        """The zero of a field that rosbags describes as (node type, what)."""
        from rosbags.interfaces import Nodetype

        node, what = kind
        if node == Nodetype.NAME:
            return self.make(what)
        if node == Nodetype.BASE:
            return "" if what[0] == "string" else False if what[0] == "bool" else 0.0 if "float" in what[0] else 0
        element, length = what
        length = length if node == Nodetype.ARRAY else 0
        if element[0] == Nodetype.BASE and element[1][0] != "string":
            return np.zeros(length, dtype=element[1][0])
        return [self._default(element) for _ in range(length)]


def _check_names(name: str, fields: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Refuse unknown fields: unless told to, rclpy does not look at the names it is given."""
    if not fields.keys() <= described.keys():
        unknown = ", ".join(sorted(fields.keys() - described.keys()))
        raise TypeError(f"{name} has no field {unknown}; it has {', '.join(described)}")
