"""A node as a process: signals, the executor's loop, and an end that always comes, with an exit status."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from panoptic_ros.nodes.parameter_files import unread_files
from panoptic_ros.nodes.parameters import ParameterError
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.workers import wait_passively

_PERIOD = 0.1  # seconds between two looks at whether a signal came
_PAUSE = 0.01  # seconds after a callback that failed, so that one that always does leaves time to the others
_PATIENCE = 3.0  # seconds that the end waits for what cannot be interrupted
_SWITCH = 5e-4  # seconds after which a thread that runs Python lets another one in


class ClosableNode(Protocol):
    """A node that can be ended."""

    def get_logger(self) -> Any:
        """See rclpy."""
        ...

    def get_fully_qualified_name(self) -> str:
        """See rclpy."""
        ...

    def close(self, timeout: float | None = None) -> bool:
        """Destroy the node; returns whether all its threads ended within `timeout` seconds."""
        ...


def run(name: str, make_node: Callable[[], ClosableNode], arguments: list[str] | None = None) -> int:
    """Run a node until SIGINT or SIGTERM.

    Parameters
    ----------
    name:
        What the log calls it before it is made.
    make_node:
        Makes the node; a ParameterError that it raises ends the process with its message.
    arguments:
        In place of the process's own.

    Returns
    -------
    status:
        Of the process: 0, or 1 where the node could not be made.
    """
    wait_passively()
    # A network gives the interpreter up for each of its hundreds of operators, and at Python's own 5 ms waited for the
    # grid's thread to give it back: 0.2 s in a round of 0.35 s of work.
    sys.setswitchinterval(_SWITCH)
    stop = threading.Event()
    # Our own handlers, and none of rclpy's: those invalidate the context at once, under the worker's feet.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # what rclpy raises for arguments and files that rcl cannot read
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    try:
        node = make_node()
    except ParameterError as error:
        get_logger(name).fatal(str(error))
        rclpy.shutdown()
        return 1
    try:
        for sentence in unread_files(arguments or sys.argv, node.get_fully_qualified_name()):
            node.get_logger().warning(sentence)
        _spin(node, stop)
    finally:
        ended = node.close(_PATIENCE)
        rclpy.shutdown()
    if not ended:  # a thread still inside native code makes the interpreter's end abort
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _spin(node: ClosableNode, stop: threading.Event) -> None:
    """Call the node's callbacks until `stop` is set; what one of them raises is said, and the next one is called."""
    reports = Reports(node.get_logger())
    executor = SingleThreadedExecutor()
    executor.add_node(node)  # type: ignore[arg-type]  # a protocol cannot say that it is a Node too
    while not stop.is_set() and executor.context.ok():
        try:
            executor.spin_once(timeout_sec=_PERIOD)
        except Exception as error:  # nothing that a message or a request brings about may end the node
            reports.exception("callback", f"a callback failed: {error}", error)
            stop.wait(_PAUSE)
    executor.shutdown()
