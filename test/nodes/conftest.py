"""Fixtures of the nodes' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from node_harness import FakeSource, Ros, own_domain


@pytest.fixture(scope="module")
def ros_module(request: pytest.FixtureRequest) -> Iterator[Ros]:
    """One context per test file; the domain differs from file to file, from run to run and between processes."""
    ros = Ros(own_domain(request.module.__name__))
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
