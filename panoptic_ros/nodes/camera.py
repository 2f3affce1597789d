"""One camera of the node: its subscription, and the one frame of it that waits for the network.

A newer frame takes the place of the waiting one, so nothing queues up; every frame that is lost is counted with its
reason.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble's name of the module
    from rclpy.qos_event import SubscriptionEventCallbacks

from panoptic_ros.encodings import ImageError
from panoptic_ros.messages import NANOSECONDS, check_image, nanoseconds
from panoptic_ros.messages.topics import COMPRESSED_IMAGE, IMAGE, info_topic_of
from panoptic_ros.nodes.parameters import CameraTopics, Settings
from panoptic_ros.nodes.reports import Reports, kind_of
from panoptic_ros.nodes.statistics import CameraStatistics, Drop
from panoptic_ros.nodes.topic_watch import explain_silence, incompatibilities, published_type

TIME_JUMP = 1.0
"""Seconds that a stamp must go back before it counts as a jump of time: more than any reordering on the way."""

_CLOCK_TOLERANCE = 0.1  # seconds a stamp may lie ahead: simulated time moves in steps, clocks of two hosts differ
_TYPE_PATIENCE = 0.3  # seconds of silence after which the type of the topic is looked at again
_SILENCE_REPEAT = 30.0  # seconds between two lines about one silent topic
_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage}


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """An image that arrived.

    Attributes
    ----------
    message:
        sensor_msgs Image or CompressedImage.
    stamp:
        Its stamp in nanoseconds; 0 is none.
    """

    message: Any
    stamp: int


class Camera:
    """Receives one camera's images and holds the newest.

    Callbacks of the executor put frames in; the worker's thread takes them out.  What both touch is guarded by
    `condition`, which is the worker's and shared by all cameras, so that a new frame wakes it.

    Parameters
    ----------
    node:
        The node that subscribes.
    name:
        The camera's name; '' for the single camera without one.
    topics:
        Where its images come from.
    settings:
        Gives the node's settings of this moment.
    condition:
        Notified when a frame waits.
    reports:
        Where its troubles are said.

    Raises
    ------
    InvalidTopicNameException
        If a topic's name is not one.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        topics: CameraTopics,
        settings: Callable[[], Settings],
        condition: threading.Condition,
        reports: Reports,
    ) -> None:
        info_topic = topics.camera_info_topic or info_topic_of(topics.image_topic)
        validate_topic_name(topics.image_topic)
        validate_topic_name(info_topic)
        self.name = name
        self.image_topic = node.resolve_topic_name(topics.image_topic)
        self.info_topic = node.resolve_topic_name(info_topic)
        self.statistics = CameraStatistics()
        self._node = node
        self._transport = topics.transport
        self._settings = settings
        self._condition = condition
        self._reports = reports
        self._waiting: WaitingImage | None = None
        self._slot = -math.inf  # steady time that the last frame counts as accepted at, for max_rate
        self._last_stamp = 0  # of the last good frame
        self._infos: deque[CameraInfo] = deque(maxlen=8)  # infos and images of one exposure arrive in any order
        self._subscription: Subscription | None = None
        self._info_subscription: Subscription | None = None
        self._type = IMAGE

    @property
    def subscribed(self) -> bool:
        return self._subscription is not None

    @property
    def title(self) -> str:
        """What messages to people call it."""
        return f"camera {self.name} ({self.image_topic})" if self.name else self.image_topic

    # --- the executor's side

    def subscribe(self) -> None:
        """Listen to the images.

        Raises
        ------
        RuntimeError, InvalidQosOverridesError, InvalidParameterTypeException
            If the QoS overrides of the topic are not what they should be.
        """
        self._type = self._expected_type()
        self._subscription = self._node.create_subscription(
            _TYPES[self._type],
            self.image_topic,
            self._on_image,
            _sensor_qos(),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.statistics.listen()

    def unsubscribe(self) -> None:
        """Stop listening, to images and infos; a frame that waits still goes through."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        self.want_info(False)

    def want_info(self, wanted: bool) -> None:
        """Listen to the camera's CameraInfo, or do not."""
        if wanted and self._info_subscription is None:
            self._info_subscription = self._node.create_subscription(
                CameraInfo,
                self.info_topic,
                self._on_info,
                _sensor_qos(depth=5),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        elif not wanted and self._info_subscription is not None:
            self._node.destroy_subscription(self._info_subscription)
            self._info_subscription = None
            self._infos.clear()

    def watch(self) -> str:
        """Look after the subscription; returns why no image has come for `silence_timeout`, '' while all is well."""
        if self._subscription is None:
            return ""
        silence = self.statistics.silence()
        subject = ("silence", self.name)
        if silence < _TYPE_PATIENCE:
            self._reports.forget(subject)
            return ""
        if self._expected_type() != self._type:  # the publisher that appeared after the subscription sends the other
            # The next look subscribes anew: a topic cannot change its type before its old subscription is gone.
            self.unsubscribe()
            return ""
        if silence < self._settings().silence_timeout:
            return ""
        reason = explain_silence(self._node, self.image_topic, self._type, self._subscription.qos_profile)
        text = f"no image on {self.image_topic} for {silence:.0f} s: {reason}"
        self._reports.warning(subject, text, _SILENCE_REPEAT)
        return text

    def _expected_type(self) -> str:
        if self._transport == "raw":
            return IMAGE
        if self._transport == "compressed":
            return COMPRESSED_IMAGE
        fallback = COMPRESSED_IMAGE if self.image_topic.endswith("/compressed") else self._type
        return published_type(self._node, self.image_topic) or fallback

    def _on_incompatible(self, _event: Any) -> None:
        assert self._subscription is not None
        for sentence in incompatibilities(self._node, self.image_topic, self._subscription.qos_profile):
            self._reports.warning(("qos", sentence), sentence, _SILENCE_REPEAT)

    def _on_image(self, message: Any) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.statistics.received(self.age(stamp))
        try:
            check_image(message)
        except ImageError as error:  # said now, because a broken image must not take the place of a good one
            self.refuse(error)
            return
        with self._condition:
            if self._last_stamp - stamp > TIME_JUMP * NANOSECONDS and stamp:
                self._jump_back(stamp)
            if self._is_early():
                self.statistics.dropped(Drop.RATE)
                return
            if self._waiting is not None:
                self.statistics.dropped(Drop.SUPERSEDED)
            self._waiting = WaitingImage(message, stamp)
            self._condition.notify_all()

    def refuse(self, error: ImageError) -> None:
        """Count and say an image that is broken."""
        self.statistics.dropped(Drop.BAD)
        self._reports.error(("bad", self.name, kind_of(str(error))), f"bad image on {self.image_topic}: {error}")

    def _on_info(self, info: CameraInfo) -> None:
        self._infos.append(info)

    def _is_early(self) -> bool:
        """Whether max_rate drops a frame that arrives now.

        A frame counts as accepted when it was due, so that jitter does not cost frames, and at most half a period ago,
        so that frames do not bunch after a pause.  What is kept is that time and not when the next frame is due: the
        rate may change meanwhile.
        """
        rate = self._settings().max_rate
        if rate <= 0:
            return False
        now = time.monotonic()
        due = self._slot + 1 / rate
        if now < due:
            return True
        self._slot = max(due, now - 0.5 / rate)
        return False

    def _jump_back(self, stamp: int) -> None:
        back = (self._last_stamp - stamp) / NANOSECONDS
        self._reports.warning(
            ("jump", self.name), f"time jumped back by {back:.1f} s on {self.image_topic} (a bag that loops?); going on"
        )
        self._last_stamp = 0
        self._slot = -math.inf
        self._infos.clear()
        self.statistics.forget_ages()

    # --- the worker's side

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits; hold the condition."""
        return self._waiting is not None

    def take(self) -> WaitingImage | None:
        """The waiting frame, which then waits no more; hold the condition."""
        frame, self._waiting = self._waiting, None
        return frame

    def drop_waiting(self) -> None:
        """Count the waiting frame as lost to a stop; hold the condition."""
        if self.take() is not None:
            self.statistics.dropped(Drop.STOPPED)

    def is_too_old(self, frame: WaitingImage) -> bool:
        """Whether max_age drops the frame now."""
        limit = self._settings().max_age
        age = self.age(frame.stamp)
        if limit <= 0 or age is None or age <= limit:
            return False
        hint = "; with a bag, play it with --clock and set use_sim_time" if age > 3600 else ""
        self._reports.warning(
            ("old", self.name), f"frames on {self.image_topic} are {age:.2f} s old, max_age is {limit:g} s{hint}"
        )
        return True

    def accept(self, frame: WaitingImage) -> None:
        """The frame was good: later stamps are compared with its stamp, which a broken message must not decide."""
        self._last_stamp = frame.stamp or self._last_stamp

    def info_for(self, frame: WaitingImage) -> CameraInfo | None:
        """The CameraInfo with the frame's stamp, or the latest, or None."""
        infos = list(self._infos)
        same = (info for info in infos if info.header.stamp == frame.message.header.stamp)
        return next(same, infos[-1] if infos else None)

    def age(self, stamp: int) -> float | None:
        """Seconds since the stamp by the node's clock; None, and said, where the stamp is 0 or in the future."""
        if stamp == 0:
            self._reports.once(("stamp", self.name), f"images on {self.image_topic} have no stamp: no ages can be told")
            return None
        age: float = (self._node.get_clock().now().nanoseconds - stamp) / NANOSECONDS
        if age < -_CLOCK_TOLERANCE:
            self._reports.warning(
                ("future", self.name),
                f"images on {self.image_topic} are stamped {-age:.1f} s in the future: are the clocks of the camera "
                "and of this computer in step, is use_sim_time right, and is /clock published?",
            )
            return None
        return max(age, 0.0)


def _sensor_qos(depth: int = 1) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
