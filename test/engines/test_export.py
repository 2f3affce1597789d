"""ONNX export: ONNX Runtime agrees with torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from panoptic_ros.engines.export import export_onnx
from panoptic_ros.models import build_model, load_model_config


def test_onnx_runtime_agrees_with_torch(tmp_path: Path) -> None:
    model = build_model(load_model_config("yolo_panoptic_small"))
    path = tmp_path / "model.onnx"
    export_onnx(model, path, 64, 96)
    assert list(tmp_path.iterdir()) == [path]
    labels = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}["labels"]
    assert json.loads(labels) == [label.name for label in model.labels.labels]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(model.output_names)
    for batch in (1, 3):
        images = torch.rand((batch, 3, 64, 96), generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = model(images)
        for name, found in zip(model.output_names, session.run(None, {"images": images.numpy()}), strict=True):
            np.testing.assert_allclose(found, expected[name].numpy(), atol=1e-4, rtol=1e-4, err_msg=name)


def test_an_unsuitable_size_is_refused(tmp_path: Path) -> None:
    model = build_model(load_model_config("yolo_panoptic_small"))
    with pytest.raises(ValueError, match="multiple of 32, got 100x64"):
        export_onnx(model, tmp_path / "model.onnx", 64, 100)
    assert list(tmp_path.iterdir()) == []
