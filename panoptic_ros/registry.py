"""What is found by name: ours, and what other packages bring through entry points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

T = TypeVar("T")


class RegistryError(ValueError):
    """Something of another package that cannot be used; the message names it, its package and what was expected."""


class Registry(Mapping[str, T]):
    """Objects by name, imported when they are asked for.

    Ours are a table, written as entry points are (``module:attribute``).  Other packages bring theirs as entry points
    of a group; they are looked up each time, so that nothing has to be registered, and one that is broken is no trouble
    to the others.

    Parameters
    ----------
    group:
        The entry points' group.
    own:
        Ours, by name.
    kind:
        What each is.
    """

    def __init__(self, group: str, own: Mapping[str, str], kind: type[T]) -> None:
        self.group = group
        self._own = own
        self._kind = kind

    def __getitem__(self, name: str) -> T:
        """What a name stands for.

        Raises
        ------
        KeyError
            If there is none of that name.
        RegistryError
            If another package's cannot be imported, is something else, or two packages bring the name.
        """
        found = [entry for entry in self._entries() if entry.name == name]
        if not found:
            raise KeyError(name)
        if len(found) > 1:
            raise RegistryError(f"{self.group}: {name!r} is brought by {' and '.join(map(_origin, found))}")
        (entry,) = found
        try:
            value = entry.load()
        except Exception as error:  # whatever the import of another's package raises
            raise RegistryError(
                f"{self.group}: {name!r} of {_origin(entry)} ({entry.value}) cannot be imported: {error}"
            ) from error
        if not isinstance(value, self._kind):
            raise RegistryError(
                f"{self.group}: {name!r} of {_origin(entry)} ({entry.value}): expected a {self._kind.__name__}, "
                f"got {type(value).__name__}"
            )
        return value

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in self._entries())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(entry.name for entry in self._entries()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def outside(self) -> tuple[str, ...]:
        """The names that only other packages bring, in order."""
        return tuple(sorted(set(self) - self._own.keys()))

    def _entries(self) -> list[EntryPoint]:
        own = [EntryPoint(name, value, self.group) for name, value in self._own.items()]
        # An installation may be found through two entries of the path; it is one package all the same.
        others = {(entry.name, entry.value): entry for entry in entry_points(group=self.group)}
        return [*own, *others.values()]


def _origin(entry: EntryPoint) -> str:
    """The package that brings an entry point, in words."""
    distribution = getattr(entry, "dist", None)
    return f"package {distribution.name}" if distribution is not None else "panoptic_ros"
