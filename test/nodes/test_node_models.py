"""Thresholds and models that change while frames go through."""

from __future__ import annotations

import time

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import FakeSource, NodeUnderTest, Ros, picture
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from sensor_msgs.msg import Image

from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.nodes import model_host


class Stream:
    """A camera that sends frames all the while, and what comes out."""

    def __init__(self, ros: Ros) -> None:
        self._ros = ros
        self.results = ros.listen(Image, "/panoptic_node/panoptic")
        self._camera = ros.publisher(Image, "/camera/image_raw")
        ros.connected(self._camera)

    def step(self) -> None:
        self._camera.publish(self._ros.image(picture()))
        self._ros.spin(0.02)

    def until_more(self, count: int) -> None:
        """Send until `count` more results have come."""
        goal = len(self.results) + count
        self._ros.until(lambda: self.step() or len(self.results) >= goal, f"{count} more results")


def model_status(ros: Ros, diagnostics: list[DiagnosticArray], text: str) -> DiagnosticStatus:
    """The next status of the model whose message holds the text."""

    def found() -> list[DiagnosticStatus]:
        statuses = [status for message in diagnostics for status in message.status]
        return [status for status in statuses if status.name.endswith(": model") and text in status.message]

    del diagnostics[:]
    return ros.until(found, f"a diagnostic with {text!r}")[0]


def test_thresholds_reach_the_pipeline_with_the_next_frame(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, nms_threshold=0.6)
    stream = Stream(ros)
    stream.until_more(1)
    assert source.pipeline.seen_options[-1] == DecodeOptions(nms_threshold=0.6)
    assert ros.set(node, score_threshold=0.8, max_detections=7, uncovered_things="stuff").successful
    stream.until_more(2)
    expected = DecodeOptions(nms_threshold=0.6, score_threshold=0.8, max_detections=7, uncovered_things="stuff")
    assert source.pipeline.seen_options[-1] == expected


def test_a_models_own_thresholds_hold_but_for_those_that_are_given(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, model="strict", diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    stream = Stream(ros)
    stream.until_more(1)
    assert source.pipeline.seen_options[-1] == DecodeOptions(stuff_area_fraction=0.01)
    assert ros.set(node, stuff_area_fraction=0.05, score_threshold=0.8).successful
    stream.until_more(2)
    assert source.pipeline.seen_options[-1] == DecodeOptions(stuff_area_fraction=0.05, score_threshold=0.8)
    values = {pair.key: pair.value for pair in model_status(ros, diagnostics, "the model runs").values}
    assert (values["stuff area fraction"], values["score threshold"]) == ("0.05", "0.8")
    assert values["uncovered things"] == "void"
    assert ros.set(node, stuff_area_fraction=-1, score_threshold=-1.0).successful  # back to its own
    stream.until_more(2)
    assert source.pipeline.seen_options[-1] == DecodeOptions(stuff_area_fraction=0.01)
    assert ros.set(node, model="fake").successful
    ros.until(lambda: stream.step() or (source.pipeline.model_name == "fake" and source.pipeline.batches), "the other")
    assert source.pipeline.seen_options[-1] == DecodeOptions()


def test_the_input_of_the_network_is_resized_while_frames_go_through(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, input_size="640x384")
    stream = Stream(ros)
    stream.until_more(1)
    former = source.pipeline
    assert ros.set(node, input_size="1024x512").successful
    ros.until(lambda: stream.step() or (source.pipeline is not former and source.pipeline.batches), "the larger one")
    assert ros.set(node, input_size="").successful
    ros.until(lambda: stream.step() or len(source.loaded) == 3, "its own size")
    assert source.sizes == [(384, 640), (512, 1024), None]


def test_a_refusal_reaches_the_one_who_set_it(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    result = ros.set(node, model="missing")
    assert not result.successful
    assert result.reason == "missing.yaml: no such file; models that come with it: fake"
    assert source.loads <= 1


def test_a_model_is_swapped_beside_the_running_one(ros: Ros, source: FakeSource) -> None:
    vision = pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs: `make` compiles it into .venv")
    node = ros.start(source)
    labels = ros.listen(vision.LabelInfo, "/panoptic_node/label_info", latched=True)
    stream = Stream(ros)
    stream.until_more(2)
    old = source.pipeline
    begin = time.monotonic()
    assert ros.set(node, model="slow", weights="new.weights").successful
    assert time.monotonic() - begin < 2.0  # the answer does not wait for the loading
    ros.until(lambda: source.loads == 2, "the loading")
    before = len(old.batches)
    stream.until_more(5)  # while it loads
    assert len(old.batches) >= before + 5
    source.gate.set()
    ros.until(lambda: stream.step() or (source.pipeline is not old and source.pipeline.batches), "the new model")
    after = len(old.batches)
    stream.until_more(3)
    assert len(old.batches) == after
    assert node.log.find("slow with new.weights runs on")
    assert ros.set(node, model="coco").successful
    ros.until(lambda: len(labels) == 3, "the labels of three models")
    names = [{entry.class_id: entry.class_name for entry in message.class_map} for message in labels]
    assert names[0][26] == names[1][26] == "car"
    assert names[2][3] == "car"  # COCO's id


def test_a_model_that_cannot_be_loaded_leaves_the_running_one(
    ros: Ros, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = ros.start(source, diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    stream = Stream(ros)
    stream.until_more(2)
    old = source.pipeline
    assert ros.set(node, model="broken", weights="broken.weights").successful  # nothing shows before it is loaded
    ros.until(lambda: stream.step() or node.get_parameter("model").value == "fake", "the parameters of what runs")
    assert node.get_parameter("weights").value == "fake.weights"
    assert node.settings.model == "fake"
    text = (
        "broken with broken.weights could not be loaded: broken.weights: of another network, expected 3 anchors, got 5"
    )
    assert node.log.find(text, severity="error")
    stream.until_more(3)
    assert source.pipeline is old
    status = model_status(ros, diagnostics, "the former one runs on")
    assert status.level == DiagnosticStatus.WARN
    monkeypatch.setattr(model_host, "ERROR_SHOWN", 0.5)
    status = model_status(ros, diagnostics, "the model runs")  # as if nothing had been
    assert status.level == DiagnosticStatus.OK
    assert text in {pair.key: pair.value for pair in status.values}["last error"]
    monkeypatch.undo()
    assert model_status(ros, diagnostics, "the former one runs on").level == DiagnosticStatus.WARN
    assert ros.set(node, model="coco").successful  # the way is free again
    ros.until(lambda: source.pipeline.model_name == "coco", "the next model")
    status = model_status(ros, diagnostics, "the model runs")
    assert {pair.key: pair.value for pair in status.values}["last error"] == ""


def test_an_error_is_forgotten_when_what_runs_is_asked_for(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    assert model_status(ros, diagnostics, "the model runs").level == DiagnosticStatus.OK
    assert ros.set(node, model="broken").successful
    assert model_status(ros, diagnostics, "the former one runs on").level == DiagnosticStatus.WARN
    assert ros.set(node, model="slow").successful
    assert ros.set(node, model="fake").successful  # taken back
    assert model_status(ros, diagnostics, "the model runs").level == DiagnosticStatus.OK


@pytest.mark.parametrize("first", ["model", "weights"])
def test_a_refusal_of_one_of_model_and_weights_names_the_way_to_set_both(
    ros: Ros, source: FakeSource, first: str
) -> None:
    node = ros.start(source, model="small", weights="of_small.weights")
    new = {"model": "large", "weights": "of_large.weights"}
    result = ros.set(node, **{first: new[first]})
    assert not result.successful
    reason, _, command = result.reason.partition("; model and weights that go together are set together: ")
    assert reason.endswith(f"of another network than {'large' if first == 'model' else 'small'}")
    head, body, _ = command.split('"')
    assert head == (
        "ros2 service call /panoptic_node/set_parameters_atomically rcl_interfaces/srv/SetParametersAtomically "
    )
    filled = yaml.safe_load(body.replace("MODEL", new["model"]).replace("WEIGHTS", new["weights"]))
    parameters = [Parameter(name=one["name"], value=ParameterValue(**one["value"])) for one in filled["parameters"]]
    request = SetParametersAtomically.Request(parameters=parameters)  # as `ros2 service call` makes it
    result = ros.call(SetParametersAtomically, "/panoptic_node/set_parameters_atomically", request).result
    assert result.successful, result.reason
    ros.until(lambda: node.log.find("large with of_large.weights runs on"), "the new model")


@pytest.mark.parametrize("values", [{"model": "missing"}, {"model": "large", "weights": "of_other.weights"}])
def test_no_way_is_named_where_it_would_lead_nowhere(ros: Ros, source: FakeSource, values: dict[str, str]) -> None:
    node = ros.start(source, model="small", weights="of_small.weights")
    ros.until(lambda: source.loaded, "the model")
    result = ros.set(node, **({"weights": "fake.weights"} | values))
    assert not result.successful
    assert "together" not in result.reason


def test_the_last_of_several_swaps_wins(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    stream = Stream(ros)
    stream.until_more(1)
    for model in ("slow", "broken", "coco"):
        assert ros.set(node, model=model).successful
        ros.until(lambda: source.loads == 2, "the slow model's loading to begin")
    source.gate.set()
    ros.until(lambda: node.log.find("coco with fake.weights runs on"), "the last model")
    stream.until_more(1)
    ros.until(lambda: source.pipeline.batches and source.pipeline.model_name == "coco", "its first frame")
    assert not node.log.find("slow with fake.weights runs on")
    assert not node.log.find("could not be loaded")
    assert node.get_parameter("model").value == "coco"


def test_a_swap_can_be_taken_back_while_it_loads(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    stream = Stream(ros)
    stream.until_more(1)
    ros.set(node, model="slow")
    ros.until(lambda: source.loads == 2, "the slow model's loading to begin")
    ros.set(node, model="fake")
    source.gate.set()
    ros.until(lambda: len(source.loaded) == 2, "the loading that is not wanted any more")
    ros.spin(0.2)
    stream.until_more(2)
    assert source.loaded[1].batches == []


@pytest.mark.parametrize("model", ["broken", "missing"])
def test_a_model_that_is_wrong_at_the_start_is_said_and_can_be_put_right(
    ros: Ros, source: FakeSource, model: str
) -> None:
    node: NodeUnderTest = ros.start(source, model=model, diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    text = {"broken": "of another network", "missing": "no such file"}[model]
    assert model_status(ros, diagnostics, text).level == DiagnosticStatus.ERROR
    assert node.log.find(text, severity="error")
    assert ros.set(node, model="fake").successful
    Stream(ros).until_more(2)


def test_frames_wait_for_the_first_model_and_the_newest_comes_first(ros: Ros, source: FakeSource) -> None:
    ros.start(source, model="slow", diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    stream = Stream(ros)
    for _ in range(10):
        stream.step()
    assert model_status(ros, diagnostics, "the model is being loaded").level == DiagnosticStatus.WARN
    assert not stream.results
    source.gate.set()
    ros.until(lambda: stream.results, "the frame that waited")
    assert len(stream.results) == 1
