"""ONNX export of Panoptic FPN and JSIS-Net: ONNX Runtime agrees with torch, and the decode with itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from region_networks import CITYSCAPES, CONFIGS, NETWORKS, small

from panoptic_ros.engines.export import export_onnx
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import SYSTEMS, ModelConfig


@pytest.mark.parametrize("system", sorted(NETWORKS))
def test_onnx_runtime_agrees_with_torch(tmp_path: Path, system: str) -> None:
    model = small(system).eval()
    path = tmp_path / "model.onnx"
    export_onnx(model, ModelConfig(system, CITYSCAPES, 64, 96, CONFIGS[system]), path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(model.output_names)
    boxes = [Letterbox.fit(60, 90, 64, 96)]
    options = SYSTEMS[system].decode(score_threshold=0.12, stuff_area_fraction=0.0)
    for batch in (1, 3):
        images = torch.rand((batch, 3, 64, 96), generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = model(images)
            outputs = {
                name: torch.from_numpy(found)
                for name, found in zip(model.output_names, session.run(None, {"images": images.numpy()}), strict=True)
            }
            for name, found in outputs.items():
                np.testing.assert_allclose(found.numpy(), expected[name].numpy(), atol=1e-4, rtol=1e-4, err_msg=name)
            (value,), (by_onnx,) = (
                model.decode({name: one[:1] for name, one in some.items()}, boxes, options)
                for some in (expected, outputs)
            )
        assert (value.ids == by_onnx.ids).mean() > 0.98
