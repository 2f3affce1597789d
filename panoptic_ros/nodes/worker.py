"""The thread that turns waiting frames into published results, so that the executor's callbacks never wait for them.

One round: take the newest frame of each camera, decode their bytes, run the network on them as one batch, publish.
Whatever is wrong with one frame is said, counted, and ends with that frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from panoptic_ros.encodings import ImageError
from panoptic_ros.messages import image_to_bgr
from panoptic_ros.nodes.camera import Camera, WaitingImage
from panoptic_ros.nodes.grid_feed import Source
from panoptic_ros.nodes.grid_host import GridHost
from panoptic_ros.nodes.model_host import Running
from panoptic_ros.nodes.outputs import CameraOutputs
from panoptic_ros.nodes.parameters import Settings
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.nodes.statistics import Drop
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


_CPU_BATCH, _GPU_BATCH = 1, 8


@dataclass(frozen=True, slots=True)
class Channel:
    """A camera and where its results go; `source` is what the grid calls it."""

    camera: Camera
    outputs: CameraOutputs
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A frame on its way through a round."""

    channel: Channel
    frame: WaitingImage
    image: NDArray[np.uint8]
    wanted: frozenset[str]
    started: float
    own: float  # seconds spent on this frame alone, so far


class Worker:
    """Runs rounds in a thread while frames wait and there is a pipeline.

    Parameters
    ----------
    channels:
        The cameras and their outputs.
    condition:
        The condition that guards the cameras' waiting frames and tells of new ones.
    running:
        Gives the model of this moment, or None; a round keeps the one that it started with.
    settings:
        Gives the settings of this moment; likewise.
    reports:
        Where troubles are said.
    grid:
        Takes the results of channels that have a source, or None.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        condition: threading.Condition,
        running: Callable[[], Running | None],
        settings: Callable[[], Settings],
        reports: Reports,
        grid: GridHost | None = None,
    ) -> None:
        self._channels = tuple(channels)
        self._condition = condition
        self._running = running
        self._settings = settings
        self._reports = reports
        self._grid = grid
        self._stopping = False
        self._next = 0  # the channel whose turn it is to come first
        self._limit: tuple[Pipeline, int] | None = None  # the batch that a pipeline's memory was found to allow
        self._thread = threading.Thread(target=self._run, name="panoptic worker")

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do: a pipeline has come."""
        with self._condition:
            self._condition.notify_all()

    def stop(self) -> None:
        """Finish the round that is running, drop the frames that wait, and end the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join()
        with self._condition:
            for channel in self._channels:
                channel.camera.drop_waiting()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._has_work())
                running = self._running()
                if self._stopping:
                    return
                if running is None:
                    continue
                settings = self._settings()
                taken = self._take(self._batch_size(running.pipeline, settings))
            try:
                self._round(running, settings, taken)
            except Exception as error:  # nothing that a frame brings about may end the thread, and with it the node
                self._reports.exception("round", f"a round of {len(taken)} frames failed: {error}", error)

    def _has_work(self) -> bool:
        return self._running() is not None and any(channel.camera.has_frame for channel in self._channels)

    def _take(self, most: int) -> list[tuple[Channel, WaitingImage]]:
        """The waiting frames, at most `most`, beginning with another camera each time so that none starves."""
        count = len(self._channels)
        order = [self._channels[(self._next + offset) % count] for offset in range(count)]
        taken: list[tuple[Channel, WaitingImage]] = []
        for channel in order:
            if len(taken) == most:
                break
            frame = channel.camera.take()
            if frame is not None:
                taken.append((channel, frame))
        if taken:
            self._next = (self._channels.index(taken[-1][0]) + 1) % count
        return taken

    def _round(self, running: Running, settings: Settings, taken: Sequence[tuple[Channel, WaitingImage]]) -> None:
        jobs = [job for channel, frame in taken if (job := self._decode(channel, frame)) is not None]
        if not jobs:
            return
        pipeline = running.pipeline
        pipeline.options = running.options(settings)
        for job, segmentation in self._segment(pipeline, jobs):
            self._publish(pipeline, settings, job, segmentation)

    def _decode(self, channel: Channel, frame: WaitingImage) -> _Job | None:
        """The frame's image, or None where it is too old or broken."""
        camera = channel.camera
        started = time.perf_counter()
        if camera.is_too_old(frame):
            camera.statistics.dropped(Drop.OLD)
            return None
        try:
            image = image_to_bgr(frame.message)
        except ImageError as error:
            camera.refuse(error)
            return None
        except Exception as error:  # an image may be broken in ways that nobody thought of; the next one is looked at
            camera.statistics.dropped(Drop.BAD)
            text = f"an image on {camera.image_topic} cannot be read: {error}"
            self._reports.exception(("unreadable", camera.name), text, error)
            return None
        camera.accept(frame)
        return _Job(channel, frame, image, channel.outputs.wanted(), started, time.perf_counter() - started)

    def _segment(self, pipeline: Pipeline, jobs: Sequence[_Job]) -> list[tuple[_Job, PanopticSegmentation]]:
        """Run the jobs as one batch; where that fails, in parts, so that a frame is lost only by its own fault."""
        from panoptic_ros.pipeline import OutOfMemory  # here, because torch takes seconds to import

        confidence = any("confidence" in job.wanted for job in jobs)
        out_of_memory = False
        try:
            return list(zip(jobs, pipeline([job.image for job in jobs], confidence), strict=True))
        except OutOfMemory as error:
            out_of_memory = True
            self._tell_memory(jobs, error)
        except Exception as error:  # a frame that breaks the network must cost neither the others nor the node
            if len(jobs) == 1:
                camera = jobs[0].channel.camera
                camera.statistics.dropped(Drop.FAILED)
                text = f"a frame of {camera.image_topic} could not be segmented: {error}"
                self._reports.exception(("failed", camera.name), text, error)
                return []
        if not out_of_memory:
            return [result for job in jobs for result in self._segment(pipeline, [job])]
        _empty_cache()  # only now: the error, while it was at hand, kept tensors alive
        half = len(jobs) // 2
        if half == 0:
            jobs[0].channel.camera.statistics.dropped(Drop.MEMORY)
            return []
        self._limit = (pipeline, half)
        return self._segment(pipeline, jobs[:half]) + self._segment(pipeline, jobs[half:])

    def _tell_memory(self, jobs: Sequence[_Job], error: Exception) -> None:
        if len(jobs) > 1:
            remedy = f"going on with at most {len(jobs) // 2} frames at once"
        else:
            remedy = "the frame is dropped; choose a smaller model, precision fp16, or another device"
        self._reports.error("memory", f"{error}: {remedy}")

    def _batch_size(self, pipeline: Pipeline, settings: Settings) -> int:
        # A CPU computes two frames no faster together than one after the other, and the first of them would wait.
        batch = settings.batch or (_CPU_BATCH if str(pipeline.device) == "cpu" else _GPU_BATCH)
        if self._limit is not None and self._limit[0] is pipeline:
            return min(batch, self._limit[1])
        return batch

    def _publish(self, pipeline: Pipeline, settings: Settings, job: _Job, segmentation: PanopticSegmentation) -> None:
        started = time.perf_counter()
        camera, outputs = job.channel.camera, job.channel.outputs
        try:
            info = self._info(job) if "camera_info" in job.wanted or self._grid is not None else None
            self._give_to_grid(job, segmentation, info)
            outputs.publish(
                job.wanted,
                job.frame.message.header,
                job.image,
                segmentation,
                pipeline.labels,
                info,
                lambda error: self._tell_misfit(camera, error),
                settings,
            )
        except Exception as error:  # what cannot be published is this frame's loss; the next one may be fine
            camera.statistics.dropped(Drop.FAILED)
            text = f"the result of a frame of {camera.image_topic} could not be published: {error}"
            self._reports.exception(("publish", camera.name), text, error)
            return
        ended = time.perf_counter()
        camera.statistics.processed(camera.age(job.frame.stamp), ended - job.started, job.own + ended - started)

    def _give_to_grid(self, job: _Job, segmentation: PanopticSegmentation, info: CameraInfo | None) -> None:
        source = job.channel.source
        if self._grid is None or source is None:
            return
        if info is not None:
            self._grid.take_info(source, info)
        self._grid.take_view(source, job.frame.message.header, segmentation)

    def _info(self, job: _Job) -> CameraInfo | None:
        """The frame's CameraInfo, or None where there is none, which is said."""
        camera = job.channel.camera
        info = camera.info_for(job.frame)
        if info is None:
            text = f"no CameraInfo on {camera.info_topic}: camera_info is not published (see camera_info_topic)"
            self._reports.once(("no info", camera.name), text)
        return info

    def _tell_misfit(self, camera: Camera, error: ImageError) -> None:
        text = f"CameraInfo on {camera.info_topic} does not fit {camera.image_topic}: {error}: it is not published"
        self._reports.error(("info", camera.name), text)


def _empty_cache() -> None:
    """Give torch's cached GPU memory back, so that a smaller batch finds it in one piece."""
    import torch  # here, because torch takes seconds to import

    torch.cuda.empty_cache()
