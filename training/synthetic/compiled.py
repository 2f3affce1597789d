"""Functions compiled to machine code (numba): loops over rays, where whole arrays would be gathered again and again.

Compiled code is kept on disk beside the source, or in numba's cache if that cannot be written.  It gives the threads
free, does the arithmetic as written (no reordering, so that every number of threads gives the same bytes), and checks
no index: callers pass arrays that agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function, compiled when it is first called with arguments of new types."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """The function for use in compiled ones only; it has no code of its own to keep."""
    return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))
