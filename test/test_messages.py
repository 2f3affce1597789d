"""Messages of both kinds, rclpy's and rosbags', against literal readings of what the message definitions say."""

from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_ros import messages
from panoptic_ros.encodings import ImageError
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes, MessageTypes, RosMessageTypes
from panoptic_ros.segmentation import PanopticSegmentation, Segment

LABELS = LabelSet.load("cityscapes")
CAR, PERSON, ROAD, SKY = 26, 24, 7, 23
STAMP = 1_700_000_000_123_456_789


@pytest.fixture(scope="module", params=["rclpy", "rosbags"])
def types(request: pytest.FixtureRequest) -> MessageTypes:
    if request.param == "rosbags":
        return BagMessageTypes()
    ros = RosMessageTypes()
    for name in ("sensor_msgs/msg/Image", "vision_msgs/msg/LabelInfo"):
        if not ros.has(name):
            pytest.skip(f"needs the ROS message {name}, which is not installed")
    return ros


@pytest.fixture
def header(types: MessageTypes) -> Any:
    return messages.make_header(types, STAMP, "camera_optical")


@pytest.fixture
def segmentation() -> PanopticSegmentation:
    """6 x 8: sky over road, two cars and a person, and a void corner."""
    ids = np.full((6, 8), ROAD * 1000, dtype=np.int32)
    ids[:2] = SKY * 1000
    ids[2:5, 1:3] = CAR * 1000 + 1
    ids[3, 5:8] = PERSON * 1000 + 2
    ids[5, 3] = CAR * 1000 + 999
    ids[0, 0] = 0
    scores = {CAR * 1000 + 1: 0.9, PERSON * 1000 + 2: 0.625, CAR * 1000 + 999: 0.3}
    value = PanopticSegmentation.from_ids(ids, LABELS.thing_ids, scores)
    confidence = np.arange(48, dtype=np.uint8).reshape(6, 8)
    return PanopticSegmentation(value.ids, value.segments, confidence)


def _pixels(message: Any, dtype: str) -> NDArray[Any]:
    """Read a single-channel image as RViz does: by its step."""
    data = bytes(message.data)
    assert len(data) == message.step * message.height
    rows = [data[y * message.step :][: message.width * np.dtype(dtype).itemsize] for y in range(message.height)]
    return np.array([np.frombuffer(row, dtype) for row in rows])


def test_header_from_nanoseconds_and_from_a_stamp(types: MessageTypes, header: Any) -> None:
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (1_700_000_000, 123_456_789, "camera_optical")
    again = messages.make_header(types, header.stamp, "other")
    assert (again.stamp, again.frame_id) == (header.stamp, "other")


@pytest.mark.parametrize(
    ("function", "encoding", "dtype", "step", "of"),
    [
        (messages.panoptic_image, "32SC1", "i4", 32, lambda id_: id_),
        (messages.semantic_image, "mono8", "u1", 8, lambda id_: id_ // 1000),
        (messages.instance_image, "16UC1", "u2", 16, lambda id_: id_ % 1000),
    ],
)
def test_maps(
    types: MessageTypes, header: Any, segmentation: PanopticSegmentation, function, encoding, dtype, step, of
) -> None:
    message = function(types, header, segmentation)
    assert (message.encoding, message.height, message.width, message.step) == (encoding, 6, 8, step)
    assert message.header is header
    expected = [[of(int(id_)) for id_ in row] for row in segmentation.ids]
    assert _pixels(message, dtype).tolist() == expected


def test_maps_of_every_id(types: MessageTypes, header: Any) -> None:
    ids = np.arange(256_000, dtype=np.int32).reshape(256, 1000)
    value = PanopticSegmentation(ids, ())
    assert (_pixels(messages.semantic_image(types, header, value), "u1") == np.arange(256)[:, None]).all()
    assert (_pixels(messages.instance_image(types, header, value), "u2") == np.arange(1000)).all()


def test_maps_of_a_view_with_gaps(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> None:
    cut = PanopticSegmentation(segmentation.ids[:, 1:7], segmentation.segments)
    for function, dtype, divisor in ((messages.panoptic_image, "i4", 1), (messages.semantic_image, "u1", 1000)):
        assert (_pixels(function(types, header, cut), dtype) == segmentation.ids[:, 1:7] // divisor).all()
    assert (_pixels(messages.instance_image(types, header, cut), "u2") == segmentation.ids[:, 1:7] % 1000).all()


def test_confidence(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> None:
    message = messages.confidence_image(types, header, segmentation)
    assert message.encoding == "mono8"
    np.testing.assert_array_equal(_pixels(message, "u1"), segmentation.confidence)
    with pytest.raises(ValueError, match="no confidence"):
        messages.confidence_image(types, header, PanopticSegmentation(segmentation.ids, segmentation.segments))


def test_pictures_there_and_back(types: MessageTypes, header: Any) -> None:
    y, x = np.mgrid[0:40, 0:60]
    picture = np.stack((4 * x, 5 * y, 2 * (x + y)), axis=2).astype(np.uint8)
    plain = messages.bgr_image(types, header, picture)
    assert (plain.encoding, plain.step, plain.header) == ("bgr8", 180, header)
    np.testing.assert_array_equal(messages.image_to_bgr(plain), picture)
    np.testing.assert_array_equal(
        messages.image_to_bgr(messages.bgr_image(types, header, picture[:, 5:50])), picture[:, 5:50]
    )
    sizes = []
    for quality in (30, 95):
        packed = messages.compressed_image(types, header, picture, quality)
        assert (packed.format, packed.header) == ("bgr8; jpeg compressed bgr8", header)
        assert np.abs(messages.image_to_bgr(packed).astype(int) - picture).mean() < 6
        sizes.append(len(packed.data))
    assert sizes[0] < sizes[1]


def test_an_empty_picture_cannot_be_a_jpeg(types: MessageTypes, header: Any) -> None:
    with pytest.raises(ImageError, match=r"\(0, 5, 3\) cannot be written as JPEG"):
        messages.compressed_image(types, header, np.zeros((0, 5, 3), np.uint8))


def test_instances(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> None:
    message = messages.instances(types, header, segmentation, LABELS)
    assert message.header is header
    pixels = _pixels(messages.instance_image(types, header, segmentation), "u2")
    found = {}
    for detection in message.detections:
        assert detection.header is header
        (result,) = detection.results
        assert result.pose.pose.orientation.w == 1.0  # as ROS initialises it
        assert len(result.pose.covariance) == 36
        center = detection.bbox.center
        assert center.theta == 0.0
        rows, columns = np.nonzero(pixels == int(detection.id))
        assert center.position.x - detection.bbox.size_x / 2 == columns.min()
        assert center.position.x + detection.bbox.size_x / 2 == columns.max() + 1
        assert center.position.y - detection.bbox.size_y / 2 == rows.min()
        assert center.position.y + detection.bbox.size_y / 2 == rows.max() + 1
        found[detection.id] = (result.hypothesis.class_id, result.hypothesis.score)
    assert found == {"1": ("car", 0.9), "2": ("person", 0.625), "999": ("car", 0.3)}


def test_a_frame_without_things_has_no_instances(types: MessageTypes, header: Any) -> None:
    value = PanopticSegmentation.from_ids(np.zeros((2, 2), np.int32), LABELS.thing_ids)
    assert len(messages.instances(types, header, value, LABELS).detections) == 0


def test_label_info_names_every_id_and_void(types: MessageTypes, header: Any) -> None:
    message = messages.label_info(types, header, LABELS)
    meanings = {entry.class_id: entry.class_name for entry in message.class_map}
    assert meanings == {0: "void", **{label.id: label.name for label in LABELS.labels}}
    assert message.threshold == 0.0
    assert message.header is header


def test_a_segmentation_comes_back_as_it_was(
    types: MessageTypes, header: Any, segmentation: PanopticSegmentation
) -> None:
    panoptic = messages.panoptic_image(types, header, segmentation)
    detections = messages.instances(types, header, segmentation, LABELS)
    value = messages.segmentation_from_messages(panoptic, detections, LABELS)
    np.testing.assert_array_equal(value.ids, segmentation.ids)
    assert value.segments == segmentation.segments
    scoreless = messages.segmentation_from_messages(panoptic, None, LABELS)
    assert {segment.score for segment in scoreless.segments} == {1.0}


def test_a_segmentation_of_another_machine_comes_back(types: MessageTypes, header: Any) -> None:
    """Big-endian, with padded rows."""
    ids = np.array([[0, 7000, 26001], [26001, 7000, 7000]], dtype=np.int32)
    data = b"".join(row.astype(">i4").tobytes() + b"\xee" * 6 for row in ids)
    image = types.make(
        "sensor_msgs/msg/Image",
        header=header,
        height=2,
        width=3,
        encoding="32SC1",
        is_bigendian=1,
        step=18,
        data=np.frombuffer(data, np.uint8),
    )
    value = messages.segmentation_from_messages(image, None, LABELS)
    np.testing.assert_array_equal(value.ids, ids)
    assert value.segments[1] == Segment(26001, CAR, True, 1.0, 2, (0, 0, 3, 2), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoding": "mono8"}, "encoding is 'mono8', expected 32SC1"),
        ({"step": 31}, "step 31 and 192 bytes"),
        ({"height": 7}, "8x7 32SC1"),
    ],
)
def test_what_is_no_panoptic_image(
    types: MessageTypes, header: Any, segmentation: PanopticSegmentation, change: dict[str, Any], said: str
) -> None:
    message = messages.panoptic_image(types, header, segmentation)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=said):
        messages.segmentation_from_messages(message, None, LABELS)


def test_detections_that_do_not_belong(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> None:
    panoptic = messages.panoptic_image(types, header, segmentation)
    later = messages.make_header(types, STAMP + 1, "camera_optical")
    with pytest.raises(ValueError, match=r"of 1700000000\.123456790 s, the image of 1700000000\.123456789 s"):
        messages.segmentation_from_messages(panoptic, messages.instances(types, later, segmentation, LABELS), LABELS)
    for spoil in (
        lambda detection: setattr(detection.results[0].hypothesis, "class_id", "zebra"),
        lambda detection: setattr(detection, "id", "track-5"),
        lambda detection: setattr(detection, "results", []),
    ):
        detections = messages.instances(types, header, segmentation, LABELS)
        spoil(detections.detections[1])
        with pytest.raises(ValueError, match="expected a number for its id and one class of cityscapes"):
            messages.segmentation_from_messages(panoptic, detections, LABELS)


def test_misspelt_fields_and_unknown_types_are_refused(types: MessageTypes, header: Any) -> None:
    with pytest.raises(TypeError, match=r"sensor_msgs/msg/Image has no field heigth; it has .*height"):
        types.make("sensor_msgs/msg/Image", header=header, heigth=3)
    assert types.has("sensor_msgs/msg/Image")
    assert not types.has("sensor_msgs/msg/Photograph")
    assert not types.has("absent_msgs/msg/Image")
    with pytest.raises((ImportError, KeyError)):
        types.make("sensor_msgs/msg/Photograph")


def test_both_kinds_serialise_to_the_same_bytes(segmentation: PanopticSegmentation) -> None:
    """The definitions that bags use are those that rclpy's type support was compiled from."""
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy, which is not installed")
    bags, ros = BagMessageTypes(), RosMessageTypes()
    info = {"k": np.arange(9.0), "r": np.eye(3).reshape(-1), "p": np.arange(12.0), "d": np.array([0.1, 0.2])}

    def every(types: MessageTypes) -> dict[str, Any]:
        header = messages.make_header(types, STAMP, "camera_optical")
        picture = np.zeros((4, 4, 3), np.uint8)
        camera = types.make("sensor_msgs/msg/CameraInfo", header=header, width=8, height=6, **info)
        return {
            "sensor_msgs/msg/Image": messages.panoptic_image(types, header, segmentation),
            "sensor_msgs/msg/CompressedImage": messages.compressed_image(types, header, picture),
            "sensor_msgs/msg/CameraInfo": messages.camera_info(types, header, camera, 8, 6),
            "vision_msgs/msg/Detection2DArray": messages.instances(types, header, segmentation, LABELS),
            "vision_msgs/msg/LabelInfo": messages.label_info(types, header, LABELS),
        }

    if not ros.has("vision_msgs/msg/LabelInfo"):
        pytest.skip("needs vision_msgs for rclpy, which is not installed")
    live = every(ros)
    for name, message in every(bags).items():
        theirs = serialization.serialize_message(live[name])
        # What pads a string or the end up to its alignment is anybody's; the values and their places are not.
        again = bags.store.deserialize_cdr(theirs, name)
        assert bytes(bags.store.serialize_cdr(again, name)) == bytes(bags.store.serialize_cdr(message, name)), name


K = [1000.0, 2.0, 640.0, 0.0, 900.0, 360.0, 0.0, 0.0, 1.0]
P = [1010.0, 0.0, 641.0, -50.0, 0.0, 910.0, 361.0, 4.0, 0.0, 0.0, 1.0, 0.0]


def _info(types: MessageTypes, width: int = 1280, height: int = 720, **fields: Any) -> Any:
    roi = types.make("sensor_msgs/msg/RegionOfInterest", **fields.pop("roi", {}))
    return types.make(
        "sensor_msgs/msg/CameraInfo",
        header=messages.make_header(types, 5, "other"),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=np.array([0.1, -0.2, 0.0, 0.01, 0.0]),
        k=np.array(fields.pop("k", K)),
        r=np.eye(3).reshape(-1),
        p=np.array(fields.pop("p", P)),
        roi=roi,
        **fields,
    )


def _project(p: Any, point: tuple[float, float, float]) -> tuple[float, float]:
    u, v, w = np.asarray(p).reshape(3, 4) @ np.array([*point, 1.0])
    return float(u / w), float(v / w)


def test_camera_info_of_the_same_size_is_kept(types: MessageTypes, header: Any) -> None:
    message = messages.camera_info(types, header, _info(types), 1280, 720)
    assert message.header is header
    assert (message.width, message.height, message.distortion_model) == (1280, 720, "plumb_bob")
    assert (list(message.k), list(message.p)) == (K, P)
    assert list(message.d) == [0.1, -0.2, 0.0, 0.01, 0.0]
    assert list(message.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_camera_info_of_a_region_and_binning_is_kept(types: MessageTypes, header: Any) -> None:
    roi = {"x_offset": 100, "y_offset": 50, "width": 801, "height": 400, "do_rectify": True}
    message = messages.camera_info(types, header, _info(types, roi=roi, binning_x=2, binning_y=2), 400, 200)
    assert (message.width, message.height, message.binning_x, message.binning_y) == (1280, 720, 2, 2)
    assert {name: getattr(message.roi, name) for name in roi} == roi
    assert (list(message.k), list(message.p)) == (K, P)


@pytest.mark.parametrize(("size", "scale"), [((640, 360), 0.5), ((1920, 1080), 1.5), ((427, 240), 1 / 3)])
def test_camera_info_of_a_resized_image(types: MessageTypes, header: Any, size: tuple[int, int], scale: float) -> None:
    message = messages.camera_info(types, header, _info(types), *size)
    assert (message.width, message.height) == size
    point = (0.3, -0.2, 2.5)
    u, v = _project(P, point)
    assert _project(message.p, point) == pytest.approx((u * size[0] / 1280, v * size[1] / 720))
    assert _project(message.p, point) == pytest.approx((u * scale, v * scale), rel=2e-3)
    np.testing.assert_allclose(np.asarray(message.k)[6:], [0, 0, 1])
    assert message.k[0] == pytest.approx(1000 * size[0] / 1280)
    assert message.k[1] == pytest.approx(2 * size[0] / 1280)
    assert message.k[5] == pytest.approx(360 * size[1] / 720)
    assert list(message.d) == [0.1, -0.2, 0.0, 0.01, 0.0]


def test_camera_info_of_a_resized_region(types: MessageTypes, header: Any) -> None:
    """A region of 800 x 400, binned to 400 x 200 and then resized to 100 x 50: an eighth in all."""
    roi = {"x_offset": 100, "y_offset": 50, "width": 800, "height": 400}
    message = messages.camera_info(types, header, _info(types, roi=roi, binning_x=2, binning_y=2), 100, 50)
    assert (message.width, message.height, message.binning_x, message.roi.width) == (100, 50, 0, 0)
    point = (0.3, -0.2, 2.5)
    u, v = _project(P, point)
    assert _project(message.p, point) == pytest.approx(((u - 100) / 8, (v - 50) / 8))


def test_camera_info_without_calibration_stays_without(types: MessageTypes, header: Any) -> None:
    roi = {"x_offset": 100, "y_offset": 50, "width": 800, "height": 400}
    message = messages.camera_info(types, header, _info(types, roi=roi, k=[0.0] * 9, p=[0.0] * 12), 400, 200)
    assert not any(message.k)
    assert not any(message.p)


@pytest.mark.parametrize(
    ("info", "size", "said"),
    [
        ({}, (1280, 960), "for 1280x720 images .* expected 1280x960 or the same shape"),
        ({}, (640, 400), "for 1280x720 images"),
        ({"roi": {"width": 600, "height": 600}}, (1280, 720), "for 600x600 images"),
        ({"binning_x": 2}, (1280, 720), "for 640x720 images"),
        ({"width": 0, "height": 0}, (1280, 720), "says 0x0, expected a size to match 1280x720"),
    ],
)
def test_camera_info_of_another_camera(
    types: MessageTypes, header: Any, info: dict[str, Any], size: tuple[int, int], said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        messages.camera_info(types, header, _info(types, **info), *size)


def test_camera_info_of_ros_1(header: Any) -> None:
    """Its matrices have capital names."""
    rosbags = pytest.importorskip("rosbags.typesys")
    ros1 = rosbags.get_typestore(rosbags.Stores.ROS1_NOETIC)
    types = BagMessageTypes()
    info = ros1.types["sensor_msgs/msg/CameraInfo"](
        header=None,
        height=720,
        width=1280,
        distortion_model="plumb_bob",
        D=np.zeros(5),
        K=np.array(K),
        R=np.eye(3).reshape(-1),
        P=np.array(P),
        binning_x=0,
        binning_y=0,
        roi=types.make("sensor_msgs/msg/RegionOfInterest"),
    )
    message = messages.camera_info(types, header, info, 640, 360)
    assert message.k[0] == 500.0
    assert message.p[2] == 320.5


def test_ros_messages_are_filled_the_fast_way() -> None:
    """The setters of rclpy copy any other type element by element, a hundred times slower."""
    types = RosMessageTypes()
    if not types.has("sensor_msgs/msg/Image"):
        pytest.skip("needs sensor_msgs, which is not installed")
    picture = np.zeros((4, 5, 3), np.uint8)
    header = messages.make_header(types, 0, "")
    assert isinstance(messages.bgr_image(types, header, picture)._data, array)
    assert isinstance(messages.compressed_image(types, header, picture)._data, array)


def test_image_to_bgr_reads_what_cv2_wrote(types: MessageTypes, header: Any) -> None:
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    message = types.make(
        "sensor_msgs/msg/Image", header=header, height=6, width=8, encoding="mono8", step=8, data=gray.reshape(-1)
    )
    np.testing.assert_array_equal(messages.image_to_bgr(message), cv2.merge((gray, gray, gray)))
    message.height = 7
    with pytest.raises(ImageError, match="data has 48 bytes, expected 56"):
        messages.image_to_bgr(message)
