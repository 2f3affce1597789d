"""What to make, as values that can be sent to other processes, and the making of one part of it.

A part (one street of a data set, one slice of a drive) depends on nothing but the plan and its number, so the result is
the same on any number of processes, and in a run that was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.recording import Message
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.annotation import as_annotated
from panoptic_training.synthetic.bag import DriveMessages
from panoptic_training.synthetic.datasets import FrameFiles, LabelledFrame, with_crowds
from panoptic_training.synthetic.drive import NANOSECONDS, Drive, random_numbers
from panoptic_training.synthetic.randomisation import varied_rig
from panoptic_training.synthetic.rig import Rig
from panoptic_training.synthetic.scene import Weather, World
from panoptic_training.synthetic.weather import RANDOM, random_weather

LABELS = "cityscapes"
SLICE = NANOSECONDS // 2
"""Time of a drive that is made at once, ns."""

MOMENT = 2.0
"""Seconds between two moments of a street in a data set, on average."""


def weather_of(seed: int, shares: Mapping[str, float]) -> Weather:
    """The weather of a street or drive."""
    return random_weather(np.random.default_rng([seed, 7]), shares)


class WorldMaker(Protocol):
    """`panoptic_training.synthetic.city.make_world`, or what takes its place."""

    def __call__(self, seed: int, duration: float, weather: Weather, density: float, variation: float) -> World: ...


@dataclass(frozen=True)
class DrivePlan:
    """One drive to record.

    Attributes
    ----------
    make_world, seed, weather, density:
        The world, how often which weather comes, and how much traffic there is in it.
    rig:
        The sensors.
    duration:
        Seconds.
    compressed:
        Images as JPEG.
    annotated:
        Whether cameras' labels are as people draw them, see `panoptic_training.synthetic.annotation`, or exact.
    """

    make_world: WorldMaker
    rig: Rig
    seed: int
    duration: float
    weather: Mapping[str, float] = field(default_factory=lambda: dict(RANDOM))
    density: float = 1.0
    compressed: bool = True
    annotated: bool = False

    @property
    def parts(self) -> int:
        """How many slices there are; what is ready at the very end of the drive is in a slice too."""
        return round(self.duration * NANOSECONDS) // SLICE + 1

    def maker(self, step: Callable[[], None]) -> Callable[[int], list[Message]]:
        """What makes a slice by its number: messages, serialised.  It calls `step` before each measurement."""
        world = self.make_world(self.seed, self.duration, weather_of(self.seed, self.weather), self.density, 0.0)
        drive = Drive(world, self.rig, self.seed, self.duration)
        types = BagMessageTypes()
        drive_messages = DriveMessages(types, self.rig, LabelSet.load(LABELS), self.compressed, self.annotated)

        def serialise(message: Message) -> Message:
            data: Any = types.store.serialize_cdr(message.content, message.kind)
            return message._replace(content=bytes(data))

        def make(part: int) -> list[Message]:
            drive.raycaster.forget()
            made = [] if part else [serialise(message) for message in drive_messages.first()]
            for sample in drive.samples(part * SLICE, (part + 1) * SLICE):
                step()
                made += [serialise(message) for message in drive_messages.of(sample)]
            return made

        return make


@dataclass(frozen=True)
class DatasetPlan:
    """Labelled images of many streets.

    Attributes
    ----------
    make_world, weather, density:
        The worlds, how often which weather comes, and how much traffic there is in them.
    rig:
        Whose cameras take the pictures.
    seed, split:
        What streets there are: another split has others.
    images, images_per_street:
        How many.
    variation:
        0 to 1: how far the streets' cameras and colours differ, see `panoptic_training.synthetic.randomisation`.
    minimum_height:
        Things of fewer pixels' height are crowds, see `with_crowds`.
    annotated:
        Whether labels are as people draw them, see `panoptic_training.synthetic.annotation`, or exact.
    """

    make_world: WorldMaker
    rig: Rig
    seed: int
    split: str
    images: int
    images_per_street: int = 10
    weather: Mapping[str, float] = field(default_factory=lambda: dict(RANDOM))
    density: float = 1.0
    variation: float = 0.0
    minimum_height: int = 0
    annotated: bool = True

    @property
    def parts(self) -> int:
        """How many streets there are."""
        return -(-self.images // self.images_per_street)

    def indices(self, street: int) -> range:
        """The numbers of the images of a street."""
        first = street * self.images_per_street
        return range(first, min(first + self.images_per_street, self.images))

    def street_seed(self, street: int) -> int:
        """What a street is made from."""
        return int(random_numbers(self.seed, f"street of {self.split}", street).integers(1 << 31))

    def maker(self, files: FrameFiles, step: Callable[[], None]) -> Callable[[int], int]:
        """What writes the images of a street that are not there yet and counts them; it calls `step` before each."""
        return lambda street: self._make(street, files, step)

    def _make(self, street: int, files: FrameFiles, step: Callable[[], None]) -> int:
        missing = [index for index in self.indices(street) if not files.has(index)]
        if not missing:
            return 0
        step()
        seed = self.street_seed(street)
        moments = -(-self.images_per_street // len(self.rig.cameras))
        duration = MOMENT * moments
        world = self.make_world(seed, duration, weather_of(seed, self.weather), self.density, self.variation)
        drive = Drive(world, varied_rig(self.rig, seed, self.variation), seed, duration)
        things = LabelSet.load(LABELS).thing_ids
        for index in missing:
            step()
            moment, number = divmod(index - self.indices(street)[0], len(self.rig.cameras))
            camera = drive.rig.cameras[number]
            share = random_numbers(seed, "moment", moment).uniform()  # the same moment for all cameras
            stamp = round((moment + share) * MOMENT * NANOSECONDS)
            drive.raycaster.forget()
            frame = drive.frame(camera, stamp, random_numbers(seed, camera.name, moment))
            ids = frame.ids
            if self.annotated:
                ids = as_annotated(ids, frame.depth, camera.lens.intrinsics.pixel_angle)
            seen = with_crowds(PanopticSegmentation.from_ids(ids, things), self.minimum_height)
            files.write(LabelledFrame(index, camera.name, street, moment, frame.image, seen))
        return len(missing)
