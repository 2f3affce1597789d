"""Fixtures of the nodes' tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from node_harness import FakeSource, Ros


@pytest.fixture(scope="module")
def ros_module(request: pytest.FixtureRequest) -> Iterator[Ros]:
    """One context per test file; the domain differs from file to file and from run to run."""
    domain = 101 + (hash((request.module.__name__, os.getpid())) % 131)
    ros = Ros(domain)
    yield ros
    ros.close()


@pytest.fixture
def ros(ros_module: Ros) -> Iterator[Ros]:
    """The robot around the node; nodes are ended after each test."""
    yield ros_module
    ros_module.stop_nodes()


@pytest.fixture
def source() -> Iterator[FakeSource]:
    """Where the node under test has its pipelines from."""
    source = FakeSource()
    yield source
    source.gate.set()
