"""ONNX export: what the file says and what its graph is made of; `test_engines` holds what it computes to torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from small_networks import HEIGHT, WIDTH

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.engines.export import export_onnx, layer_names
from panoptic_ros.engines.folding import fold, fold_batch_norms
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.exported import build_exported, decode_state, open_exported
from panoptic_ros.models.exported_file import read_metadata
from panoptic_ros.models.weights import load_weights
from panoptic_ros.pipeline import Pipeline


def test_the_file_tells_all_that_is_needed_to_run_it(exported: Path, weights: Path) -> None:
    graph = onnx.load(str(exported))
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert read_metadata(exported) == metadata
    model = build_model(load_model_config(str(weights)))
    assert json.loads(metadata["labels"]) == [label.name for label in model.labels.labels]
    assert json.loads(metadata["preprocessing"])["colours"] == "RGB"
    assert load_model_config(str(exported)).input_width == WIDTH
    inputs, outputs = graph.graph.input, graph.graph.output
    assert [value.name for value in inputs] == ["images"]
    assert [value.name for value in outputs] == list(model.output_names)
    dimensions = [dimension.dim_param or dimension.dim_value for dimension in inputs[0].type.tensor_type.shape.dim]
    assert dimensions == ["batch", 3, HEIGHT, WIDTH]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in outputs} == {"batch"}


def test_nodes_are_named_after_modules_and_tell_no_paths(exported: Path) -> None:
    names = layer_names(exported)
    assert len(names) == len(set(names))
    assert {"detector.layers.0.convolution/Conv", "pyramid.reductions.0/Conv", "pyramid.logits.1/Conv"} <= set(names)
    assert b"/panoptic_ros/models" not in exported.read_bytes()
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(str(exported)).graph.node}


def test_only_what_the_graph_does_not_run_is_beside_it(exported: Path, weights: Path) -> None:
    whole = build_model(load_model_config(str(weights)))
    load_weights(whole, weights)
    assert decode_state(whole).keys() == {f"instance_head.{name}" for name in whole.instance_head.state_dict()}
    rest = build_exported(open_exported(exported))
    for name, tensor in rest.instance_head.state_dict().items():
        assert torch.equal(tensor, whole.instance_head.state_dict()[name]), name
    assert all(parameter.is_meta for parameter in rest.detector.parameters())
    assert rest.untrained == frozenset()


def test_half_computes_in_float16_between_float32(weights: Path, tmp_path: Path) -> None:
    config = load_model_config(str(weights))
    path = tmp_path / "half.onnx"
    model = build_model(config)
    export_onnx(model, config, path, half=True)
    graph = onnx.load(str(path)).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert {kinds[node.input[1]] for node in convolutions} == {TensorProto.FLOAT16}
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    assert next(model.parameters()).dtype == torch.float32  # the model itself is as it was
    assert open_exported(path).precision == "fp16"


def test_folding_changes_only_rounding(weights: Path) -> None:
    config = load_model_config(str(weights))
    model, folded = build_model(config), build_model(config)
    for module in (*model.modules(), *folded.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics and scales that are not the identity
            generator = torch.Generator().manual_seed(module.num_features)
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(generator=generator)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 2.0, generator=generator)
    head = set(folded.instance_head.modules())  # which only the decode runs
    norms = [one for one in folded.modules() if isinstance(one, torch.nn.BatchNorm2d) and one not in head]
    assert len(norms) > 15
    assert fold_batch_norms(folded) == len(norms)
    left = [one for one in folded.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert set(left) <= head
    assert left
    for _ in range(2):  # the second time there is nothing left to do
        fold(folded)
    assert folded.pyramid is not None
    images = torch.rand((2, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = model(images), folded(images)
        for name in model.output_names:
            scale = float(expected[name].abs().max())  # a box is hundreds of pixels
            np.testing.assert_allclose(
                found[name].numpy(), expected[name].numpy(), rtol=0, atol=1e-4 * max(scale, 1.0), err_msg=name
            )


def test_an_unsuitable_size_is_refused(weights: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(load_model_config(str(weights)), input_width=100)
    model = build_model(dataclasses.replace(config, input_width=WIDTH))
    with pytest.raises(ValueError, match="multiple of 32, got 100x96"):
        export_onnx(model, config, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_exported_file_keeps_its_size(exported: Path) -> None:
    loaded = Pipeline.load(str(exported), device="cpu", size=(HEIGHT, WIDTH))
    assert (loaded.config.input_height, loaded.config.input_width) == (HEIGHT, WIDTH)
    with pytest.raises(ConfigurationError, match="was exported for 128x96, and cannot take 64x96"):
        Pipeline.load(str(exported), device="cpu", size=(96, 64))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_told(exported: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(exported.read_bytes()[: int(share * exported.stat().st_size)])
    with pytest.raises(ConfigurationError, match=r"cut\.onnx: not a whole ONNX file"):
        load_model_config(str(path))


def test_files_of_others_are_refused(exported: Path, tmp_path: Path) -> None:
    text, foreign = tmp_path / "text.onnx", tmp_path / "foreign.onnx"
    text.write_text("this is no network")
    with pytest.raises(ConfigurationError, match="not a whole ONNX file"):
        load_model_config(str(text))
    graph = onnx.load(str(exported))
    del graph.metadata_props[:]
    onnx.save(graph, str(foreign))
    with pytest.raises(ConfigurationError, match="was not written by panoptic-ros export"):
        load_model_config(str(foreign))
    page = tmp_path / "page.xml"
    page.write_text("<html/>")
    with pytest.raises(ConfigurationError, match="expected <net>, got <html>"):
        load_model_config(str(page))
    with pytest.raises(FileNotFoundError, match="no such exported network"):
        load_model_config(str(tmp_path / "nowhere.onnx"))
