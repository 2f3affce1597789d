from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from node_harness import FakeSource, Ros
from rclpy.parameter import Parameter

from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.models.panoptic_fpn import PanopticFpnDecode
from panoptic_ros.nodes.grid_parameters import GridNodeSettings, PanopticGridSettings
from panoptic_ros.nodes.parameters import ParameterError, Settings

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("name", "section", "kind"),
    [
        ("panoptic_node", "", Settings),
        ("panoptic_node", "grid", PanopticGridSettings),
        ("semantic_grid_node", "", GridNodeSettings),
    ],
)
def test_the_yaml_file_holds_every_parameter_with_its_default_and_description(
    name: str, section: str, kind: type
) -> None:
    path = CONFIG / f"{name}.yaml"
    given = yaml.safe_load(path.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    given = given[section] if section else {key: value for key, value in given.items() if key != "grid"}
    table = dataclasses.fields(kind)
    assert list(given) == [field.name for field in table]
    for field in table:
        value = given[field.name]
        default = [""] if field.default == () else field.default
        assert value == default, field.name
        assert type(value) is type(default), field.name
        assert field.metadata["description"] in path.read_text(encoding="utf-8")


# What a model brings with it and may change at any time; its precision may not.
DECODE = [field for field in dataclasses.fields(Settings) if field.metadata["own"] and field.metadata["live"]]


def test_each_decode_option_has_a_parameter_and_by_default_is_the_models_own() -> None:
    shared = {field.name for field in dataclasses.fields(DecodeOptions)}
    assert {field.name for field in DECODE} == shared | {"overlap_threshold"}
    assert Settings().thresholds() == {}
    given = {"score_threshold": 0.0, "max_detections": 0, "uncovered_things": "stuff"}
    assert Settings(**given).thresholds() == given


@pytest.mark.parametrize("field", DECODE)
def test_the_decode_options_take_the_whole_range_of_their_parameters(field: dataclasses.Field) -> None:
    for value in field.metadata["choices"] or (field.metadata["low"], field.metadata["high"]):
        kind = PanopticFpnDecode if field.name == "overlap_threshold" else DecodeOptions
        assert getattr(kind(**{field.name: value}), field.name) == value


def test_descriptors_say_description_range_and_what_may_change(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    for field in dataclasses.fields(Settings):
        descriptor = node.describe_parameter(field.name)
        assert descriptor.description == field.metadata["description"]
        assert descriptor.read_only is not field.metadata["live"]
    score = node.describe_parameter("score_threshold").floating_point_range[0]
    assert (score.from_value, score.to_value) == (-1.0, 1.0)
    assert node.describe_parameter("precision").additional_constraints == "one of fp32, fp16, bf16, int8"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("score_threshold", 1.5, "Min: -1.0, Max: 1.0, value: 1.5"),
        ("score_threshold", -0.5, "expected a number from 0.0 to 1.0 or -1.0 (the model's own), got -0.5"),
        ("score_threshold", 2, "expected a number from 0.0 to 1.0 or -1.0 (the model's own), got 2"),
        ("score_threshold", "high", "expected a number from 0.0 to 1.0 or -1.0 (the model's own), got 'high'"),
        ("score_threshold", float("nan"), "nan"),
        ("score_threshold", True, "expected a number from 0.0 to 1.0 or -1.0 (the model's own), got True"),
        ("max_detections", 1000, "Min: -1, Max: 999, value: 1000"),
        ("uncovered_things", "sky", "expected one of void, stuff or '' (the model's own), got 'sky'"),
        ("lazy", 1, "Wrong parameter type"),
        ("device", "cpu", "read-only"),
        ("model", "missing", "missing.yaml: no such file; models that come with it: fake"),
        ("input_size", "640", "input_size 640: expected width and height as 640x384"),
        ("weights", "truncated.weights", "truncated.weights: 12 bytes, expected 34"),
    ],
)
def test_a_bad_value_is_refused_with_the_reason(
    ros: Ros, source: FakeSource, name: str, value: object, reason: str
) -> None:
    node = ros.start(source)
    before = node.get_parameter(name).value
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert reason in result.reason
    assert node.get_parameter(name).value == before


def test_a_bad_value_among_good_ones_changes_nothing(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    result = node.set_parameters_atomically(
        [Parameter("nms_threshold", value=0.9), Parameter("score_threshold", value="x")]
    )
    assert not result.successful
    assert node.settings.nms_threshold == -1.0
    assert node.get_parameter("nms_threshold").value == -1.0


def test_a_parameter_cannot_be_unset(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    assert not node.set_parameters([Parameter("score_threshold", Parameter.Type.NOT_SET)])[0].successful
    assert node.settings.score_threshold == -1.0


def test_an_integer_is_taken_for_a_number(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_rate=5)
    assert node.settings.max_rate == 5.0
    assert node.set_parameters([Parameter("score_threshold", value=1)])[0].successful
    assert node.settings.score_threshold == 1.0


def test_every_wrong_value_at_the_start_is_named(ros: Ros, source: FakeSource) -> None:
    with pytest.raises(ParameterError) as caught:
        ros.start(source, score_threshold=7.0, transport="carrier pigeon", jpeg_quality="best")
    text = str(caught.value)
    assert "score_threshold out of range" in text
    assert "transport: expected one of auto, raw, compressed, got 'carrier pigeon'" in text
    assert "jpeg_quality" in text


@pytest.mark.parametrize(
    ("cameras", "reason"),
    [
        (["front", "front"], "front occurs twice"),
        (["2nd"], "'2nd' is not a name"),
        (["overlay"], "'overlay' is the name of a topic"),
    ],
)
def test_bad_camera_names_are_refused(ros: Ros, source: FakeSource, cameras: list[str], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        ros.start(source, cameras=cameras)


def test_no_cameras_is_the_single_one(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, cameras=[""], image_topic="/single")
    assert [camera.image_topic for camera in node.cameras] == ["/single"]
    assert [camera.info_topic for camera in node.cameras] == ["/camera_info"]


def test_unknown_parameters_are_reported_with_what_may_be_meant(ros: Ros, source: FakeSource) -> None:
    parameters = {
        "scor_threshold": 0.2,
        "front__image_topic": "/a",
        "qos_overrides./camera/image_raw.subscription.depth": 3,
        "qos_overrides./elsewhere.subscription.depth": 3,
    }
    node = ros.start(source, **parameters)
    assert node.log.find("'scor_threshold' is given but unknown", "is 'score_threshold' meant?")
    assert node.log.find("'front.image_topic' is given but unknown")
    assert node.log.find("'qos_overrides./elsewhere.subscription.depth' is given but unknown")
    assert not node.log.find("/camera/image_raw.subscription.depth' is given")
    assert len(node.log.find("is given but unknown")) == 3


def test_wrong_qos_overrides_leave_the_node_unconfigured_with_the_reason(ros: Ros, source: FakeSource) -> None:
    parameters = {"qos_overrides./camera/image_raw.subscription.reliability": "perfect"}
    node = ros.start(source, **parameters)
    assert node.log.find("cannot be configured", "reliability", "perfect", severity="error")
    assert node.cameras == ()


def test_the_example_of_several_cameras_is_taken(ros: Ros, source: FakeSource) -> None:
    given = yaml.safe_load((CONFIG / "cameras.yaml").read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    flat = {}
    for key, value in given.items():
        flat |= {f"{key}__{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    node = ros.start(source, **flat)
    assert not node.log.find("unknown")
    assert {camera.name: camera.image_topic for camera in node.cameras} == {
        "front": "/front/image_raw",
        "left": "/left/image_raw/compressed",
        "right": "/right/image_raw",
    }
    assert {camera.name: camera.info_topic for camera in node.cameras} == {
        "front": "/front/camera_info",
        "left": "/left/camera_info",
        "right": "/right/camera_info",
    }
