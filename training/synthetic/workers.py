"""Threads that share a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

BLOCK = 1 << 14  # rays that one thread works on at a time


class Workers:
    """Threads that each do blocks of the picture; the blocks, and so the result, do not depend on their number."""

    def __init__(self, threads: int) -> None:
        self._pool = _pool(threads, os.getpid()) if threads > 1 else None

    def __call__(self, work: Callable[[slice], object], count: int) -> None:
        """Call `work` with each block of `count` rays."""
        blocks = [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
        for _ in map(work, blocks) if self._pool is None else self._pool.map(work, blocks):
            pass  # an error in a thread is raised here


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay, since new ones start on a busy core; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"camera-{process}")
