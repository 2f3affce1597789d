"""The message definitions in interfaces/ are the published ones, and their compiled type support works over DDS."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

ROOT = Path(__file__).resolve().parents[1]
INTERFACES = ROOT / "interfaces"
BUILD = ROOT / "tools" / "build_interfaces.py"
DOMAIN = 49  # of no other test

# Computed by ROS's hash (REP-2011) from the files of ros-perception/vision_msgs 4.1.1, not from ours.
PUBLISHED_HASHES = {
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox2DArray": "RIHS01_2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "BoundingBox3D": "RIHS01_bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "BoundingBox3DArray": "RIHS01_a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6",
    "Classification": "RIHS01_f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "VisionInfo": "RIHS01_95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}


@pytest.fixture(scope="module")
def typestore() -> Typestore:
    """Jazzy's types with our definitions added, as bags use them."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in INTERFACES.glob("*/msg/*.msg"):
        types |= get_types_from_msg(path.read_text(encoding="utf-8"), f"{path.parents[1].name}/msg/{path.stem}")
    store.register(types)
    return store


def run_build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The build script run as make runs it, over another folder of packages."""
    return subprocess.run(
        [sys.executable, BUILD, folder], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def installed_files() -> dict[Path, int]:
    """The modification time of every installed file of vision_msgs."""
    import vision_msgs

    site = Path(vision_msgs.__file__).parent
    prefix = Path(sys.prefix)
    files = [
        *site.rglob("*.py"),
        *site.glob("*.so"),
        *prefix.glob("lib/libvision_msgs*"),
        *prefix.glob("share/vision_msgs/*"),
    ]
    return {path: path.stat().st_mtime_ns for path in files}


def ours_or_skip() -> None:
    """Skip where vision_msgs is a ROS installation's: the script then has nothing to build."""
    pytest.importorskip("vision_msgs", reason="needs vision_msgs: tools/build_interfaces.py makes it")
    if not Path(sys.prefix, "share", "vision_msgs", "panoptic_ros.stamp").is_file():
        pytest.skip("vision_msgs here comes from a ROS installation, so it is not ours to build")


def some_detections(make: Any) -> Any:
    """A Detection2DArray with every field that we fill set; ``make(name, **fields)`` gives a message."""
    header = make("std_msgs/msg/Header", stamp=make("builtin_interfaces/msg/Time", sec=7, nanosec=8), frame_id="camera")
    position = make("vision_msgs/msg/Point2D", x=12.5, y=-3.25)
    box = make(
        "vision_msgs/msg/BoundingBox2D",
        center=make("vision_msgs/msg/Pose2D", position=position, theta=0.5),
        size_x=40.0,
        size_y=20.0,
    )
    hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id="car", score=0.75)
    guess = make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis, pose=some_pose(make))
    found = make("vision_msgs/msg/Detection2D", header=header, results=[guess], bbox=box, id="26")
    return make("vision_msgs/msg/Detection2DArray", header=header, detections=[found, found])


def some_pose(make: Any) -> Any:
    pose = make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=1.0, y=2.0, z=3.0),
        orientation=make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.arange(36.0))


def make_live(name: str, **fields: Any) -> Any:
    """A message of the installed ROS packages."""
    package, _, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)(**fields)


def test_definitions_have_the_published_type_hashes(typestore: Typestore) -> None:
    ours = {path.stem for path in (INTERFACES / "vision_msgs" / "msg").glob("*.msg")}
    assert {name: typestore.hash_rihs01(f"vision_msgs/msg/{name}") for name in ours} == PUBLISHED_HASHES


def test_tf2_msgs_is_what_rosbags_has_of_it() -> None:
    """Rosbags brings the definitions of Jazzy's tf2_msgs, with which ours must agree in name, type and order."""
    published = get_typestore(Stores.ROS2_JAZZY)
    for path in (INTERFACES / "tf2_msgs" / "msg").glob("*.msg"):
        name = f"tf2_msgs/msg/{path.stem}"
        ours = get_types_from_msg(path.read_text(encoding="utf-8"), name)
        assert ours[name] == published.fielddefs[name]


def test_grid_map_msgs_has_the_fields_that_ros_shows(typestore: Typestore) -> None:
    """As ``ros2 interface show grid_map_msgs/msg/GridMap`` prints them, comments left out."""
    shown = {
        "GridMap": ["header", "info", "layers", "basic_layers", "data", "outer_start_index", "inner_start_index"],
        "GridMapInfo": ["resolution", "length_x", "length_y", "pose"],
    }
    for kind, names in shown.items():
        assert [name for name, _ in typestore.fielddefs[f"grid_map_msgs/msg/{kind}"][1]] == names
    text = (INTERFACES / "grid_map_msgs" / "msg" / "GridMap.msg").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines == [
        "std_msgs/Header header",
        "grid_map_msgs/GridMapInfo info",
        "string[] layers",
        "string[] basic_layers",
        "std_msgs/Float32MultiArray[] data",
        "uint16 outer_start_index",
        "uint16 inner_start_index",
    ]


def test_detections_and_labels_pass_over_dds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published and received by rclpy, under the type hashes that a robot's vision_msgs announces."""
    rclpy = pytest.importorskip("rclpy", reason="needs rclpy: a ROS installation, or pip install -e '.[ros]'")
    messages = pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs: tools/build_interfaces.py makes it")
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    sent = {
        "detections": some_detections(make_live),
        "labels": messages.LabelInfo(
            class_map=[
                messages.VisionClass(class_id=0, class_name="void"),
                messages.VisionClass(class_id=26, class_name="car"),
            ],
            threshold=0.5,
        ),
    }
    received: dict[str, Any] = {}
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("interfaces_test", context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        qos = rclpy.qos.QoSProfile(depth=1, durability=rclpy.qos.DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, message in sent.items():
            node.create_subscription(type(message), topic, lambda got, topic=topic: received.update({topic: got}), qos)
            node.create_publisher(type(message), topic, qos).publish(message)
        deadline = time.monotonic() + 60
        while received.keys() != sent.keys() and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
        hashes = {
            topic: str(getattr(node.get_publishers_info_by_topic(topic)[0], "topic_type_hash", "")) for topic in sent
        }
    finally:
        rclpy.shutdown(context=context)
    assert received == sent
    if hashes["labels"]:  # Humble announces none
        assert hashes == {"detections": PUBLISHED_HASHES["Detection2DArray"], "labels": PUBLISHED_HASHES["LabelInfo"]}


def test_live_and_bag_messages_have_the_same_bytes(typestore: Typestore) -> None:
    """What rclpy serialises is what rosbags, from the same definitions, writes and reads."""
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    pytest.importorskip("vision_msgs", reason="needs vision_msgs: tools/build_interfaces.py makes it")
    bag = some_detections(lambda name, **fields: typestore.types[name](**fields))
    name = "vision_msgs/msg/Detection2DArray"
    from_bag, live = (
        bytes(typestore.serialize_cdr(bag, name)),
        serialization.serialize_message(some_detections(make_live)),
    )
    read = typestore.deserialize_cdr(live, name)
    # Written anew, because rclpy leaves the bytes between two fields as they happen to be.
    assert bytes(typestore.serialize_cdr(read, name)) == from_bag
    assert len(live) == len(from_bag)
    assert read.detections[1].results[0].hypothesis.class_id == "car"


def test_build_is_skipped_when_up_to_date() -> None:
    ours_or_skip()
    before = installed_files()
    assert any(path.suffix == ".so" for path in before)
    done = run_build(INTERFACES)
    packages = sorted(path.name for path in INTERFACES.iterdir() if path.is_dir())
    said = "".join(f"{name}: type support is up to date\n" for name in packages)
    assert (done.returncode, done.stdout) == (0, said)
    assert installed_files() == before


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("flaot64 size_x", "flaot64"),  # no such type
        ("float64 SizeX", "SizeX"),  # not a legal field name
        ("nowhere_msgs/Thing thing", "nowhere_msgs"),  # no such package
    ],
)
def test_bad_definition_is_an_error_and_leaves_the_installed_one(tmp_path: Path, field: str, said: str) -> None:
    ours_or_skip()
    before = installed_files()
    shutil.copytree(INTERFACES, tmp_path / "interfaces")
    definition = tmp_path / "interfaces" / "vision_msgs" / "msg" / "BoundingBox2D.msg"
    definition.write_text(definition.read_text() + field + "\n")
    done = run_build(tmp_path / "interfaces")
    assert done.returncode == 1
    assert f"\nerror: {tmp_path}" in f"\n{done.stderr}"
    assert said in done.stderr
    assert installed_files() == before
    assert not list(Path(sys.prefix).glob(".build_interfaces_*"))


def test_missing_compiler_is_named(tmp_path: Path) -> None:
    ours_or_skip()
    shutil.copytree(INTERFACES, tmp_path / "interfaces")
    definition = tmp_path / "interfaces" / "vision_msgs" / "msg" / "Point2D.msg"
    definition.write_text(definition.read_text() + "float64 z\n")
    done = run_build(tmp_path / "interfaces", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "gcc, g++ not found" in done.stderr


def test_package_from_elsewhere_is_left_as_it_is(tmp_path: Path) -> None:
    """As vision_msgs on a robot: importable, and not of our making."""
    package = tmp_path / "yaml"
    (package / "msg").mkdir(parents=True)
    (package / "package.xml").write_text("<package><name>yaml</name></package>")
    (package / "msg" / "Thing.msg").write_text("float64 x\n")
    done = run_build(tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("yaml: uses the one installed in ")
