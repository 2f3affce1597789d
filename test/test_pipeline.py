"""The pipeline: frames of any size in, values of the same size out, and arguments that are wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from panoptic_ros.pipeline import OutOfMemory, Pipeline


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load("yolo_panoptic_small")


def frames() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    sizes = [(72, 128), (120, 90), (1, 1), (33, 300)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_every_frame_gets_a_value_of_its_own_size(pipeline: Pipeline) -> None:
    values = pipeline(frames(), confidence=True)
    for value, frame in zip(values, frames(), strict=True):
        assert value.ids.shape == frame.shape[:2]
        assert value.confidence is not None
        assert value.confidence.shape == frame.shape[:2]
        assert sum(segment.area for segment in value.segments) == np.count_nonzero(value.ids)
    assert set(pipeline.timings) == {"prepare", "network", "decode"}
    assert not pipeline.trained
    assert pipeline.device.type == "cpu"


def test_a_batch_gives_what_single_frames_give(pipeline: Pipeline) -> None:
    together = pipeline(frames()[:2])
    alone = [pipeline([frame])[0] for frame in frames()[:2]]
    for a, b in zip(together, alone, strict=True):
        assert np.mean(a.ids != b.ids) < 1e-3  # convolutions of another batch size round differently
        assert a.confidence is None
    assert pipeline([]) == []


def test_a_view_with_padded_rows_is_a_frame(pipeline: Pipeline) -> None:
    padded = np.zeros((72, 150, 3), dtype=np.uint8)
    padded[:, :128] = frames()[0]
    assert np.array_equal(pipeline([padded[:, :128]])[0].ids, pipeline([frames()[0]])[0].ids)


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_frame_is_refused(pipeline: Pipeline, frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(h, w, 3\) uint8"):
        pipeline([frame])


def test_options_take_effect_on_the_next_call(pipeline: Pipeline) -> None:
    options = pipeline.options
    try:
        pipeline.options = dataclasses.replace(options, stuff_area_fraction=1.0, max_detections=0)
        assert pipeline(frames()[:1])[0].segments == ()
    finally:
        pipeline.options = options


@pytest.mark.parametrize("use", [Pipeline.load, Pipeline.check])
@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"model": "no_such"}, FileNotFoundError, "yolo_panoptic_small"),
        ({"weights": "/no/such.safetensors"}, ValueError, "no such weights file"),
        ({"device": "tpu"}, ValueError, "expected auto, cpu, cuda, cuda:N or xpu"),
        ({"device": "cuda:99"}, ValueError, "usable CUDA devices"),
        ({"engine": "steam"}, ValueError, "expected one of torch, onnxruntime, openvino"),
        ({"precision": "fp8"}, ValueError, "expected one of fp32, fp16, bf16, int8"),
        ({"precision": "fp16", "device": "cpu"}, ValueError, "needs a GPU"),
    ],
)
def test_wrong_arguments_are_told(use, arguments: dict[str, str], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        use(**{"model": "yolo_panoptic_small", **arguments})


def test_check_needs_no_memory_and_accepts_what_loads(tmp_path: Path) -> None:
    from panoptic_ros.models import build_model, load_model_config
    from panoptic_ros.models.weights import save_weights

    path = tmp_path / "weights.safetensors"
    model = build_model(load_model_config("yolo_panoptic_small"))
    model.untrained = frozenset()
    save_weights(model, path)
    Pipeline.check("yolo_panoptic_small", str(path))
    assert Pipeline.load("yolo_panoptic_small", str(path)).trained
    with pytest.raises(ValueError, match=r"multiples of 32.*100 and 96"):
        Pipeline.check("yolo_panoptic_small", str(path), size=(100, 96))


def test_running_out_of_memory_is_told_apart(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    monkeypatch.setattr(pipeline._engine, "_model", full)
    with pytest.raises(OutOfMemory, match="too little memory"):
        pipeline(frames()[:1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_what_the_cpu_gives(pipeline: Pipeline) -> None:
    on_gpu = Pipeline.load("yolo_panoptic_small", device="cuda")
    for a, b in zip(on_gpu(frames()), pipeline(frames()), strict=True):
        assert np.mean(a.ids != b.ids) < 1e-2
    assert on_gpu.device_memory() > 0


def test_the_network_gets_red_green_and_blue_from_0_to_1_at_the_size_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Pipeline.load("yolo_panoptic_small", size=(64, 96))
    given: list[torch.Tensor] = []
    engine = small._engine
    monkeypatch.setattr(small, "_engine", lambda images: given.append(images.clone()) or engine(images))
    frames = [np.random.default_rng(seed).integers(0, 256, (64, 96, 3), dtype=np.uint8) for seed in range(2)]
    untouched = [frame.copy() for frame in frames]
    values = small(frames)
    assert [value.ids.shape for value in values] == [(64, 96)] * 2
    (images,) = given
    assert (tuple(images.shape), images.dtype) == ((2, 3, 64, 96), torch.float32)
    for image, frame, before in zip(images.numpy(), frames, untouched, strict=True):
        for channel, color in enumerate((2, 1, 0)):  # the frame is B, G, R
            np.testing.assert_array_equal(image[channel], frame[:, :, color].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(frame, before)
    assert small.timings.keys() == small.cpu_timings.keys() == {"prepare", "network", "decode"}
    assert all(value > 0 for value in (*small.timings.values(), *small.cpu_timings.values()))


def test_a_size_that_does_not_suit_the_network_is_told() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32.*100 and 96"):
        Pipeline.load("yolo_panoptic_small", size=(100, 96))
