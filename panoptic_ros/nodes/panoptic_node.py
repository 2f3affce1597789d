"""The node: camera images in, panoptic segmentations out.

A lifecycle node that starts by itself.  Three threads share the work: the executor's (callbacks, parameters, timers),
the worker's (decode, network, publish), and for a while one that loads a model.

Configuring checks the model, which is quick and refuses with the reason what cannot work, and then loads it in the
background: loading takes seconds to minutes, in which the node answers to parameters, lifecycle and diagnostics
instead of looking dead.  The same loading swaps models later.  Until a model is ready the newest frame waits.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble defines it
from rclpy.exceptions import InvalidParameterTypeException, NameValidationException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos_overriding_options import InvalidQosOverridesError

from panoptic_ros.configuration import parse_size
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import MessageTypes, RosMessageTypes
from panoptic_ros.nodes.camera import Camera
from panoptic_ros.nodes.diagnostics import camera_status, make_array, model_status
from panoptic_ros.nodes.grid_diagnostics import grid_status
from panoptic_ros.nodes.grid_feed import Source
from panoptic_ros.nodes.grid_host import BuilderSource, GridHost
from panoptic_ros.nodes.grid_inputs import GridInputs
from panoptic_ros.nodes.grid_parameters import PanopticGridSettings, read_options
from panoptic_ros.nodes.model_host import (
    Loaded,
    ModelHost,
    ModelRequest,
    PipelineSource,
    both_at_once,
    threads_beside_grid,
)
from panoptic_ros.nodes.outputs import RESERVED_NAMES, CameraOutputs, LabelOutput
from panoptic_ros.nodes.parameters import NodeParameters, ParameterError, Settings, declare
from panoptic_ros.nodes.process import run
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.nodes.statistics import Drop
from panoptic_ros.nodes.worker import Channel, Worker

_REFUSALS = (
    ValueError,
    OSError,
    RuntimeError,
    InvalidParameterTypeException,
    InvalidQosOverridesError,
    NameValidationException,
)
"""What wrong parameters bring about while the node is configured."""

_TICK = 0.1  # seconds between two looks at who listens and what is silent


class PanopticNode(LifecycleNode):
    """Publishes the panoptic segmentation of one or several cameras; topics and parameters are in the README.

    Parameters
    ----------
    name:
        The node's name.
    pipelines:
        Where pipelines come from; None is the class `Pipeline`.
    builders:
        Where builders of grids come from; None is `GridBuilder`.
    types:
        Message classes; None is what is installed.
    options:
        For rclpy's node: namespace, parameter_overrides, context …

    Raises
    ------
    ParameterError
        If a given parameter is not what it should be.
    """

    def __init__(
        self,
        name: str = "panoptic_node",
        *,
        pipelines: PipelineSource | None = None,
        builders: BuilderSource | None = None,
        types: MessageTypes | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._reports = Reports(self.get_logger())
        self._types: MessageTypes = types or RosMessageTypes()
        self._pipelines = pipelines
        self._builders = builders
        self._grid: GridHost | None = None
        self._grid_inputs: GridInputs | None = None
        self._grid_lost: dict[str, int] = {}
        self._host: ModelHost | None = None
        self._channels: list[Channel] = []
        self._label_output: LabelOutput | None = None
        self._worker: Worker | None = None
        self._state = "unconfigured"
        self._failure = ""
        self._silences: dict[str, str] = {}
        self._lost: dict[str, dict[Drop, int]] = {}
        self._rolling_back = False
        self._retry = False
        self._condition = threading.Condition()
        self._parameters_table = NodeParameters(self, self._on_settings, RESERVED_NAMES)
        self._grid_settings = self._read_grid_settings()
        self._model_ready = self.create_guard_condition(self._collect_model)
        self._answer_change = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_request
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: with use_sim_time and no clock, the timers are what says so.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TICK, self._tick, clock=steady)
        self.create_timer(self.settings.diagnostics_period, self._diagnose, clock=steady)
        if self.settings.autostart:
            self._start()
        else:
            self.get_logger().info("unconfigured: waiting for a lifecycle manager (autostart is false)")

    @property
    def settings(self) -> Settings:
        """The parameters of this moment."""
        return self._parameters_table.settings

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras; none before the node is configured."""
        return tuple(channel.camera for channel in self._channels)

    # --- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the model, make topics, and begin to load; refused with the reason in the log."""
        try:
            self._check_model(self.settings)
            self._open()
        except _REFUSALS as error:
            self._failure = f"cannot be configured: {error}; {self._remedy(error)}"
            self.get_logger().error(self._failure)
            self._close()
            return TransitionCallbackReturn.FAILURE
        self._failure = ""
        threads = threads_beside_grid() if self._grid_settings.enabled else 0
        self._host = ModelHost(self._source(), self._model_ready.trigger, threads)
        self._host.request(self.settings)
        self.get_logger().info(f"loading {ModelRequest.of(self.settings)}")
        self._state = "inactive"
        self._report_unknown()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to look at frames."""
        if self._grid is not None:
            self._grid.start()
            self._grid_inputs = GridInputs(self, self._types, self._grid, self._grid_settings, self._reports)
        self._worker = Worker(
            self._channels,
            self._condition,
            lambda: self._host.running if self._host else None,
            lambda: self.settings,
            self._reports,
            self._grid,
        )
        self._worker.start()
        self._state = "active"
        if self._host is not None and self._host.running is not None:
            self._announce(self._host.running.pipeline.labels)
        self._tick()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop looking at frames; the model stays ready."""
        self._stop_worker()
        self._state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give topics and model back."""
        self._close()
        self._state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._close()
        self._state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that broke: back to unconfigured."""
        self._close()
        self._state = "unconfigured"
        return super().on_error(state)

    def _on_change_request(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """Answer a request for a transition; one that the state does not allow is refused.

        rclpy raises there, and nobody gets an answer (ros2/rclpy#1209).
        """
        try:
            answer: ChangeState.Response = self._answer_change(request, response)
        except RuntimeError:
            wanted = request.transition.label or request.transition.id
            hint = "; it started by itself, set autostart to false to leave that to a manager"
            self._reports.warning(
                ("transition", wanted),
                f"transition {wanted} is refused, the node is {self._state}{hint if self.settings.autostart else ''}",
            )
            response.success = False
            return response
        return answer

    def close(self, timeout: float | None = None) -> bool:
        """End the threads and destroy the node; returns whether the loading thread ended within `timeout` seconds."""
        host = self._host
        self._close()
        ended = host is None or host.close(timeout)
        self.destroy_node()
        return ended

    def _start(self) -> None:
        """Configure and activate; where that fails the node says so and tries again when the model changes."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _remedy(self, error: Exception) -> str:
        """What to do about an error in configuring."""
        from panoptic_ros.engines import EngineError  # here, because torch takes seconds to import

        if isinstance(error, EngineError):
            return "engine, device and precision are read-only: restart the node with others"
        if self._label_output is not None:  # the model was well, and topics were being made
            return "topics and their QoS are read-only: restart the node with others"
        return "set model or weights right" + ("" if self.settings.autostart else " and configure it again")

    def _open(self) -> None:
        self._label_output = LabelOutput(self, self._types, self._reports)
        grid = self._grid_settings
        if grid.enabled:
            self._grid = GridHost(self, grid, read_options(grid), self._types, self._reports, self._builders)
        for index, (name, topics) in enumerate(self._parameters_table.cameras.items()):
            camera = Camera(self, name, topics, lambda: self.settings, self._condition, self._reports)
            source = Source(camera.image_topic, camera.info_topic, grid.rectified, name, index)
            self._channels.append(Channel(camera, CameraOutputs(self, name, self._types, self._reports), source))
            # For once, so that wrong QoS overrides are refused now and not when the first listener comes.
            camera.subscribe()
            camera.want_info(True)
            camera.unsubscribe()

    def _close(self) -> None:
        self._stop_worker()
        for channel in self._channels:
            channel.outputs.close()
        self._channels.clear()
        if self._label_output is not None:
            self._label_output.close()
            self._label_output = None
        if self._grid is not None:
            self._grid.close()
            self._grid = None
            self._grid_lost.clear()
        if self._host is not None:
            self._host.close(timeout=0.0)
            self._host = None
        self._silences.clear()
        self._lost.clear()

    def _stop_worker(self) -> None:
        for channel in self._channels:
            channel.camera.unsubscribe()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._grid_inputs is not None:
            self._grid_inputs.close()
            self._grid_inputs = None
        if self._grid is not None:
            self._grid.stop()

    # --- models and parameters

    def _source(self) -> PipelineSource:
        if self._pipelines is None:
            from panoptic_ros.pipeline import Pipeline  # here, because torch takes seconds to import

            self._pipelines = Pipeline
        return self._pipelines

    def _check_model(self, settings: Settings) -> None:
        """Raise ValueError or OSError, quickly, where the settings' model cannot be loaded."""
        self._source().check(
            settings.model,
            settings.weights,
            settings.device,
            settings.engine,
            settings.precision,
            parse_size(settings.input_size, "input_size"),
        )

    def _on_settings(self, settings: Settings) -> None:
        """Refuse what cannot work (by raising), and begin what takes time."""
        if ModelRequest.of(settings) == ModelRequest.of(self.settings) or self._rolling_back:
            return
        try:
            self._check_model(settings)
        except ValueError as error:
            raise ValueError(f"{error}{self._way_out(settings)}") from error
        if self._host is not None:
            self._host.request(settings)
            self.get_logger().info(f"loading {ModelRequest.of(settings)}")
        else:
            self._retry = bool(self._failure) and settings.autostart

    def _way_out(self, wanted: Settings) -> str:
        """What to add to a refusal of weights that are of another model, where only one of the two was set."""
        new, old = ModelRequest.of(wanted), ModelRequest.of(self.settings)
        if not wanted.weights or (new.model != old.model and new.weights != old.weights):
            return ""
        if new.model != old.model:
            try:
                self._check_model(dataclasses.replace(wanted, weights=""))
            except (ValueError, OSError):  # not for its weights
                return ""
            command = both_at_once(self.get_fully_qualified_name(), new.model, "WEIGHTS")
        else:
            command = both_at_once(self.get_fully_qualified_name(), "MODEL", new.weights)
        return f"; model and weights that go together are set together: {command}"

    def _collect_model(self) -> None:
        """Take over what was loaded; where that failed, put the parameters back to what runs."""
        host = self._host
        loaded = host.collect() if host else None
        if host is None or loaded is None:
            return
        if loaded.pipeline is None:
            self._give_up(host, loaded)
            return
        pipeline = loaded.pipeline
        self._announce(pipeline.labels)  # first, so that no id is published before what it means
        host.adopt(loaded)
        with_what = f"{pipeline.engine_name} in {pipeline.precision}"
        self.get_logger().info(f"{loaded.request} runs on {pipeline.device} with {with_what}")
        for note in pipeline.notes:
            self.get_logger().info(note)
        if pipeline.weights_report is not None:
            self.get_logger().info(str(pipeline.weights_report))
        if not pipeline.trained:
            self.get_logger().warning(f"weights are untrained: {', '.join(pipeline.untrained)}")
        if host.running is not None and (unused := host.running.unused(self.settings)):
            self.get_logger().warning(f"{loaded.request} has no {', '.join(unused)}: given without effect")
        if self._worker is not None:
            self._worker.wake()

    def _give_up(self, host: ModelHost, loaded: Loaded) -> None:
        from panoptic_ros.pipeline import OutOfMemory  # here, because torch takes seconds to import

        if isinstance(loaded.error, (ValueError, OSError, OutOfMemory)):  # whose messages say it all
            self.get_logger().error(host.error)
        elif loaded.error is not None:
            self._reports.exception("model", host.error, loaded.error)
        if host.running is not None:
            self.get_logger().warning(f"going on with {host.running.request}")
            model = Parameter("model", value=host.running.request.model)
            weights = Parameter("weights", value=host.running.request.weights)
            self._rolling_back = True
            self.set_parameters_atomically([model, weights])
            self._rolling_back = False

    def _read_grid_settings(self) -> PanopticGridSettings:
        errors: list[str] = []
        values = declare(self, "grid.", PanopticGridSettings, PanopticGridSettings(), errors)
        if errors:
            raise ParameterError("\n".join(errors))
        return PanopticGridSettings(**values)

    def _announce(self, labels: LabelSet) -> None:
        if self._state == "active" and self._label_output is not None:
            self._label_output.publish(labels)
            if self._grid is not None:
                self._grid.set_labels(labels)

    def _report_unknown(self) -> None:
        for sentence in self._parameters_table.unknown():
            self._reports.once(sentence, sentence)

    # --- timers

    def _tick(self) -> None:
        """Follow who listens, and look after silent topics."""
        if self._retry:
            self._retry = False
            if self._state == "unconfigured":  # still: a manager may have been faster
                self._start()
        if self._state != "active":
            return
        for camera, outputs in ((channel.camera, channel.outputs) for channel in self._channels):
            wanted = outputs.wanted()
            if wanted or not self.settings.lazy or self._grid is not None:
                if not camera.subscribed:
                    camera.subscribe()
                camera.want_info("camera_info" in wanted or self._grid is not None)
            elif camera.subscribed:
                camera.unsubscribe()
            self._silences[camera.name] = camera.watch()

    def _diagnose(self) -> None:
        name = self.get_name()
        statuses = [model_status(name, self._state, self._host, self._failure, self.settings)]
        for camera in self.cameras:
            lost = self._lost.setdefault(camera.name, {})
            statuses.append(camera_status(name, camera, self._silences.get(camera.name, ""), lost))
            lost.update(camera.statistics.summary().dropped)
        if self._grid is not None:
            silences = self._grid_inputs.watch(self.settings.silence_timeout) if self._grid_inputs else []
            statuses.append(grid_status(name, self._grid, silences, self._grid_lost))
        self._diagnostics.publish(make_array(self.get_clock().now().to_msg(), statuses))


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit status."""
    return run("panoptic_node", PanopticNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
