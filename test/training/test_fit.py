"""``panoptic-train fit`` as a user runs it, on drawn pictures."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from trainings import CITYSCAPES, HEIGHT, WIDTH, draw, losses, write_training
from typer.testing import CliRunner, Result

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import save_weights
from panoptic_ros.pipeline import Pipeline
from panoptic_training.commands.main import app
from panoptic_training.fit.averaging import ExponentialAverage
from panoptic_training.fit.checkpoints import read_checkpoint
from panoptic_training.fit.module import PanopticTraining
from panoptic_training.losses.yolo_panoptic import YoloPanopticLoss

CONFIGURATIONS = sorted(path.stem for path in (Path(__file__).parents[2] / "config" / "training").iterdir())


def fit(config: Path, out: Path, *options: object) -> Result:
    given = ["--config", config, "--data-root", config.parent, "--out", out, "--device", "cpu", *options]
    return CliRunner().invoke(app, ["fit", *map(str, given)])


def succeed(config: Path, out: Path, *options: object) -> str:
    done = fit(config, out, *options)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def fail(config: Path, out: Path, *options: object) -> str:
    done = fit(config, out, *options)
    assert done.exit_code == 1, done.output + repr(done.exception)
    assert isinstance(done.exception, SystemExit), "a traceback is no answer to a user"
    return " ".join(done.output.split())


def test_a_run_leaves_weights_logs_and_pictures(tmp_path: Path) -> None:
    config = write_training(tmp_path, averaging={"decay": 0.9}, early_stopping={"measures": ["loss", "pq"]})
    out = tmp_path / "run"
    said = succeed(config, out)
    assert "val/pq:" in said
    assert "val/semantic_iou:" in said
    assert "8 steps" in said
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"best.ckpt", "last.ckpt", "best.safetensors", "last.safetensors", "csv/version_0/metrics.csv"} <= there
    assert {"pictures/epoch_0000_sample_0.jpg", "pictures/epoch_0001_sample_0.jpg"} <= there
    assert [name for name in there if "events.out.tfevents" in name]
    picture = cv2.imread(str(out / "pictures" / "epoch_0001_sample_0.jpg"))
    assert picture.shape == (HEIGHT, 2 * WIDTH, 3)
    assert sorted(losses(out)) == list(range(8))

    # The weights need no other file: the pipeline runs them without the model's configuration and the cfg.
    for file in ("tiny.yaml", "tiny.cfg"):
        (tmp_path / file).unlink()
    exported = out / "last.safetensors"
    Pipeline.check(str(exported), device="cpu")
    pipeline = Pipeline.load(str(exported), device="cpu")
    assert pipeline.trained
    assert pipeline.labels == CITYSCAPES
    assert pipeline([draw(0)[0]])[0].ids.shape == (HEIGHT, WIDTH)
    state = read_checkpoint(out / "last.ckpt")["state_dict"]
    for name, tensor in load_file(exported).items():
        assert torch.equal(tensor, state[f"loss.model.{name}"]), name


def test_the_average_of_the_weights_is_exponential(tmp_path: Path) -> None:
    """Against the recursion over weights and statistics after each step, whose first steps keep less."""
    decay = 0.24
    config = write_training(tmp_path, averaging={"decay": decay}, epochs=1)
    seen: list[dict[str, torch.Tensor]] = []
    after = PanopticTraining.on_train_batch_start

    def record(self: PanopticTraining, batch: object, batch_idx: int) -> None:
        seen.append({name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()})
        after(self, batch, batch_idx)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PanopticTraining, "on_train_batch_start", record)
        succeed(config, tmp_path / "run")
    checkpoint = read_checkpoint(tmp_path / "run" / "last.ckpt")
    last = {name: checkpoint["current_model_state"][f"loss.model.{name}"] for name in seen[0]}
    steps = [*seen[1:], last]
    assert len(steps) == 4
    for name in ("semantic_head.0.weight", "semantic_head.1.running_mean", "semantic_head.1.running_var"):
        average = steps[0][name]
        for kept, step in zip((2 / 11, 3 / 12, 4 / 13), steps[1:], strict=True):
            average = min(decay, kept) * average + (1 - min(decay, kept)) * step[name]
        assert not torch.equal(steps[0][name], last[name])
        torch.testing.assert_close(checkpoint["state_dict"][f"loss.model.{name}"], average)
    assert checkpoint["state_dict"]["loss.model.semantic_head.1.num_batches_tracked"] == 4
    ids = checkpoint["state_dict"].get("loss.model.class_ids")
    assert ids is None, "class ids are not part of the weights"


def test_the_average_follows_quickly_at_first_and_copies_whole_numbers() -> None:
    model, decay = torch.nn.BatchNorm1d(1), 0.9
    average = ExponentialAverage(decay)
    averaged = torch.optim.swa_utils.AveragedModel(model, **average._kwargs, use_buffers=True)
    expected = 1.0
    for step in range(200):
        model.weight.data.fill_(float(step))
        model.num_batches_tracked.fill_(1000 - step)
        averaged.update_parameters(model)
        kept = min(decay, (1 + step) / (10 + step))
        expected = 0.0 if step == 0 else kept * expected + (1 - kept) * step
        assert float(averaged.module.weight.detach()) == pytest.approx(expected, rel=1e-5)
        assert int(averaged.module.num_batches_tracked) == 1000 - step


def test_frozen_parts_keep_weights_and_statistics(tmp_path: Path) -> None:
    config = write_training(tmp_path, frozen=["detector"], epochs=1)
    model_config = load_model_config(str(tmp_path / "tiny.yaml"))
    start = tmp_path / "start.safetensors"
    trained = build_model(model_config)
    trained.untrained = frozenset()
    save_weights(trained, start)
    succeed(config, tmp_path / "run", "--weights", start)
    before, after = load_file(start), load_file(tmp_path / "run" / "last.safetensors")
    same = {name for name in before if torch.equal(before[name], after[name])}
    detector = {name for name in before if name.startswith("detector.")}
    assert detector
    assert detector <= same
    learned = {name.partition(".")[0] for name in before.keys() - same}
    assert {"fusion", "pooling", "semantic_head", "instance_features", "instance_head"} <= learned


def test_a_frozen_detector_needs_weights(tmp_path: Path) -> None:
    said = fail(write_training(tmp_path, frozen=["detector"]), tmp_path / "run")
    assert "frozen: detector has random weights" in said


def test_frozen_batch_norms_keep_their_statistics_and_learn(tmp_path: Path) -> None:
    config = write_training(tmp_path, batch_norm="frozen", epochs=1)
    succeed(config, tmp_path / "run")
    before = build_model(load_model_config(str(tmp_path / "tiny.yaml"))).state_dict()
    after = load_file(tmp_path / "run" / "last.safetensors")
    for name, tensor in before.items():
        if "running_" in name:
            assert torch.equal(tensor, after[name]), name
    assert not torch.equal(before["semantic_head.1.weight"], after["semantic_head.1.weight"])


def test_a_loss_that_is_not_finite_names_its_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = write_training(tmp_path), tmp_path / "run"
    before = YoloPanopticLoss.forward
    names: list[tuple[str, ...]] = []

    def spoiled(self: YoloPanopticLoss, images: torch.Tensor, targets: object) -> dict[str, torch.Tensor]:
        terms = before(self, images, targets)  # type: ignore[arg-type]
        names.append(targets.names)  # type: ignore[attr-defined]
        return {**terms, "loss": terms["loss"] * math.nan} if len(names) == 3 else terms

    monkeypatch.setattr(YoloPanopticLoss, "forward", spoiled)
    said = fail(config, out)
    path = out / "not_finite_step_2_process_0.json"
    assert "the loss of step 2 is not finite" in said
    assert str(path) in said
    noted = json.loads(path.read_text())
    assert noted["samples"] == list(names[-1])
    assert noted["terms"]["loss"] == "nan"
    assert math.isfinite(float(noted["terms"]["semantic"]))


def test_a_few_samples_are_learned_by_heart(tmp_path: Path) -> None:
    """The same pictures in training and validation, not augmented, so that their loss falls far."""
    config = write_training(
        tmp_path,
        epochs=80,
        optimizer={"kind": "adamw", "learning_rate": 0.01},
        schedule={"kind": "constant"},
        pictures=0,
    )
    out = tmp_path / "run"
    succeed(config, out, "--overfit", 2)
    found = losses(out)
    assert len(found) == 80
    assert found[79]["train/semantic"] < 0.25 * found[0]["train/semantic"]
    assert not list(out.glob("survey_*"))


def test_a_dry_run_says_what_it_takes_and_keeps_nothing(tmp_path: Path) -> None:
    config = write_training(tmp_path)
    said = succeed(config, tmp_path / "run", "--dry-run")
    for what in (
        "waiting for a batch: ",
        "training step: ",
        "validation: ",
        "memory: ",
        "last.safetensors: ",
        "val/loss",
    ):
        assert what in said
    assert not (tmp_path / "run").exists()


def test_training_stops_early_by_any_measure(tmp_path: Path) -> None:
    """Nothing improves at a rate of nearly 0, so that it ends after the first epoch and the patience."""
    config = write_training(
        tmp_path,
        epochs=20,
        batch_norm="frozen",
        optimizer={"kind": "sgd", "learning_rate": 1e-30},
        early_stopping={"measures": ["loss"], "patience": 2},
        pictures=0,
    )
    assert "12 steps" in succeed(config, tmp_path / "run")  # 3 epochs of 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimiser": {}}, "unknown key 'optimiser'; expected one of"),
        ({"optimizer": {"rate": 1}}, "optimizer: unknown key 'rate'"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"batch_size": 20}, "an epoch draws 8 samples, but one batch takes 20"),
        ({"frozen": ["backbone"]}, "frozen: 'backbone' is no part of the model; it has detector"),
        ({"loss": {"semantic": {"hardness": 1}}}, "unknown key 'hardness'"),
        ({"best": "miou"}, "best: expected one of 'loss', 'semantic_iou'"),
        ({"augmentation": {"affine": {"crop": [60, 64]}}}, "crop must be multiples of 32, got [60, 64]"),
        ({"weights": {"path": "none.weights"}}, "none.weights: no such weights file"),
        ({"weights": {"layers": 75}}, "layers and classes are given, but no file"),
        ({"labels": "coco"}, "is labelled with"),
        ({"data": {"train": [], "validation": []}}, "train must name at least one data set"),
        ({"data": {"train": [{"path": "no"}], "validation": [{"path": "no"}]}}, "is no folder"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_step(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    assert said in fail(write_training(tmp_path, **changes), tmp_path / "run")


def test_a_broken_picture_is_said_before_the_first_step(tmp_path: Path) -> None:
    config = write_training(tmp_path)
    (tmp_path / "drawn" / "train" / "000005.png").write_bytes(b"")
    said = fail(config, tmp_path / "run")
    assert "000005.png" in said
    assert not (tmp_path / "run" / "csv").exists()


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (Path(__file__).parents[2] / "config/training").iterdir())
)
def test_each_configuration_of_ours_can_be_read(name: str) -> None:
    """And its model be built (but for a cfg that does not come with the package), its loss made, its mappings found."""
    from panoptic_ros.configuration import from_mapping
    from panoptic_ros.label_mapping import LabelMapping
    from panoptic_ros.labels import LabelSet
    from panoptic_training.fit.configuration import load_training_config, model_config
    from panoptic_training.losses import LOSSES

    config = load_training_config(name)
    model = model_config(config)
    labels = LabelSet.load(str(model.labels))
    options = LOSSES[model.system][1]
    assert from_mapping(options, config.loss, name)
    for source in (*config.data.train, *config.data.validation):
        if source.mapping:
            assert LabelMapping.load(source.mapping).target == labels
    if "cfg" in config.network:
        model = replace(model, network=replace(model.network, cfg="darknet53_yolov3", taps=None))
    with torch.device("meta"):
        network = build_model(model)
    assert set(config.frozen) <= dict(network.named_modules()).keys()
    assert all(side % network.input_multiple == 0 for side in config.augmentation.affine.crop)


def test_weights_without_a_configuration_are_no_model(tmp_path: Path) -> None:
    write_training(tmp_path)
    model = build_model(load_model_config(str(tmp_path / "tiny.yaml")))
    save_weights(model, tmp_path / "bare.safetensors")
    with pytest.raises(ConfigurationError, match=r"bare\.safetensors: these weights do not tell their configuration"):
        load_model_config(str(tmp_path / "bare.safetensors"))


def test_a_checkpoint_with_code_inside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"training": {}, "state_dict": nn.Linear(1, 1)}, path)
    with pytest.raises(ConfigurationError, match=r"evil\.ckpt: is no whole checkpoint"):
        read_checkpoint(path)
