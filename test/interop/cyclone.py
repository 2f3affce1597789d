"""CycloneDDS as a stranger on the network: the messages by their definitions in IDL, and a camera and listeners.

Nothing here comes from ROS or from this package: what it understands is what any DDS implementation would.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# As ROS does where discovery is limited to this computer: the loopback interface, and unicast to the well-known ports.
os.environ["CYCLONEDDS_URI"] = """
<CycloneDDS><Domain Id="any">
  <General>
    <Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
    <AllowMulticast>false</AllowMulticast>
  </General>
  <Discovery>
    <ParticipantIndex>auto</ParticipantIndex>
    <MaxAutoParticipantIndex>32</MaxAutoParticipantIndex>
    <Peers><Peer Address="127.0.0.1"/></Peers>
  </Discovery>
</Domain></CycloneDDS>
"""

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import array, float32, float64, int32, sequence, uint8, uint16, uint32
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@dataclass
@final
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
@final
class CompressedImage(IdlStruct, typename="sensor_msgs::msg::dds_::CompressedImage_"):
    header: Header
    format: str
    data: sequence[uint8]


@dataclass
@final
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    x: float64
    y: float64
    z: float64


@dataclass
@final
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    x: float64
    y: float64
    z: float64
    w: float64


@dataclass
@final
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    position: Point
    orientation: Quaternion


@dataclass
@final
class PoseWithCovariance(IdlStruct, typename="geometry_msgs::msg::dds_::PoseWithCovariance_"):
    pose: Pose
    covariance: array[float64, 36]


@dataclass
@final
class ObjectHypothesis(IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesis_"):
    class_id: str
    score: float64


@dataclass
@final
class ObjectHypothesisWithPose(IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesisWithPose_"):
    hypothesis: ObjectHypothesis
    pose: PoseWithCovariance


@dataclass
@final
class Point2D(IdlStruct, typename="vision_msgs::msg::dds_::Point2D_"):
    x: float64
    y: float64


@dataclass
@final
class Pose2D(IdlStruct, typename="vision_msgs::msg::dds_::Pose2D_"):
    position: Point2D
    theta: float64


@dataclass
@final
class BoundingBox2D(IdlStruct, typename="vision_msgs::msg::dds_::BoundingBox2D_"):
    center: Pose2D
    size_x: float64
    size_y: float64


@dataclass
@final
class Detection2D(IdlStruct, typename="vision_msgs::msg::dds_::Detection2D_"):
    header: Header
    results: sequence[ObjectHypothesisWithPose]
    bbox: BoundingBox2D
    id: str


@dataclass
@final
class Detection2DArray(IdlStruct, typename="vision_msgs::msg::dds_::Detection2DArray_"):
    header: Header
    detections: sequence[Detection2D]


@dataclass
@final
class VisionClass(IdlStruct, typename="vision_msgs::msg::dds_::VisionClass_"):
    class_id: uint16
    class_name: str


@dataclass
@final
class LabelInfo(IdlStruct, typename="vision_msgs::msg::dds_::LabelInfo_"):
    header: Header
    class_map: sequence[VisionClass]
    threshold: float32


class Stranger:
    """A DDS participant that is not ROS's; topics are named as ROS names them."""

    def __init__(self, domain: int) -> None:
        self._participant = DomainParticipant(domain)
        self._readers: list[tuple[DataReader, list[Any]]] = []

    def listen(self, kind: type, name: str, *, latched: bool = False) -> list[Any]:
        """The messages that arrive on the topic, in a list that grows while `until` runs."""
        durability = Policy.Durability.TransientLocal if latched else Policy.Durability.Volatile
        received: list[Any] = []
        qos = Qos(durability) + _reliable(20)
        self._readers.append((DataReader(self._participant, self._topic(kind, name), qos), received))
        return received

    def writer(self, kind: type, name: str) -> DataWriter:
        return DataWriter(self._participant, self._topic(kind, name), _reliable(5))

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 15.0) -> Any:
        """Take what arrives until the condition holds; returns its value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
            time.sleep(0.01)
            self.take()
        return value

    def take(self) -> None:
        """Take what has arrived."""
        for reader, received in self._readers:
            received += (sample for sample in reader.take(N=20) if hasattr(sample, "header"))

    def _topic(self, kind: type, name: str) -> Topic:
        return Topic(self._participant, f"rt{name}", kind, Qos(_CDR))


# ROS 2 sends the encoding of before XTypes.
_CDR = Policy.DataRepresentation(use_cdrv0_representation=True)


def _reliable(depth: int) -> Qos:
    return Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(depth), _CDR)
