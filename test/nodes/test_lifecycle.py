"""The node's states, and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_harness import FakeSource, Ros, picture
from sensor_msgs.msg import Image

from panoptic_ros.pipeline import Pipeline

START_TIMEOUT = 200.0  # seconds: importing torch takes some on a busy machine


def change(ros: Ros, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(ros.call(ChangeState, "/panoptic_node/change_state", request).success)


def ask(ros: Ros, kind: type, service: str, request: Any) -> Any:
    """The answer of the node, asked again until it comes: a server drops what it answers to a client it just met."""
    client = ros.peer.create_client(kind, f"/panoptic_node/{service}")
    ros.until(client.service_is_ready, "the node", START_TIMEOUT)
    answers: list[Any] = []

    def answered() -> list[Any]:
        future = client.call_async(request)
        ros.spin(0.2)
        answers.extend([future.result()] if future.done() else [])
        return answers

    ros.until(answered, f"the answer of {service}")
    ros.peer.destroy_client(client)
    return answers[0]


def state(ros: Ros) -> int:
    return int(ask(ros, GetState, "get_state", GetState.Request()).current_state.id)


def test_it_starts_by_itself(ros: Ros, source: FakeSource) -> None:
    ros.start(source)
    assert state(ros) == State.PRIMARY_STATE_ACTIVE


def test_a_manager_leads_it_through_its_states(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, autostart=False)
    results = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    ros.spin(0.3)
    assert source.loads == 0
    assert camera.get_subscription_count() == 0
    for _ in range(2):  # the second time is as good as the first
        assert change(ros, Transition.TRANSITION_CONFIGURE)
        assert state(ros) == State.PRIMARY_STATE_INACTIVE
        assert change(ros, Transition.TRANSITION_ACTIVATE)
        assert state(ros) == State.PRIMARY_STATE_ACTIVE
        del results[:]
        ros.connected(camera)
        ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or results, "a result")
        assert change(ros, Transition.TRANSITION_DEACTIVATE)
        ros.until(lambda: camera.get_subscription_count() == 0, "the end of the subscription")
        assert change(ros, Transition.TRANSITION_ACTIVATE)  # the model is still there
        ros.connected(camera)
        del results[:]
        ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or results, "a result")
        assert change(ros, Transition.TRANSITION_DEACTIVATE)
        assert change(ros, Transition.TRANSITION_CLEANUP)
        assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
        assert "/panoptic_node/panoptic" not in {publisher.topic_name for publisher in node.publishers}
    assert source.loads == 2
    assert change(ros, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert state(ros) == State.PRIMARY_STATE_FINALIZED


def test_what_cannot_be_configured_says_why_and_stays_unconfigured(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, autostart=False, weights="truncated.weights")
    assert not change(ros, Transition.TRANSITION_CONFIGURE)
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    (line,) = node.log.find("cannot be configured: truncated.weights: 12 bytes, expected 34", severity="error")
    assert line.endswith("; set model or weights right and configure it again")
    assert ros.set(node, weights="good.weights").successful
    assert change(ros, Transition.TRANSITION_CONFIGURE)


def test_a_wrong_topic_name_is_refused_with_the_name(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, image_topic="/camera/image raw")
    (line,) = node.log.find("cannot be configured", "image raw", severity="error")
    assert line.endswith("; topics and their QoS are read-only: restart the node with others")


def test_a_device_that_is_not_there_is_no_matter_of_model_and_weights(ros: Ros) -> None:
    node = ros.start(Pipeline, device="cuda:99", model="yolo_panoptic_small", weights="")
    (line,) = node.log.find("cannot be configured: device 'cuda:99'", severity="error")
    assert line.endswith("; engine, device and precision are read-only: restart the node with others")


def test_stopping_waits_for_the_frame_that_is_in_the_network(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    source.pipeline.delay = 0.4
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.02) or source.pipeline.batches, "the network")
    statistics = node.cameras[0].statistics
    assert change(ros, Transition.TRANSITION_DEACTIVATE)
    summary = statistics.summary()
    assert summary.processed == len(source.pipeline.batches)
    assert summary.received == summary.processed + sum(summary.dropped.values())


@pytest.fixture
def start(ros: Ros) -> Iterator[Callable[..., Process]]:
    """Starts the node as a process, which has ended when the test has."""
    processes: list[Process] = []

    def start_process(*arguments: str, code: str = "") -> Process:
        processes.append(Process(ros, *arguments, code=code))
        return processes[-1]

    yield start_process
    for process in processes:
        process.kill()


class Process:
    """The node as the robot starts it."""

    def __init__(self, ros: Ros, *arguments: str, code: str = "") -> None:
        environment = os.environ | {"ROS_DOMAIN_ID": str(ros.domain), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        program = ["-c", code] if code else ["-m", "panoptic_ros.nodes.panoptic_node"]
        command = [sys.executable, *program, "--ros-args", *arguments]
        self._process = subprocess.Popen(
            command, env=environment, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def wait_for_handler(self, number: int) -> None:
        """Wait until the process handles a signal that Python by itself does not."""
        status, deadline = Path(f"/proc/{self._process.pid}/status"), time.monotonic() + START_TIMEOUT
        while not int(re.findall(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE)[0], 16) >> (number - 1) & 1:
            assert time.monotonic() < deadline, "the process takes no signals"
            time.sleep(0.01)

    def stop(self, number: int | None) -> tuple[int, str]:
        """Send the signal, if any; returns exit status and output."""
        if number is not None:
            self._process.send_signal(number)
        output, _ = self._process.communicate(timeout=START_TIMEOUT)
        return self._process.returncode, output.decode()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_cleanly_while_frames_come(
    start: Callable[..., Process], ros: Ros, number: int
) -> None:
    process = start("-p", "model:=yolo_panoptic_small", "-p", "threads:=1")
    results = ros.listen(Image, "/panoptic_node/overlay")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera, START_TIMEOUT)
    ros.until(
        lambda: camera.publish(ros.image(picture(120, 160))) or ros.spin(0.03) or len(results) > 2,
        "results of the real network",
        START_TIMEOUT,
    )
    status, output = process.stop(number)
    assert status == 0, output
    assert "Traceback" not in output
    assert "ERROR" not in output


@pytest.mark.parametrize("delay", [0.0, 0.8])
def test_a_signal_during_the_start_ends_the_process_cleanly(
    start: Callable[..., Process], ros: Ros, delay: float
) -> None:
    """From when the modules are imported, about a second after the start, and the node has its own handlers."""
    process = start()
    process.wait_for_handler(signal.SIGTERM)
    time.sleep(delay)
    status, output = process.stop(signal.SIGINT)
    assert status == 0, output
    assert "Traceback" not in output


def test_a_model_that_loads_for_minutes_does_not_hold_up_the_end(start: Callable[..., Process], ros: Ros) -> None:
    code = """
import time
from panoptic_ros.nodes.panoptic_node import main
from panoptic_ros.pipeline import Pipeline
Pipeline.load = classmethod(lambda *_, **__: time.sleep(600))
raise SystemExit(main())
"""
    process = start(code=code)
    assert state(ros) == State.PRIMARY_STATE_ACTIVE  # it answers while it loads
    begin = time.monotonic()
    status, output = process.stop(signal.SIGTERM)
    assert time.monotonic() - begin < 10
    assert status == 0, output
    assert "Traceback" not in output


def test_wrong_parameters_end_the_process_with_a_sentence(start: Callable[..., Process], ros: Ros) -> None:
    status, output = start("-p", "score_threshold:=2.0", "-p", "precision:=fp8").stop(None)
    assert status == 1
    assert "score_threshold" in output
    assert "precision: expected one of fp32, fp16, bf16, int8 or '' (the model's own), got 'fp8'" in output
    assert "Traceback" not in output


def test_a_parameter_file_that_is_not_there_ends_the_process_with_a_sentence(
    start: Callable[..., Process], ros: Ros, tmp_path: Path
) -> None:
    status, output = start("--params-file", str(tmp_path / "nowhere.yaml")).stop(None)
    assert status == 1
    assert "nowhere.yaml" in output
    assert "Traceback" not in output


def test_a_transition_that_the_state_does_not_allow_is_refused_and_the_process_goes_on(
    start: Callable[..., Process], ros: Ros
) -> None:
    process = start("-p", "autostart:=false")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    assert not ask(ros, ChangeState, "change_state", request).success
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    status, output = process.stop(signal.SIGTERM)
    assert status == 0, output
    assert "transition 3 is refused, the node is unconfigured" in output
    assert "Traceback" not in output


def test_a_manager_of_a_node_that_started_by_itself_does_no_harm(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    results = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert not change(ros, transition)
        assert node.log.find(f"transition {transition} is refused", "set autostart to false", severity="warning")
        assert state(ros) == State.PRIMARY_STATE_ACTIVE
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or results, "a result")
    assert change(ros, Transition.TRANSITION_DEACTIVATE)


def test_a_callback_that_fails_costs_neither_the_node_nor_its_end(start: Callable[..., Process], ros: Ros) -> None:
    code = """
from panoptic_ros.nodes.panoptic_node import PanopticNode, main
def fail(self):
    raise KeyError("surprise")
PanopticNode._diagnose = fail
raise SystemExit(main())
"""
    process = start("-p", "diagnostics_period:=0.1", "-p", "threads:=1", code=code)
    assert state(ros) == State.PRIMARY_STATE_ACTIVE
    ros.spin(1.0)  # it has failed several times
    assert state(ros) == State.PRIMARY_STATE_ACTIVE
    status, output = process.stop(signal.SIGTERM)
    assert status == 0, output
    assert output.count("a callback failed: 'surprise'") >= 1
    assert output.count("Traceback") == 1
    assert "in fail" in output
