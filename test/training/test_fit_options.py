"""What single keys of a training's configuration do, against what they are said to equal."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from trainings import CAMVID, CITYSCAPES, draw, losses, write_camvid, write_training
from typer.testing import CliRunner

from panoptic_ros.commands.main import app as pipeline_app
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import load_weights
from panoptic_ros.pipeline import Pipeline
from panoptic_training.commands.main import app
from panoptic_training.fit.checkpoints import read_checkpoint
from panoptic_training.fit.export import export_checkpoint
from panoptic_training.fit.result import RESULT, TrainingResult

UNAUGMENTED = {"affine": {"scale": [1.0, 1.0], "rotation": 0.0, "crop": [64, 96]}, "blur": 0.0, "flip": 0.0}


def command(*given: object) -> str:
    done = CliRunner().invoke(app, list(map(str, given)))
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def fit(folder: Path, name: str, **changes: Any) -> Path:
    config, out = write_training(folder, **changes), folder / name
    command("fit", "--config", config, "--data-root", folder, "--out", out, "--device", "cpu")
    return out


def said_error(*given: object) -> str:
    done = CliRunner().invoke(app, list(map(str, given)))
    assert done.exit_code == 1, done.output + repr(done.exception)
    assert isinstance(done.exception, SystemExit), "a traceback is no answer to a user"
    return " ".join(done.output.split())


def validations(run: Path) -> list[dict[str, str]]:
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row.get("val/loss")]


def test_accumulated_batches_make_the_step_of_one_of_their_size(tmp_path: Path) -> None:
    """Whole pictures without void, so that each batch has as many labels as the next; no random moves of boxes."""
    common: dict[str, Any] = {
        "batch_norm": "frozen",
        "augmentation": UNAUGMENTED,
        "loss": {"instance": {"box_jitter": 0.0}},
        "gradient_clip": None,
        "pictures": 0,
    }
    whole = fit(tmp_path, "whole", batch_size=4, **common)
    halves = fit(tmp_path, "halves", batch_size=2, accumulate=2, **common)
    assert [TrainingResult.load(run / RESULT).steps for run in (whole, halves)] == [4, 4]
    one, other = load_file(whole / "last.safetensors"), load_file(halves / "last.safetensors")
    start = build_model(load_model_config(str(tmp_path / "tiny.yaml"))).state_dict()
    assert not torch.equal(one["semantic_head.0.weight"], start["semantic_head.0.weight"])
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-5, atol=1e-5, msg=name)


def test_class_weights_are_those_of_the_drawn_pixels(tmp_path: Path) -> None:
    classes = [draw(index)[1] // 1000 for index in range(8)]
    shares = [np.mean([(drawing == label.id).mean() for drawing in classes]) for label in CITYSCAPES.labels]
    literal = [1.0 / math.log(1.02 + share) for share in shares]
    asked = fit(tmp_path, "asked", epochs=1, class_weights=True, pictures=0)
    given = fit(tmp_path, "given", epochs=1, loss={"semantic": {"class_weights": literal}}, pictures=0)
    without = fit(tmp_path, "without", epochs=1, pictures=0)
    for step, terms in losses(asked).items():
        assert terms["train/semantic"] == pytest.approx(losses(given)[step]["train/semantic"], rel=1e-6)
    assert losses(asked)[0]["train/semantic"] != pytest.approx(losses(without)[0]["train/semantic"], rel=1e-3)


def test_validation_comes_every_so_many_epochs(tmp_path: Path) -> None:
    run = fit(tmp_path, "run", epochs=5, validate_every=2, pictures=1)
    assert [int(row["epoch"]) for row in validations(run)] == [1, 3]
    assert sorted(path.name for path in (run / "pictures").iterdir()) == [
        "epoch_0001_sample_0.jpg",
        "epoch_0003_sample_0.jpg",
    ]
    result = TrainingResult.load(run / RESULT)
    assert result.steps == 20
    assert result.measures["loss"] == pytest.approx(float(validations(run)[-1]["val/loss"]))
    best = max(float(row["val/pq"]) for row in validations(run))
    assert result.best == {"pq": pytest.approx(best)}


def test_settings_of_the_network_are_replaced_one_by_one(tmp_path: Path) -> None:
    run = fit(
        tmp_path,
        "run",
        epochs=1,
        network={"semantic": "segnet_multi", "instance_head": "shallow"},
        input_height=96,
        input_width=128,
        pictures=0,
    )
    config = load_model_config(str(run / "last.safetensors"))
    assert (config.input_height, config.input_width) == (96, 128)
    assert (config.network.semantic, config.network.instance_head) == ("segnet_multi", "shallow")
    assert config.network.taps == (1, 2, 3)  # of tiny.yaml
    parameters = sum(parameter.numel() for parameter in build_model(config).parameters())
    assert TrainingResult.load(run / RESULT).parameters == parameters


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": {"head": "deep"}}, "network: unknown key 'head'"),
        ({"network": {"segnet_stride": 8}}, "segnet_stride chooses the map of 'segnet', but semantic is 'ppm'"),
        ({"network": "fpn"}, "network: expected keys with values, got 'fpn'"),
        ({"input_height": 100}, "input_height and input_width must be positive multiples of 32, got 100 and 96"),
        ({"weights": {"parts": ["detector"]}}, "parts are given, but no file"),
    ],
)
def test_settings_that_cannot_be_are_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    config = write_training(tmp_path, **changes)
    assert said in said_error("fit", "--config", config, "--data-root", tmp_path, "--out", tmp_path / "run")


def test_a_cfg_may_lie_with_the_data(tmp_path: Path) -> None:
    write_training(tmp_path)
    data = tmp_path / "sets"
    data.mkdir()
    for name in ("drawn", "tiny.cfg"):
        (tmp_path / name).rename(data / name)
    model = tmp_path / "tiny.yaml"
    content = yaml.safe_load(model.read_text())
    content["network"]["cfg"] = "darknet53_yolov3"
    model.write_text(yaml.safe_dump(content))
    config = write_training(tmp_path, epochs=1, network={"cfg": "tiny.cfg"}, pictures=0)
    command("fit", "--config", config, "--data-root", data, "--out", tmp_path / "run", "--device", "cpu")
    assert (tmp_path / "run" / "last.safetensors").stat().st_size < 1_000_000


def test_a_checkpoint_is_exported(tmp_path: Path) -> None:
    run = fit(tmp_path, "run", epochs=1, averaging={"decay": 0.9}, network={"instance_head": "shallow"})
    for file in ("tiny.yaml", "tiny.cfg", "training.yaml"):  # the checkpoint needs nothing else
        (tmp_path / file).unlink()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    command("export", run / "best.ckpt", "--out", whole)
    assert "half.safetensors" in command("export", run / "best.ckpt", "--out", half, "--half")
    theirs = load_file(run / "best.safetensors")
    for name, tensor in load_file(whole).items():
        assert torch.equal(tensor, theirs[name]), name
    for name, tensor in load_file(half).items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else theirs[name].dtype), name
        assert torch.equal(tensor, theirs[name].to(tensor.dtype)), name
    assert Pipeline.load(str(half), device="cpu").trained
    given = ("--size", "192x128", "--decode", "score_threshold=0.7", "--decode", "overlaps=probability")
    command("export", run / "best.ckpt", "--out", half, *given)
    config = load_model_config(str(half))
    assert (config.input_height, config.input_width) == (128, 192)
    assert (config.decode.score_threshold, config.decode.overlaps) == (0.7, "probability")


def test_what_cannot_be_exported_is_said(tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    assert "no.ckpt: no such checkpoint" in said_error("export", tmp_path / "no.ckpt", "--out", out)
    assert "x.pt: weights are written to a .safetensors" in said_error("export", "no.ckpt", "--out", tmp_path / "x.pt")
    run = fit(tmp_path, "run", epochs=1, pictures=0)
    for given, said in (
        ("score_threshold", "--decode score_threshold: expected a name and a value"),
        ("score_threshold=2", "score_threshold must be in [0, 1], got 2"),
        ("size=3", "unknown key 'size'"),
        ("scores=[", "--decode scores=[: expected a value as in YAML"),
    ):
        assert said in said_error("export", run / "last.ckpt", "--out", out, "--decode", given)
    assert not out.exists()


def test_a_checkpoint_that_does_not_tell_its_model_has_that_of_its_training(tmp_path: Path) -> None:
    run = fit(tmp_path, "run", epochs=1, pictures=0)
    checkpoint = read_checkpoint(run / "last.ckpt")
    del checkpoint["model"]
    older = tmp_path / "older.ckpt"
    torch.save(checkpoint, older)
    export_checkpoint(older, tmp_path / "older.safetensors")
    theirs = load_file(run / "last.safetensors")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in load_file(tmp_path / "older.safetensors").items())
    checkpoint["model"] = {"config": "{"}
    torch.save(checkpoint, older)
    with pytest.raises(ConfigurationError, match=r"older\.ckpt"):
        export_checkpoint(older, tmp_path / "older.safetensors")


def test_a_label_set_without_things_is_learned_exported_and_evaluated(tmp_path: Path) -> None:
    """``panoptic-ros evaluate`` of the exported weights says the mean IoU that validation has said."""
    write_training(tmp_path)
    write_camvid(tmp_path / "camvid", "train", 8)
    write_camvid(tmp_path / "camvid", "val", 3, first=100)
    model = tmp_path / "tiny.yaml"
    content = yaml.safe_load(model.read_text())
    content["decode"] = {"stuff_area_fraction": 0.0}  # which validation of the semantic head alone does not know
    model.write_text(yaml.safe_dump(content))
    run = fit(
        tmp_path,
        "run",
        labels="camvid",
        data={
            "train": [{"path": "camvid", "split": "train"}],
            "validation": [{"path": "camvid", "split": "val"}],
            "workers": 0,
        },
        optimizer={"kind": "adamw", "learning_rate": 0.01},
        augmentation=UNAUGMENTED,
        epochs=10,
        best="semantic_iou",
        validate_every=5,
    )
    weights = run / "last.safetensors"
    assert Pipeline.load(str(weights), device="cpu").labels == CAMVID
    network = build_model(load_model_config(str(weights)))
    load_weights(network, weights)
    assert not network.untrained
    assert {name for name, _ in network.named_children()} >= {"detector", "semantic_head"}
    assert not hasattr(network, "instance_head")
    options = ["--model", weights, "--split", "val", "--device", "cpu", "--out", tmp_path / "evaluation"]
    done = CliRunner().invoke(pipeline_app, ["evaluate", "--data", *map(str, [tmp_path / "camvid", *options])])
    assert done.exit_code == 0, done.output + repr(done.exception)
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    validation = TrainingResult.load(run / RESULT).measures["semantic_iou"]
    assert validation > 0.2  # it has learned something: sky and road are told apart
    assert document["metrics"]["semantic_iou"]["mean_iou"] == pytest.approx(validation, abs=1e-6)
