"""The node in a process of its own, on a network of the demo's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

NODE = "panoptic_node"


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


class NodeProcess:
    """The node as a user starts it, in a process of its own; leaving the context ends it.

    Parameters
    ----------
    parameters:
        The node's parameters.
    log:
        File that takes what the node says.
    node:
        Which of the nodes.
    """

    def __init__(self, parameters: dict[str, Any], log: Path, node: str = NODE) -> None:
        self._log = log
        command = [sys.executable, "-m", f"panoptic_ros.nodes.{node}", "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        with log.open("wb") as file:
            # A session of its own: Ctrl-C goes to the demo alone, which then ends the node in order.
            self._process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """Raise DemoError, with the end of its log, if the node has ended."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"the node ended with status {status}; the end of {self._log}:\n{self._tail()}")

    def stop(self, timeout: float = 15.0) -> None:
        """End the node as Ctrl-C does; raise DemoError if it does not end, or not with status 0."""
        self.check()
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the node did not end within {timeout:.0f} s of SIGINT\n{self._tail()}") from None
        if status != 0:
            raise DemoError(f"the node ended with status {status} after SIGINT\n{self._tail()}")

    def _tail(self, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def use_own_network(profile: Path, logs: str) -> None:
    """Keep this process and its children to this computer and a domain of their own, with our DDS profile."""
    os.environ["ROS_DOMAIN_ID"] = str(50 + os.getpid() % 50)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = logs
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(profile)
