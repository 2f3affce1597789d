"""The network that runs, and the one that is being loaded to take its place.

A model is loaded in a thread of its own: the node answers meanwhile, and frames go on through the model that runs.
Everything else happens on the executor's thread, which asks for a model with `request` and takes it over with
`collect` and `adopt`.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from panoptic_ros.configuration import parse_size
from panoptic_ros.nodes.parameters import Settings
from panoptic_ros.resources import weights_of

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


ERROR_SHOWN = 30.0
"""Seconds that a model which could not be loaded is a warning while the former one runs on as before."""


class PipelineSource(Protocol):
    """Where pipelines come from: the class `Pipeline` itself, or a test's stand-in."""

    def check(
        self,
        model: str,
        weights: str = "",
        device: str = "auto",
        engine: str = "",
        precision: str = "",
        size: tuple[int, int] | None = None,
    ) -> None: ...

    def load(
        self,
        model: str,
        weights: str = "",
        device: str = "auto",
        engine: str = "",
        precision: str = "",
        threads: int = 0,
        size: tuple[int, int] | None = None,
    ) -> Pipeline: ...


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Which model with which weights, and the size of its input as `Settings` has it."""

    model: str
    weights: str
    input_size: str = ""

    @classmethod
    def of(cls, settings: Settings) -> ModelRequest:
        return cls(settings.model, settings.weights, settings.input_size)

    def __str__(self) -> str:
        size = f" at {self.input_size}" if self.input_size else ""
        return f"{self.model} with {weights_of(self.model, self.weights) or 'random weights'}{size}"


def both_at_once(node: str, model: str, weights: str) -> str:
    """The command that sets model and weights of a running node together.

    ``ros2 param set`` and ``ros2 param load`` set one after the other (ros2/ros2cli, rclpy's AsyncParameterClient), and
    each alone does not fit what is still there.
    """
    values = ", ".join(
        f"{{name: {name}, value: {{type: 4, string_value: '{value}'}}}}"
        for name, value in (("model", model), ("weights", weights))
    )
    return (
        f"ros2 service call {node}/set_parameters_atomically rcl_interfaces/srv/SetParametersAtomically "
        f'"{{parameters: [{values}]}}"'
    )


def threads_beside_grid() -> int:
    """How many CPU threads a network has where the grid is made in the same process; 0 is the engine's own choice.

    All threads of a network wait for the slowest, and the one that shares its core with the grid would be that.  What
    the environment says (``OMP_NUM_THREADS``) counts.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


@dataclass(frozen=True, slots=True)
class Running:
    """The model that runs.

    Attributes
    ----------
    request:
        What was asked for.
    pipeline:
        The model.
    own:
        The thresholds that it came with.
    """

    request: ModelRequest
    pipeline: Pipeline
    own: Any

    def options(self, settings: Settings) -> Any:
        """The model's own thresholds but for those that the settings give."""
        unused = self.unused(settings)
        return dataclasses.replace(
            self.own, **{name: value for name, value in settings.thresholds().items() if name not in unused}
        )

    def unused(self, settings: Settings) -> tuple[str, ...]:
        """The thresholds that the settings give and the model does not have."""
        known = {field.name for field in dataclasses.fields(self.own)}
        return tuple(name for name in settings.thresholds() if name not in known)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading came to: a pipeline, or the error that there is none."""

    request: ModelRequest
    pipeline: Pipeline | None
    error: Exception | None


class ModelHost:
    """Loads models beside the running one.

    Parameters
    ----------
    source:
        Loads pipelines.
    on_loaded:
        Called from the loading thread when `collect` has something; must only wake the executor.
    threads:
        CPU threads of networks where the settings leave that open; 0 is the engine's own choice.
    """

    def __init__(self, source: PipelineSource, on_loaded: Callable[[], None], threads: int = 0) -> None:
        self._source = source
        self._threads = threads
        self._on_loaded = on_loaded
        self._lock = threading.Lock()
        self._wanted: tuple[ModelRequest, Settings] | None = None
        self._finished: Loaded | None = None
        self._thread: threading.Thread | None = None
        self.running: Running | None = None
        self.error = ""
        """Why the last model that was asked for could not be loaded, or ''."""
        self._failed = 0.0  # steady time of that

    @property
    def loading(self) -> bool:
        """Whether a model is being loaded."""
        with self._lock:
            return self._wanted is not None

    @property
    def trouble(self) -> str:
        """The error while it is one: as long as no model runs, and `ERROR_SHOWN` seconds where the former one does."""
        is_over = self.running is not None and time.monotonic() - self._failed > ERROR_SHOWN
        return "" if is_over else self.error

    def request(self, settings: Settings) -> None:
        """Load the settings' model beside the running one; a later request takes the place of an earlier."""
        request = ModelRequest.of(settings)
        self.error = ""
        with self._lock:
            self._finished = None
            if self.running is not None and request == self.running.request:
                self._wanted = None
                return
            self._wanted = (request, settings)
            if self._thread is None or not self._thread.is_alive():
                # A daemon, because loading cannot be interrupted and must not keep a stopped node alive.
                self._thread = threading.Thread(target=self._load, name="load model", daemon=True)
                self._thread.start()

    def collect(self) -> Loaded | None:
        """What loading came to since the last call; a pipeline then waits for `adopt`."""
        with self._lock:
            loaded, self._finished = self._finished, None
        if loaded is not None and loaded.pipeline is None:
            self.error = f"{loaded.request} could not be loaded: {loaded.error}"
            self._failed = time.monotonic()
        return loaded

    def adopt(self, loaded: Loaded) -> None:
        """Let a loaded pipeline take the place of the one that runs."""
        assert loaded.pipeline is not None
        self.running = Running(loaded.request, loaded.pipeline, loaded.pipeline.options)
        self.error = ""

    def close(self, timeout: float | None = None) -> bool:
        """Forget all models; returns whether the loading thread has ended within `timeout` seconds."""
        with self._lock:
            self._wanted = self._finished = None
        self.running = None
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _load(self) -> None:
        while True:
            with self._lock:
                if self._wanted is None:
                    self._thread = None
                    return
                request, settings = self._wanted
            pipeline: Pipeline | None = None
            error: Exception | None = None
            try:
                pipeline = self._source.load(
                    request.model,
                    request.weights,
                    device=settings.device,
                    engine=settings.engine,
                    precision=settings.precision,
                    threads=settings.threads or self._threads,
                    size=parse_size(request.input_size, "input_size"),
                )
            except Exception as raised:  # whatever a network's file brings about, the running model must go on
                error = raised
            with self._lock:
                if self._wanted is None or self._wanted[0] != request:
                    continue  # nobody wants it any more
                self._wanted = None
                self._finished = Loaded(request, pipeline, error)
                self._on_loaded()  # under the lock, so that it is never called once `close` has returned
