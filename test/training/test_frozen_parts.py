"""Parts of parts can be frozen, if they have learned something; a loss of another package trains its system."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from outside_package import install
from region_networks import small
from torchvision.models import resnet18
from trainings import write_training
from typer.testing import CliRunner

from panoptic_ros.models.jsis_net import JsisNet, JsisNetConfig
from panoptic_ros.models.panoptic_fpn import PanopticFpn, PanopticFpnConfig
from panoptic_ros.models.weights import load_weights
from panoptic_training.commands.main import app
from panoptic_training.fit.module import PanopticTraining
from panoptic_training.fit.run import Run
from panoptic_training.losses import LOSSES

STEM = ("backbone.body.conv1", "backbone.body.layer1")
ALL = frozenset({"backbone", "rpn", "roi_heads", "semantic_head"})


def training(frozen: tuple[str, ...], folder: Path) -> PanopticTraining:
    model = small("panoptic_fpn")
    made, options = LOSSES["panoptic_fpn"]
    config = SimpleNamespace(frozen=frozen, batch_norm="local")
    return PanopticTraining(model, made(model, options()), config, None, folder)  # type: ignore[arg-type]


def test_parts_of_parts_are_frozen(tmp_path: Path) -> None:
    frozen = training(STEM, tmp_path)
    frozen.train()
    for name, parameter in frozen.model.named_parameters():
        assert parameter.requires_grad == (not name.startswith(tuple(f"{part}." for part in STEM))), name
    body = frozen.model.get_submodule("backbone.body")
    modes = {part: body.get_submodule(f"{part}.0.bn1").training for part in ("layer1", "layer2")}
    assert modes == {"layer1": False, "layer2": True}
    with pytest.raises(ValueError, match=r"'backbone.body.layer9' is no part of the model; it has normalize, backbone"):
        training(("backbone.body.layer9",), tmp_path)


@pytest.mark.parametrize("frozen", [STEM, ("backbone",), ("semantic_head",)])
def test_what_is_frozen_of_the_backbone_must_have_learned(tmp_path: Path, frozen: tuple[str, ...]) -> None:
    """ImageNet's stages are there; the pyramid above them is random, and so is all of a network without weights."""
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    model = PanopticFpn(
        small("panoptic_fpn").labels, PanopticFpnConfig(backbone="resnet18", channels=8, head_channels=8)
    )
    model.untrained = ALL
    run = SimpleNamespace(config=SimpleNamespace(frozen=frozen), report=None)
    expected = frozen[0] if frozen[0].startswith("backbone") else None
    assert Run._random_and_frozen(run, model) == expected  # type: ignore[arg-type]
    run.report = load_weights(model, path)
    expected = "backbone" if frozen == ("backbone",) else None
    assert Run._random_and_frozen(run, model) == expected  # type: ignore[arg-type]
    one_map = JsisNet(model.labels, JsisNetConfig(backbone="resnet18", stride=16, deconvolution_stride=4))
    one_map.untrained = ALL
    run.report = load_weights(one_map, path)
    assert Run._random_and_frozen(run, one_map) is None  # type: ignore[arg-type]


def test_a_system_of_another_package_is_trained_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site")))
    config = write_training(tmp_path, model="toy_small", epochs=1, augmentation={"affine": {"crop": [32, 48]}})
    arguments = ["fit", "--config", str(config), "--data-root", str(tmp_path), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "last.safetensors").is_file()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_panoptic"]:
        del sys.modules[name]
