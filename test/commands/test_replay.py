"""``panoptic-ros replay`` from end to end, with a pipeline that needs no network, and once with the real one."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_pipeline import FakePipeline
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from typer.testing import CliRunner, Result

from panoptic_ros import messages
from panoptic_ros.commands import replay
from panoptic_ros.commands.main import app
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.recording import Recording

TYPES = BagMessageTypes()
SCRIPT = Path(__file__).with_name("fake_pipeline.py")
Run = Callable[..., Result]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(replay, "_load", lambda *_: fake)
    monkeypatch.setattr(replay, "Recording", functools.partial(Recording, part_frames=4))
    return fake


@pytest.fixture
def run(pipeline: FakePipeline) -> Run:
    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def _picture(index: int) -> np.ndarray:
    picture = np.full((24, 32, 3), (index, 40, 60), np.uint8)
    picture[8:16, 4 + index % 8 : 20] = 200
    return picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures."""
    path = tmp_path / "images"
    path.mkdir()
    for index in range(10):
        cv2.imwrite(str(path / f"{index}.png"), _picture(index))
    return path


def _content(path: Path) -> list[tuple[str, int, bytes]]:
    with Reader(path) as reader:
        return [(connection.topic, log, bytes(data)) for connection, log, data in reader.messages()]


def _messages(path: Path, topic: str) -> list[Any]:
    with Reader(path) as reader:
        return [
            TYPES.store.deserialize_cdr(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == topic
        ]


def test_a_folder_of_images(run: Run, folder: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "out.mcap", tmp_path / "pictures"
    result = run(folder, out, "--pictures", pictures, "--rate", 5)
    assert result.exit_code == 0, result.output
    assert f"{out}: 10 frames, 0 bad" in " ".join(result.stdout.split())
    for stage in ("read", "prepare", "network", "decode", "messages", "write", "all"):
        assert stage in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.mcap", "pictures"]
    counts: dict[str, int] = {}
    for topic, _, _ in _content(out):
        counts[topic] = counts.get(topic, 0) + 1
    names = ("panoptic", "semantic", "confidence", "instance_ids", "instances", "overlay/compressed")
    assert counts == {"/panoptic_node/label_info": 1, **{f"/panoptic_node/{name}": 10 for name in names}}
    assert sorted(path.name for path in pictures.iterdir()) == [f"{index:06d}.jpg" for index in range(10)]
    assert cv2.imread(str(pictures / "000003.jpg")).shape == (24, 32, 3)

    fake = FakePipeline()
    for index, (image, detections) in enumerate(
        zip(_messages(out, "/panoptic_node/panoptic"), _messages(out, "/panoptic_node/instances"), strict=True)
    ):
        expected = fake.segment(_picture(index), False)
        value = messages.segmentation_from_messages(image, detections, fake.labels)
        np.testing.assert_array_equal(value.ids, expected.ids)
        assert value.segments == expected.segments
        stamp = image.header.stamp
        assert (stamp.sec * 1_000_000_000 + stamp.nanosec, image.header.frame_id) == (index * 200_000_000, "camera")


def test_the_topics_that_are_asked_for(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    assert run(folder, out, "--topics-out", "overlay, instance_ids", "--limit", 3).exit_code == 0
    topics = [topic for topic, _, _ in _content(out)]
    assert topics == ["/panoptic_node/label_info"] + 3 * ["/panoptic_node/instance_ids", "/panoptic_node/overlay"]
    result = run(folder, tmp_path / "other.mcap", "--topics-out", "ids")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: --topics-out: ids: expected some of panoptic, semantic")


def _write_bag(path: Path) -> Path:
    """Two cameras, one compressed; a CameraInfo for the first and one of another size for the second."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {
            "/front/image_raw": "sensor_msgs/msg/Image",
            "/left/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
            "/front/camera_info": "sensor_msgs/msg/CameraInfo",
            "/left/camera_info": "sensor_msgs/msg/CameraInfo",
        }
        connections = {name: writer.add_connection(name, kind, typestore=TYPES.store) for name, kind in kinds.items()}

        def write(name: str, log_time: int, message: Any) -> None:
            writer.write(connections[name], log_time, TYPES.store.serialize_cdr(message, kinds[name]))

        for index in range(6):
            header = messages.make_header(TYPES, 1_000_000_007 * index, "front_optical")
            for name, size in (("front", (32, 24)), ("left", (99, 24))):
                info = TYPES.make(
                    kinds["/front/camera_info"], header=header, width=size[0], height=size[1], k=np.ones(9)
                )
                write(f"/{name}/camera_info", index * 100, info)
            image = messages.bgr_image(TYPES, header, _picture(index))
            if index == 2:
                image.step = 7
            write("/front/image_raw", index * 100 + 1, image)
            header = messages.make_header(TYPES, index, "left_optical")
            write(
                "/left/image_raw/compressed", index * 100 + 2, messages.compressed_image(TYPES, header, _picture(index))
            )
    return path


def test_a_bag_of_two_cameras(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    result = run(_write_bag(tmp_path / "bag"), out)
    assert result.exit_code == 0
    assert "12 frames, 1 bad" in result.stdout
    said = result.stderr.splitlines()
    assert [line for line in said if line.startswith("bad frame")] == [
        f"bad frame: {tmp_path / 'bag'}: /front/image_raw: step is 7 bytes, expected at least 96 (32 pixels of bgr8)"
    ]
    assert [line for line in said if "camera_info is not written" in line] == [
        "/left/image_raw/compressed: camera_info is for 99x24 images (99x24, its region of interest 0x0, binning 1x1), "
        "expected 32x24 or the same shape in another size: its camera_info is not written"
    ]
    front = _messages(out, "/panoptic_node/front/semantic")
    assert [image.header.stamp.nanosec for image in front] == [0, 7, 21, 28, 35]
    assert {image.header.frame_id for image in front} == {"front_optical"}
    assert len(_messages(out, "/panoptic_node/front/camera_info")) == 5
    assert len(_messages(out, "/panoptic_node/left/panoptic")) == 6
    assert not _messages(out, "/panoptic_node/left/camera_info")
    assert len(_messages(out, "/panoptic_node/label_info")) == 1
    logged = [log for topic, log, _ in _content(out) if topic == "/panoptic_node/left/panoptic"]
    assert logged == [index * 100 + 2 for index in range(6)]  # as their images were


def test_one_camera_of_a_bag_needs_no_name(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    assert run(_write_bag(tmp_path / "bag"), out, "--topics", "/left/image_raw/compressed").exit_code == 0
    assert len(_messages(out, "/panoptic_node/panoptic")) == 6


def test_a_killed_run_goes_on_and_ends_the_same(run: Run, pipeline: FakePipeline, folder: Path, tmp_path: Path) -> None:
    for index in range(10, 40):
        cv2.imwrite(str(folder / f"{index}.png"), _picture(index))
    out, whole = tmp_path / "out.mcap", tmp_path / "whole.mcap"
    state = tmp_path / "out.mcap.parts" / "state.json"
    command = [sys.executable, str(SCRIPT), "replay", str(folder), str(out)]
    repository = str(Path(__file__).parents[2])
    environment = {**os.environ, "FAKE_SECONDS": "0.03", "PYTHONPATH": repository}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not (state.exists() and json.loads(state.read_text())["frames"] >= 8):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = json.loads(state.read_text())["frames"]
    assert 8 <= done < 40
    assert not out.exists()

    different = run(folder, out, "--model", "other")
    assert different.exit_code == 1
    assert re.search(r"--model was yolo_panoptic_small_synthetic \(\w+\), is other", different.stderr)

    pipeline.calls = 0
    result = run(folder, out)
    assert result.exit_code == 0
    assert f"going on after {done} frames" in result.stderr
    assert f"40 frames ({done} of them in an earlier run), 0 bad" in result.stdout
    assert pipeline.calls == 40 - done

    assert run(folder, whole).exit_code == 0
    assert _content(out) == _content(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.mcap", "whole.mcap"]


def test_ctrl_c_keeps_every_frame(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    environment = {**os.environ, "FAKE_SECONDS": "0.2", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(SCRIPT), "replay", str(folder), str(out), "--pictures", str(tmp_path / "pictures")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(list((tmp_path / "pictures").glob("*.jpg"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "interrupted: resume with the same command\n"
    kept = json.loads((tmp_path / "out.mcap.parts" / "state.json").read_text())["frames"]
    assert kept == len(list((tmp_path / "pictures").glob("*.jpg")))
    assert 2 <= kept < 10
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--pictures", "pictures", "--pictures was none, is "),
        ("--decode", "score_threshold=0.2", "--decode was the model's own, is score_threshold=0.2"),
        ("--precision", "bf16", "--precision was the model's own, is bf16"),
    ],
)
def test_a_run_does_not_go_on_with_what_would_make_its_halves_differ(
    monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, tmp_path: Path, option: str, value: str, said: str
) -> None:
    usual = FakePipeline.__call__

    def interrupt(self: FakePipeline, *arguments: Any, **options: Any) -> Any:
        if self.calls == 6:
            raise KeyboardInterrupt
        return usual(self, *arguments, **options)

    monkeypatch.setattr(FakePipeline, "__call__", interrupt)
    assert run(folder, tmp_path / "out.mcap").exit_code == 130
    value = str(tmp_path / value) if option == "--pictures" else value
    result = run(folder, tmp_path / "out.mcap", option, value)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "--restart to begin anew" in result.stderr
    assert not (tmp_path / "pictures").exists()


def test_thresholds_take_the_place_of_the_models_own(
    run: Run, pipeline: FakePipeline, folder: Path, tmp_path: Path
) -> None:
    given = "score_threshold=0.2, max_detections=7,uncovered_things=stuff"
    assert run(folder, tmp_path / "out.mcap", "--decode", given).exit_code == 0
    assert pipeline.options == DecodeOptions(
        score_threshold=0.2, nms_threshold=0.6, max_detections=7, uncovered_things="stuff"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("score=0.2", "score=0.2: expected name=value with one of score_threshold, nms_threshold"),
        ("score_threshold", "score_threshold: could not convert string to float: ''"),
        ("max_detections=2.5", "max_detections=2.5: invalid literal for int()"),
        ("nms_threshold=1.5", "nms_threshold=1.5: nms_threshold must be in [0, 1], got 1.5"),
        ("nms_threshold=nan", "nms_threshold=nan: nms_threshold must be in [0, 1], got nan"),
        ("uncovered_things=sky", "uncovered_things=sky: uncovered_things must be 'void' or 'stuff', got 'sky'"),
    ],
)
def test_a_threshold_that_cannot_be_is_one_line(run: Run, folder: Path, tmp_path: Path, given: str, said: str) -> None:
    result = run(folder, tmp_path / "out.mcap", "--decode", given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: --decode: {said}")
    assert result.stderr.count("\n") == 1


def test_precision_threads_and_size_reach_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, run: Run, pipeline: FakePipeline, folder: Path, tmp_path: Path
) -> None:
    loaded: list[tuple[Any, ...]] = []
    monkeypatch.setattr(replay, "_load", lambda *given: loaded.append(given) or pipeline)
    options = ("--precision", "bf16", "--threads", 1, "--device", "cpu", "--size", "1024x512")
    assert run(folder, tmp_path / "out.mcap", *options).exit_code == 0
    assert loaded == [("yolo_panoptic_small_synthetic", "", "cpu", "", "bf16", 1, "1024x512")]


def test_a_topic_without_messages_is_said_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/front/image_raw", "sensor_msgs/msg/Image", typestore=TYPES.store)
    monkeypatch.setattr(replay, "_load", lambda *_: pytest.fail("the model was loaded"))
    result = run(path, tmp_path / "out.mcap")
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {path}: no messages on /front/image_raw; its topics are /front/image_raw (sensor_msgs/msg/Image)\n",
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bag"]


def test_a_finished_run_is_not_done_again(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    assert run(folder, out, "--limit", 2).exit_code == 0
    result = run(folder, out, "--limit", 3)
    assert (result.exit_code, result.stderr) == (
        1,
        f"error: {out}: exists already; remove it, or give --restart to replace it\n",
    )
    assert run(folder, out, "--limit", 3, "--restart").exit_code == 0
    assert len(_messages(out, "/panoptic_node/panoptic")) == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nothing", "nothing: no such file or folder"),
        ("empty", "empty: no images in this folder, expected .jpg"),
        ("not.mp4", "not.mp4: not a bag (.bag, .mcap, .db3) and OpenCV cannot read it as a video"),
        ("not.mcap", "not.mcap: cannot be read as a bag; is it truncated?"),
        ("not.bag", "not.bag: cannot be read as a bag; is it truncated?"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(run: Run, tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("not.mp4", "not.mcap", "not.bag"):
        (tmp_path / name).write_bytes(b"hello" * 20)
    before = sorted(tmp_path.iterdir())
    result = run(tmp_path / source, tmp_path / "out.mcap")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {tmp_path}/{said}")
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_frames_that_are_all_bad_make_no_bag(run: Run, folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"\xff\xd8 spoilt")
    for index in range(30):
        (folder / f"more{index}.jpg").write_bytes(b"")
    result = run(folder, tmp_path / "out.mcap")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: {folder}: none of 40 frames could be read; {tmp_path / 'out.mcap'} is not written"
    )
    assert result.stderr.count("bad frame:") == 10
    assert not (tmp_path / "out.mcap").exists()


def test_a_model_that_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("device 'cuda:7':\nthis machine has 0 usable CUDA devices")

    monkeypatch.setattr(replay, "_load", fail)
    result = run(folder, tmp_path / "out.mcap")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: device 'cuda:7': this machine has 0 usable CUDA devices\n",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_a_fault_of_ours_is_not_called_the_users(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(FakePipeline, "__call__", fail)
    with pytest.raises(ValueError, match="a bug"):
        run(folder, tmp_path / "out.mcap")


def test_the_real_pipeline_on_the_real_video(shared_data: Path, tmp_path: Path) -> None:
    """Random weights: what is found means nothing, but all of it is written and agrees with itself."""
    out = tmp_path / "out.mcap"
    video = shared_data / "udacity_vehicle_video" / "test_video.mp4"
    result = CliRunner().invoke(app, ["replay", str(video), str(out), "--model", "yolo_panoptic_small", "--limit", "2"])
    assert result.exit_code == 0, result.output
    assert "note: untrained, and their results mean nothing: detector" in result.stderr
    for image, semantic, instances in zip(
        *(_messages(out, f"/panoptic_node/{name}") for name in ("panoptic", "semantic", "instance_ids")), strict=True
    ):
        ids = np.frombuffer(image.data, "<i4").reshape(720, 1280)
        assert (ids // 1000 == np.frombuffer(semantic.data, "u1").reshape(720, 1280)).all()
        assert (ids % 1000 == np.frombuffer(instances.data, "<u2").reshape(720, 1280)).all()


def test_out_of_memory_is_said_and_what_was_done_is_kept(
    pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, run: Run, folder: Path, tmp_path: Path
) -> None:
    engines = pytest.importorskip("panoptic_ros.engines")
    usual = FakePipeline.__call__

    def fail(self: FakePipeline, *arguments: Any, **options: Any) -> Any:
        if self.calls == 6:
            raise engines.OutOfMemory("cuda:0 has too little memory for 1 frames")
        return usual(self, *arguments, **options)

    monkeypatch.setattr(FakePipeline, "__call__", fail)
    result = run(folder, tmp_path / "out.mcap")
    assert (result.exit_code, result.stderr) == (1, "error: cuda:0 has too little memory for 1 frames\n")
    assert json.loads((tmp_path / "out.mcap.parts" / "state.json").read_text())["frames"] == 4
