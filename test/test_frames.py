"""Videos and folders of images as sources of frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.bags import open_source, read_frames
from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import SourceError, camera_names


def _write_images(folder: Path, names: list[str]) -> None:
    """Pictures of one brightness: the number that is in their name."""
    folder.mkdir(exist_ok=True)
    for name in names:
        value = int("".join(filter(str.isdigit, name)))
        assert cv2.imwrite(str(folder / name), np.full((8, 10, 3), value, np.uint8))


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    _write_images(tmp_path, ["f10.png", "f9.png", "f2.bmp", "f100.JPG"])
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(tmp_path, rate=4.0)
    assert (source.count, source.topics) == (4, ("camera",))
    frames = list(source.frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [2, 9, 10, 100]
    assert [frame.stamp for frame in frames] == [0, 250_000_000, 500_000_000, 750_000_000]
    assert {frame.frame_id for frame in frames} == {"camera"}
    assert [int(frame.image[0, 0, 0]) for frame in source.frames(2)] == [10, 100]
    assert [frame.stamp for frame in source.frames(2)] == [500_000_000, 750_000_000]
    assert [frame.stamp for frame in read_frames(tmp_path)][1] == 100_000_000


def test_one_bad_image_is_one_bad_frame(tmp_path: Path) -> None:
    _write_images(tmp_path, ["a1.png", "a2.jpg", "a3.tif"])
    (tmp_path / "a2.jpg").write_bytes((tmp_path / "a2.jpg").read_bytes()[:-20])
    (tmp_path / "a4.bmp").write_bytes(b"")
    (tmp_path / "a5.png").write_bytes(b"hello")
    frames = list(read_frames(tmp_path))
    said = [str(frame.image) if isinstance(frame.image, ImageError) else "" for frame in frames]
    assert said[0] == said[2] == ""
    assert said[1].startswith(f"{tmp_path / 'a2.jpg'}: truncated")
    assert said[3] == f"{tmp_path / 'a4.bmp'}: corrupt, or not the image that its suffix says"
    assert "a5.png: 5 bytes with format 'png' are neither" in said[4]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames of rising brightness at 5 Hz."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for index in range(10):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    return path


def test_a_video_is_stamped_with_its_own_times(video: Path) -> None:
    source = open_source(video)
    assert source.count == 10
    frames = list(source.frames())
    assert [frame.stamp for frame in frames] == [index * 200_000_000 for index in range(10)]
    for index, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.mean() == pytest.approx(20 * index, abs=3)
    later = list(source.frames(7))
    assert [frame.stamp for frame in later] == [frame.stamp for frame in frames[7:]]
    np.testing.assert_array_equal(later[0].image, frames[7].image)
    assert [frame.stamp for frame in open_source(video, rate=10).frames()][3] == 300_000_000


def test_a_truncated_video_says_so(video: Path, shared_data: Path) -> None:
    whole = (shared_data / "udacity_vehicle_video" / "test_video.mp4").read_bytes()
    cut = video.with_name("cut.mp4")
    cut.write_bytes(whole[: len(whole) // 2])
    frames = list(read_frames(cut))
    assert 2 < len(frames) < 38
    assert all(isinstance(frame.image, np.ndarray) for frame in frames[:-1])
    assert (
        str(frames[-1].image) == f"{cut}: ends after {len(frames) - 1} of 38 frames; the file is truncated or corrupt"
    )


def test_a_real_video(shared_data: Path) -> None:
    frames = list(read_frames(shared_data / "udacity_vehicle_video" / "test_video.mp4"))
    assert len(frames) == 38
    assert {frame.image.shape for frame in frames} == {(720, 1280, 3)}
    assert [frame.stamp for frame in frames] == [index * 40_000_000 for index in range(38)]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "no images in this folder, expected .jpg"),
        (lambda path: path.write_bytes(b"hello" * 100), "not a bag .* and OpenCV cannot read it as a video"),
        (lambda path: path.write_bytes(b""), "not a bag"),
    ],
)
def test_what_is_no_source(tmp_path: Path, prepare, said: str) -> None:
    path = tmp_path / "source.mp4"
    prepare(path)
    with pytest.raises(SourceError, match=f"source.mp4: {said}"):
        open_source(path)


def test_files_have_no_topics_to_choose(tmp_path: Path) -> None:
    _write_images(tmp_path, ["1.png"])
    with pytest.raises(SourceError, match="is no bag and has no topics to choose from, got /front"):
        open_source(tmp_path, topics=["/front"])


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/camera/image_raw"], [""]),
        (["/front/image_raw", "/left/image_raw/compressed"], ["front", "left"]),
        (["/car/front/image", "/car/left/image"], ["car_front", "car_left"]),
        (["/stereo/left", "/stereo/right"], ["stereo_left", "stereo_right"]),
        (["/left", "/right"], ["left", "right"]),
    ],
)
def test_cameras_are_called_by_their_namespaces(topics: list[str], names: list[str]) -> None:
    assert camera_names(topics) == dict(zip(topics, names, strict=True))


def test_two_topics_of_one_camera_cannot_both_be_published() -> None:
    with pytest.raises(SourceError, match="are of the same camera"):
        camera_names(["/front/image", "/front/image/compressed"])
