"""The launch files: their arguments always, and what they start where ROS's launch is installed."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.topics import CAMERA_TOPICS, GRID_TOPICS, LABEL_TOPIC

SHARE = Path(__file__).parents[2]
LAUNCH = SHARE / "launch"

ARGUMENTS = {
    "panoptic": {
        "image_topic",
        "camera_info_topic",
        "model",
        "weights",
        "engine",
        "device",
        "params_file",
        "namespace",
        "rviz",
        "use_sim_time",
        "autostart",
        "log_level",
    },
    "cameras": {"cameras_file"},
    "bag": {"bag", "rate", "loop", "delay"},
    "grid": {
        "cameras",
        "clouds",
        "depths",
        "options",
        "fixed_frame",
        "base_frame",
        "confusion",
        "predictions",
        "labels",
        "odometry",
        "extrinsics",
        "params_file",
        "namespace",
        "rviz",
        "use_sim_time",
        "log_level",
    },
    "evaluation": {
        "cameras",
        "predictions",
        "truth",
        "labels",
        "mapping",
        "rule",
        "out",
        "tolerance",
        "silence",
        "namespace",
        "use_sim_time",
        "log_level",
    },
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_declared_with_a_description(name: str) -> None:
    tree = ast.parse((LAUNCH / f"{name}.launch.py").read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument"
    ]
    declared = {ast.literal_eval(call.args[0]) for call in calls}
    assert declared == ARGUMENTS[name]
    for call in calls:
        (description,) = [keyword.value for keyword in call.keywords if keyword.arg == "description"]
        assert ast.literal_eval(description)


def test_the_files_that_launch_files_name_are_there() -> None:
    files = ("fastdds.xml", "panoptic_node.yaml", "cameras.yaml", "semantic_grid_node.yaml")
    for path in (*files, "rviz/panoptic.rviz", "rviz/grid.rviz"):
        assert (SHARE / "config" / path).is_file()


def test_the_views_show_topics_that_there_are() -> None:
    names = {"panoptic_node": CAMERA_TOPICS, "semantic_grid_node": GRID_TOPICS}
    for view in ("panoptic", "grid"):
        displays = yaml.safe_load((SHARE / "config" / "rviz" / f"{view}.rviz").read_text())["Visualization Manager"]
        topics = [display["Topic"]["Value"].split("/") for display in displays["Displays"]]
        assert topics
        assert all(topic in names[node] for _, node, topic in topics)


@pytest.mark.parametrize("name", ["static_layer", "obstacle_layer", "semantic_layer"])
def test_nav2_listens_to_what_is_published_and_knows_its_classes(name: str) -> None:
    content = yaml.safe_load((SHARE / "config" / "nav2" / f"{name}.yaml").read_text(encoding="utf-8"))
    costmap = content["local_costmap"]["local_costmap"]["ros__parameters"]
    layer = costmap[costmap["plugins"][0]]
    assert all(plugin in costmap for plugin in costmap["plugins"])
    sources = [layer[source] for source in layer.get("observation_sources", "").split()] or [layer]
    topics = {key: value for source in sources for key, value in source.items() if key.endswith("topic")}
    ours = {
        "map_topic": {f"/semantic_grid_node/{topic}" for topic in GRID_TOPICS},
        "topic": {f"/semantic_grid_node/{topic}" for topic in GRID_TOPICS},
        "segmentation_topic": {f"/panoptic_node/{topic}" for topic in CAMERA_TOPICS},
        "confidence_topic": {f"/panoptic_node/{topic}" for topic in CAMERA_TOPICS},
        "labels_topic": {f"/panoptic_node/{LABEL_TOPIC}"},
    }
    assert topics
    for key, topic in topics.items():
        assert topic in ours.get(key, {topic}), key
    labels = {label.name for label in LabelSet.load("cityscapes").labels}
    for source in sources:
        for kind in source.get("class_types", ()):
            assert set(source[kind]["classes"]) <= labels


def evaluate(name: str, **arguments: str) -> tuple[list[Any], dict[str, str]]:
    """The actions that a launch file comes to, includes followed, and the environment that it sets."""
    launch = pytest.importorskip("launch", reason="needs ROS's launch, which has no wheels")
    pytest.importorskip("launch_ros", reason="needs ROS's launch_ros, which has no wheels")
    from launch.actions import SetEnvironmentVariable
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    context = launch.LaunchContext()
    context.launch_configurations.update(arguments)
    started: list[Any] = []

    def visit(entities: list[Any]) -> None:
        for entity in entities:
            if isinstance(entity, (launch.actions.ExecuteProcess, SetEnvironmentVariable)):
                started.append(entity)
            if isinstance(entity, launch.actions.ExecuteProcess):
                continue
            visit(list(entity.visit(context) or []))

    description = PythonLaunchDescriptionSource(str(LAUNCH / f"{name}.launch.py")).get_launch_description(context)
    visit(list(description.entities))
    environment = {
        "".join(part.perform(context) for part in action.name): "".join(part.perform(context) for part in action.value)
        for action in started
        if isinstance(action, SetEnvironmentVariable)
    }
    return [action for action in started if not isinstance(action, SetEnvironmentVariable)], environment


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(name, "")  # so that what a launch file sets is taken back after the test


def parameters_of(node: Any) -> tuple[str, dict[str, Any]]:
    """The parameter file and the parameters that a node is given; launch_ros has no public way to ask."""
    file, given = node._Node__parameters
    return text_of(file.param_file), {text_of(key): value for key, value in given.items()}


def text_of(substitutions: Any) -> str:
    return "".join(part.text for part in substitutions)


def test_panoptic_launch_starts_the_node_with_what_was_given() -> None:
    (node, rviz), environment = evaluate("panoptic", image_topic="/front", namespace="robot", use_sim_time="true")
    file, given = parameters_of(node)
    assert node.node_executable == "panoptic_node"
    assert file == str(SHARE / "config" / "panoptic_node.yaml")
    assert set(given) == {"image_topic", "use_sim_time", "autostart"}
    assert given["image_topic"].value == "/front"
    assert given["use_sim_time"] is True
    assert given["autostart"] is True
    assert rviz.condition is not None
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(SHARE / "config" / "fastdds.xml")
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(SHARE / "config" / "fastdds.xml")


def test_a_profile_of_the_user_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml")
    _, environment = evaluate("panoptic")
    assert environment == {}


def test_cameras_launch_takes_the_cameras_file() -> None:
    (node, _), _ = evaluate("cameras", model="yolo_panoptic")
    file, given = parameters_of(node)
    assert file == str(SHARE / "config" / "cameras.yaml")
    assert given["model"].value == "yolo_panoptic"


def test_bag_launch_plays_the_bag_on_its_own_time() -> None:
    (node, _, player), _ = evaluate("bag", bag="/drive.mcap", loop="true")
    assert parameters_of(node)[1]["use_sim_time"] is True
    words = [text_of(word) for word in player.cmd]
    assert words[:4] == ["ros2", "bag", "play", "/drive.mcap"]
    assert "--clock" in words
    assert "--loop" in words


def test_evaluation_launch_starts_the_node_with_what_was_given() -> None:
    (node,), environment = evaluate("evaluation", cameras="front, rear", tolerance="0.02", out="/tmp/results")
    assert node.node_executable == "evaluation_node"
    (given,) = node._Node__parameters
    given = {text_of(key): value for key, value in given.items()}
    assert set(given) == {"cameras", "tolerance", "out", "use_sim_time"}
    assert given["tolerance"] == 0.02
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(SHARE / "config" / "fastdds.xml")


def test_grid_launch_starts_the_node_with_what_was_given() -> None:
    (node, rviz), environment = evaluate(
        "grid", clouds="/front/points, /rear/points", odometry="/odom", namespace="robot"
    )
    file, given = parameters_of(node)
    assert node.node_executable == "semantic_grid_node"
    assert file == str(SHARE / "config" / "semantic_grid_node.yaml")
    assert set(given) == {"clouds", "odometry", "use_sim_time"}
    assert given["odometry"].value == "/odom"
    assert rviz.condition is not None
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(SHARE / "config" / "fastdds.xml")
